//! Takes the certificates that the config names, finds those that are over, or soon will be.

use std::path::Path;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::parse_x509_certificate;

use super::finding::{About, Findings};
use crate::clock;
use crate::config::Config;
use crate::gateway;
use crate::host::chain;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) fn look(config: &Config, findings: &mut Findings) {
    let mut about = findings.about("certificates");
    if let Err(error) = gateway::check(config) {
        about.fail(
            chain(&error),
            "mend gateway.tls: `cert` is a PEM file with the certificate and those above it, \
             `key` its key; both readable for the user that sluice runs as",
        );
    }
    let own = config.gateway.tls.as_ref();
    let files = [
        ("gateway.tls cert", own.map(|tls| tls.cert.as_path())),
        ("nats.tls cert", config.nats.tls.cert.as_deref()),
        ("nats.tls ca", config.nats.tls.ca.as_deref()),
        ("http ca", config.http.ca.as_deref()),
    ];
    for (key, path) in files {
        if let Some(path) = path {
            file(key, path, &mut about);
        }
    }
    if let Some(key) = &config.nats.tls.key
        && let Err(error) = std::fs::File::open(key)
    {
        about.fail(
            format!("nats.tls key: {}: {error}", key.display()),
            "put the key there, readable for the user that sluice runs as",
        );
    }
}

fn file(key: &str, path: &Path, about: &mut About<'_>) {
    let place = format!("{key}: {}", path.display());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string());
    let certificates = match certificates {
        Ok(some) if !some.is_empty() => some,
        Ok(_) => {
            let todo = "put a PEM file there, with BEGIN CERTIFICATE";
            return about.fail(format!("{place} holds no certificate"), todo);
        }
        Err(error) => {
            let todo = "put a PEM file there, readable for the user that sluice runs as";
            return about.fail(format!("{place} cannot be read: {error}"), todo);
        }
    };
    let now = i64::try_from(clock::unix_millis() / 1_000).unwrap_or(i64::MAX);
    let mut first_end = i64::MAX;
    for certificate in &certificates {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            let todo = "have it issued again; what is there is no X.509 certificate";
            return about.fail(format!("{place} holds what cannot be read"), todo);
        };
        let validity = parsed.validity();
        if now < validity.not_before.timestamp() {
            about.fail(
                format!(
                    "{place}: {} is not valid before {}",
                    parsed.subject(),
                    validity.not_before
                ),
                "set this machine's clock, or wait",
            );
        }
        first_end = first_end.min(validity.not_after.timestamp());
    }
    let days = |seconds: i64| seconds.unsigned_abs() / DAY.as_secs();
    let left = first_end.saturating_sub(now);
    if left <= 0 {
        about.fail(
            format!("{place} expired {} days ago", days(left)),
            "put a new one there and restart the host: nobody who checks it connects",
        );
    } else if left.unsigned_abs() <= SOON.as_secs() {
        about.warn(
            format!("{place} expires in {} days", days(left)),
            "have it renewed, put the new one there, and restart the host",
        );
    } else {
        about.ok(format!("{place} is good for {} days", days(left)));
    }
}
