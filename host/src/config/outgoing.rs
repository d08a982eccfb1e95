//! `[http]` and `[secret.<name>]`: whom plug-ins' requests trust, and what is put into them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::Spanned;

use super::raw::{RawHttp, RawSecret};
use super::resolve::{File, is_token};
use super::{Error, Secret};
use crate::manifest::Origin;
use crate::manifest::origin::ORIGIN;

const HOW: &str = "header with value, or bearer, or token_url with client_id and client_secret";
const URL: &str =
    "an address such as \"https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token\"";

/// `[http]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// Certificates of authorities that are trusted beside the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// Host names, lower case, that may stand for private addresses.
    pub private: Vec<String>,
}

/// `[secret.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// The origin whose requests get it.
    pub origin: Origin,
    /// What they get.
    pub credential: Credential,
}

/// What is put into a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A header.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// `Authorization: Bearer` with a token of OAuth 2.0 client credentials.
    ClientCredentials {
        /// The token endpoint.
        token_url: String,
        /// Who this host is there.
        client_id: String,
        /// How it shows that.
        client_secret: Secret,
        /// What the token is to be for.
        scope: String,
    },
}

impl File<'_> {
    pub(super) fn http(&self, raw: &RawHttp) -> Result<Http, Error> {
        let section = self.section("[http]");
        let private = section.list(
            "private",
            &raw.private,
            "a host name such as \"crm.corp.local\"",
            |text| {
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                let is_host = !text.is_empty() && text.bytes().all(is_name);
                is_host.then(|| text.to_ascii_lowercase())
            },
        )?;
        Ok(Http {
            ca: self.path(section, "ca", &raw.ca)?,
            private: private.unwrap_or_default(),
        })
    }

    pub(super) fn secrets(
        &self,
        raw: &BTreeMap<String, Spanned<RawSecret>>,
    ) -> Result<BTreeMap<String, SecretUse>, Error> {
        raw.iter()
            .map(|(name, at)| Ok((name.clone(), self.secret_use(name, at)?)))
            .collect()
    }

    fn secret_use(&self, name: &str, at: &Spanned<RawSecret>) -> Result<SecretUse, Error> {
        let raw = at.get_ref();
        let section_name = format!("[secret.{name}]");
        let section = self.section(&section_name);
        let origin = section
            .parsed("origin", &raw.origin, ORIGIN, Origin::parse)?
            .ok_or_else(|| section.missing_in(at, "origin", ORIGIN))?;
        let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&origin.host.as_str());
        if !origin.tls && !is_local {
            let reason = "found an origin without TLS, where everybody on the way reads the \
                          secret; expected https";
            return Err(section.rule("origin", raw.origin.as_ref(), reason).into());
        }
        let value = self.secret(
            section,
            ("value", &raw.value),
            ("value_file", &raw.value_file),
        )?;
        let bearer = self.secret(
            section,
            ("bearer", &raw.bearer),
            ("bearer_file", &raw.bearer_file),
        )?;
        let client_secret = self.secret(
            section,
            ("client_secret", &raw.client_secret),
            ("client_secret_file", &raw.client_secret_file),
        )?;
        let header = section.parsed(
            "header",
            &raw.header,
            "the name of a header, such as \"x-api-key\"",
            |text| is_token(text, u8::is_ascii_alphanumeric),
        )?;
        let token_url = section.parsed("token_url", &raw.token_url, URL, |text| {
            let url = Origin::parse(text)?;
            let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&url.host.as_str());
            (url.tls || is_local).then(|| text.to_owned())
        })?;
        let client_id = section.text("client_id", &raw.client_id, "the id of an app")?;
        let scope = section.text("scope", &raw.scope, "a scope, or several with blanks")?;
        let credential = match (header, value, bearer, token_url, client_id, client_secret) {
            (Some(name), Some(value), None, None, None, None) => Credential::Header { name, value },
            (None, None, Some(token), None, None, None) => Credential::Bearer { token },
            (None, None, None, Some(token_url), Some(client_id), Some(client_secret)) => {
                // What Entra ID gives a token for Dataverse by.
                let of_origin = format!("{origin}/.default");
                Credential::ClientCredentials {
                    token_url,
                    client_id,
                    client_secret,
                    scope: scope.unwrap_or(of_origin),
                }
            }
            _ => {
                let reason = format!("expected one of these: {HOW}");
                return Err(section.rule("origin", Some(at), &reason).into());
            }
        };
        Ok(SecretUse { origin, credential })
    }
}
