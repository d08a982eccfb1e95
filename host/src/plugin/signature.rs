//! Takes a plug-in's file and a key, gives the file signed, and whose signature a file has.
//!
//! The signature is a custom section of the component, so that a plug-in stays one file. It is
//! Ed25519 over the digest of everything else.

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::package::{self, with_section, without_section};

/// The custom section that holds key and signature.
const SECTION: &str = "sluicegate:signature";
/// What is signed begins so: a signature for something else is none for a plug-in.
const PURPOSE: &[u8] = b"sluicegate plug-in, version 1\0";
const KEY: usize = 32;
const SIGNATURE: usize = 64;

/// What comes before an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The SubjectPublicKeyInfo of a key's bytes.
pub fn spki(key: &[u8]) -> Vec<u8> {
    [SPKI.as_slice(), key].concat()
}

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY]);

/// Why a file is not trusted, or cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a component.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// No signature.
    #[error("the plug-in is not signed; `sluice sign FILE --key KEY` does that")]
    Unsigned,
    /// The section is not what it should be.
    #[error("the plug-in's signature is damaged; sign it again")]
    Damaged,
    /// Somebody changed the file.
    #[error("the plug-in was changed after it was signed by {0}")]
    Changed(String),
    /// A signature of somebody else.
    #[error("the plug-in is signed by {found}, which is none of the trusted keys")]
    Untrusted {
        /// Whose.
        found: String,
    },
    /// The key cannot be used.
    #[error("not an Ed25519 key in PKCS#8: {0}")]
    Key(#[from] KeyRejected),
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo (RFC 8410), as `openssl pkey -pubout` writes it.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&SPKI)?;
        key.try_into().ok().map(Self)
    }
}

/// Its bytes in hex.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ed25519:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The component with a signature by this key (PKCS#8, DER), in place of one that was there.
///
/// # Errors
/// When it is no component, or the key is none.
pub fn sign(component: &[u8], pkcs8: &[u8]) -> Result<(Vec<u8>, PublicKey), Error> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)?;
    let rest = without_section(component, SECTION)?;
    let key = pair.public_key().as_ref();
    let mut section = key.to_vec();
    section.extend_from_slice(pair.sign(&message(&rest)).as_ref());
    let key = key.try_into().map_err(|_| Error::Damaged)?;
    Ok((with_section(&rest, SECTION, &section), PublicKey(key)))
}

/// Whose signature the file has; the signature is right.
///
/// # Errors
/// When there is none, or it is not right.
pub fn signer(component: &[u8]) -> Result<PublicKey, Error> {
    let found = package::custom_sections(component, SECTION)?;
    let section = match found.as_slice() {
        [] => return Err(Error::Unsigned),
        [one] => one,
        // Which of them counts would be a question.
        _ => return Err(Error::Damaged),
    };
    let (key, signature) = section.split_at_checked(KEY).ok_or(Error::Damaged)?;
    if signature.len() != SIGNATURE {
        return Err(Error::Damaged);
    }
    let rest = without_section(component, SECTION)?;
    let known = PublicKey(key.try_into().map_err(|_| Error::Damaged)?);
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&message(&rest), signature)
        .map_err(|_| Error::Changed(known.to_string()))?;
    Ok(known)
}

/// Whether one of these has signed it.
///
/// # Errors
/// When none has.
pub fn check(component: &[u8], trusted: &[PublicKey]) -> Result<(), Error> {
    let found = signer(component)?;
    if trusted.contains(&found) {
        return Ok(());
    }
    let found = found.to_string();
    Err(Error::Untrusted { found })
}

fn message(rest: &[u8]) -> Vec<u8> {
    let mut message = PURPOSE.to_vec();
    message.extend_from_slice(&Sha256::digest(rest));
    message
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn key() -> Vec<u8> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        made.as_ref().to_vec()
    }

    fn component() -> Vec<u8> {
        let empty = wasm_encoder::Component::new().finish();
        package::embed_manifest(&empty, "[plugin]").expect("a component")
    }

    #[test]
    fn what_was_signed_says_by_whom_and_what_was_changed_says_so() {
        let (one, other) = (key(), key());
        let (signed, by_one) = sign(&component(), &one).expect("signed");
        assert_eq!(signer(&signed).expect("a signer"), by_one);
        assert!(check(&signed, &[by_one]).is_ok());
        let (again, by_other) = sign(&signed, &other).expect("signed again");
        assert_eq!(signer(&again).expect("a signer"), by_other);
        assert!(matches!(
            check(&again, &[by_one]),
            Err(Error::Untrusted { .. })
        ));
        assert!(matches!(signer(&component()), Err(Error::Unsigned)));
        // Another manifest under the same signature, and a byte in it.
        let changed = package::embed_manifest(&signed, "[other]").expect("a component");
        assert!(matches!(signer(&changed), Err(Error::Changed(_))));
        let mut broken = signed.clone();
        if let Some(last) = broken.last_mut() {
            *last ^= 1;
        }
        assert!(matches!(signer(&broken), Err(Error::Changed(_))));
        let short = with_section(&component(), SECTION, b"short");
        assert!(matches!(signer(&short), Err(Error::Damaged)));
        // A second section with a good signature does not hide a bad one.
        let two = with_section(&signed, SECTION, &[0; KEY + SIGNATURE]);
        assert!(signer(&two).is_err());
    }

    #[test]
    fn a_public_key_is_read_as_openssl_writes_it() {
        let mut der = spki(&[7; KEY]);
        assert_eq!(PublicKey::from_spki(&der), Some(PublicKey([7; KEY])));
        assert_eq!(PublicKey::from_spki(&der[1..]), None);
        der.push(0);
        assert_eq!(PublicKey::from_spki(&der), None);
    }
}
