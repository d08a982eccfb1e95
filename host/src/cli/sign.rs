//! `sluice sign` and `sluice verify`: take a plug-in's file and a key, give the file signed, or whether it is.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::build::write;
use super::output::line;
use crate::config::public_key;
use crate::plugin::{package, signature};

#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The plug-in's .wasm file; it is replaced by the signed one.
    #[arg(required_unless_present = "new_key")]
    file: Option<PathBuf>,
    /// An Ed25519 key, PKCS#8 in PEM.
    #[arg(long, required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Make a key instead: this file, and its public half in <FILE>.pub.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "key"])]
    new_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The plug-in's .wasm file.
    file: PathBuf,
    /// The public key that has to have signed it, PEM. Without one it is told who has.
    #[arg(long)]
    key: Option<PathBuf>,
}

pub(super) fn sign(args: &Sign) -> anyhow::Result<ExitCode> {
    match (&args.new_key, &args.file, &args.key) {
        (Some(new), ..) => make(new)?,
        (None, Some(file), Some(key)) => {
            let named = || key.display().to_string();
            let pkcs8 = PrivatePkcs8KeyDer::from_pem_file(key)
                .map_err(|error| anyhow!("cannot be read as a private key: {error}"))
                .with_context(named)?;
            let bytes = read(file)?;
            let (signed, public) = signature::sign(&bytes, pkcs8.secret_pkcs8_der())
                .with_context(|| file.display().to_string())?;
            write(file, &signed)
                .with_context(|| format!("{} cannot be written", file.display()))?;
            line!(
                "{}\nsigned by {public}  {}",
                file.display(),
                package::digest(&signed)
            );
        }
        (None, ..) => bail!("a file and --key, or --new-key"),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn verify(args: &Verify) -> anyhow::Result<ExitCode> {
    let bytes = read(&args.file)?;
    let named = || args.file.display().to_string();
    let signer = signature::signer(&bytes).with_context(named)?;
    if let Some(path) = &args.key {
        let key = public_key(path).map_err(|reason| anyhow!("{} {reason}", path.display()))?;
        signature::check(&bytes, &[key]).with_context(named)?;
    }
    line!(
        "{}\nsigned by {signer}  {}",
        args.file.display(),
        package::digest(&bytes)
    );
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Writes both halves of a new key; neither may be there.
fn make(path: &Path) -> anyhow::Result<()> {
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| anyhow!("this machine gives no random numbers"))?;
    let public = Ed25519KeyPair::from_pkcs8(pair.as_ref())?;
    let public = signature::spki(public.public_key().as_ref());
    let mut public_path = path.as_os_str().to_owned();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    put(path, 0o600, &pem("PRIVATE KEY", pair.as_ref()))?;
    put(&public_path, 0o644, &pem("PUBLIC KEY", &public))?;
    line!(
        "{}  keep it; it signs\n{}  for trusted_keys of [plugins]",
        path.display(),
        public_path.display()
    );
    Ok(())
}

fn put(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let file = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    file.with_context(|| format!("{} cannot be made", path.display()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
