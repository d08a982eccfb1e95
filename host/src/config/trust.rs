//! `[plugins]`: whose plug-ins are run.

use std::path::Path;

use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::Error;
use super::raw::RawPlugins;
use super::resolve::File;
use crate::plugin::signature::PublicKey;

/// `[plugins]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Nothing is run that none of `keys` has signed.
    pub require_signature: bool,
    /// Those that sign.
    pub keys: Vec<PublicKey>,
}

impl File<'_> {
    pub(super) fn trust(&self, raw: &RawPlugins) -> Result<Trust, Error> {
        let section = self.section("[plugins]");
        let files = section.list(
            "trusted_keys",
            &raw.trusted_keys,
            "the path of a public key, PEM",
            |text| (!text.is_empty()).then(|| self.folder.join(text)),
        )?;
        let mut keys = Vec::new();
        for path in files.unwrap_or_default() {
            let key = key(&path).map_err(|reason| {
                let reason = format!("{} {reason}", path.display());
                section.rule("trusted_keys", raw.trusted_keys.as_ref(), &reason)
            })?;
            keys.push(key);
        }
        let require_signature = section
            .switch("require_signature", &raw.require_signature)?
            .unwrap_or_default();
        if require_signature && keys.is_empty() {
            let reason = "found without trusted_keys, so that nothing could be run; expected the \
                          public key of whoever signs";
            let at = raw.require_signature.as_ref();
            return Err(section.rule("require_signature", at, reason).into());
        }
        Ok(Trust {
            require_signature,
            keys,
        })
    }
}

/// An Ed25519 key in a PEM file.
pub fn key(path: &Path) -> Result<PublicKey, String> {
    let der = SubjectPublicKeyInfoDer::from_pem_file(path)
        .map_err(|error| format!("cannot be read as a public key: {error}"))?;
    PublicKey::from_spki(&der).ok_or_else(|| "holds no Ed25519 key".to_owned())
}
