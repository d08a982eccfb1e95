//! Takes what a request shows of who sends it, gives who that is: a token, a certificate, a session.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::config::admin::OPERATOR;
use crate::config::{self, Proof, Role};

/// How long a session of the console lasts.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Its cookie.
pub(crate) const COOKIE: &str = "sluice_session";
/// Who is let in where the config names nobody: the port is this machine's own then.
const LOCAL: &str = "local";

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// By which the audit knows them.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// The common name of the certificate that a connection was opened with.
#[derive(Debug, Clone)]
pub(crate) struct Certificate(pub(crate) String);

#[derive(Debug)]
struct Known {
    person: Person,
    /// SHA-256 of the token, so that a comparison takes as long whatever is given.
    token: Option<[u8; 32]>,
    certificate: Option<String>,
}

/// Everybody whom the config names.
#[derive(Debug)]
pub struct Access {
    known: Vec<Known>,
    is_secure: bool,
}

impl Access {
    /// Those of the config.
    pub fn new(config: &config::Admin) -> Self {
        let operator = config.token.iter().map(|token| Known {
            person: Person {
                name: OPERATOR.to_owned(),
                role: Role::Operator,
            },
            token: Some(digest(token.expose())),
            certificate: None,
        });
        let users = config.users.iter().map(|user| {
            let (token, certificate) = match &user.proof {
                Proof::Token(token) => (Some(digest(token.expose())), None),
                Proof::Certificate(name) => (None, Some(name.clone())),
            };
            Known {
                person: Person {
                    name: user.name.clone(),
                    role: user.role,
                },
                token,
                certificate,
            }
        });
        Self {
            known: operator.chain(users).collect(),
            is_secure: config.tls.is_some(),
        }
    }

    /// Nobody is named, so whoever reaches the port may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.known.is_empty()
    }

    /// Who sends a request with these headers, over a connection with this certificate.
    pub(crate) fn person(
        &self,
        headers: &HeaderMap,
        certificate: Option<&Certificate>,
    ) -> Option<Person> {
        if self.is_open() {
            return Some(Person {
                name: LOCAL.to_owned(),
                role: Role::Operator,
            });
        }
        let of_certificate = |known: &&Known| {
            let name = known.certificate.as_ref();
            name.is_some_and(|name| certificate.is_some_and(|shown| shown.0 == *name))
        };
        if let Some(token) = bearer(headers) {
            return self.bearer_of(token).map(|known| known.person.clone());
        }
        let session = cookie(headers).and_then(|cookie| self.session(cookie));
        let known = session.or_else(|| self.known.iter().find(of_certificate));
        known.map(|known| known.person.clone())
    }

    fn bearer_of(&self, token: &[u8]) -> Option<&Known> {
        let given = digest(token);
        let mut found = None;
        // All are compared, whichever it is.
        for known in &self.known {
            if known.token == Some(given) {
                found = Some(known);
            }
        }
        found
    }

    /// The cookie for whoever has this token.
    pub(crate) fn log_in(&self, token: &str) -> Option<String> {
        let known = self.bearer_of(token.trim().as_bytes())?;
        let until = (clock::unix_millis() / 1000) + SESSION.as_secs();
        let name = &known.person.name;
        let seal = URL_SAFE_NO_PAD.encode(seal(known, until)?);
        Some(self.set_cookie(&format!("{name}.{until}.{seal}"), SESSION.as_secs()))
    }

    /// The cookie that ends a session.
    pub(crate) fn log_out(&self) -> String {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// A session is sealed with its user's token: a token that was changed ends it, and every
    /// host of one config knows it.
    fn session(&self, cookie: &str) -> Option<&Known> {
        let mut parts = cookie.splitn(3, '.');
        let (name, until, shown) = (parts.next()?, parts.next()?, parts.next()?);
        let until: u64 = until.parse().ok()?;
        if until * 1000 <= clock::unix_millis() {
            return None;
        }
        let known = self.known.iter().find(|known| known.person.name == name)?;
        let shown = URL_SAFE_NO_PAD.decode(shown).ok()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &known.token?);
        hmac::verify(&key, sealed(name, until).as_bytes(), &shown).ok()?;
        Some(known)
    }
}

fn sealed(name: &str, until: u64) -> String {
    format!("sluicegate session {name} {until}")
}

fn seal(known: &Known, until: u64) -> Option<hmac::Tag> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &known.token?);
    Some(hmac::sign(
        &key,
        sealed(&known.person.name, until).as_bytes(),
    ))
}

fn digest(token: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// What stands behind `Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?;
    value.as_bytes().strip_prefix(b"Bearer ")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn access(tokens: [&str; 2]) -> Access {
        let text = "[admin]\ntoken = \"${OPERATOR}\"\n[[admin.user]]\nname = \"vera\"\nrole = \"viewer\"\ntoken = \"${VIEWER}\"\n[[admin.user]]\nname = \"carl\"\nrole = \"operator\"\ncertificate = \"carl@contoso\"\n[admin.tls]\ncert = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\n";
        let lookup = |name: &str| {
            let token = if name == "OPERATOR" {
                tokens[0]
            } else {
                tokens[1]
            };
            Some(token.to_owned())
        };
        let config = Config::parse(text, "sluice.toml", std::path::Path::new(""), &lookup);
        Access::new(&config.expect("a config").admin)
    }

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    }

    fn name(access: &Access, headers: &HeaderMap) -> Option<String> {
        access.person(headers, None).map(|person| person.name)
    }

    #[test]
    fn a_token_is_its_bearer_and_no_other_is() {
        let access = access(["s3cret", "looks"]);
        let by = |value: &str| name(&access, &headers(header::AUTHORIZATION, value));
        assert_eq!(by("Bearer s3cret").as_deref(), Some("operator"));
        assert_eq!(by("Bearer looks").as_deref(), Some("vera"));
        for wrong in [
            "Bearer s3cre",
            "Bearer ",
            "s3cret",
            "bearer s3cret",
            "Basic s3cret",
        ] {
            assert_eq!(by(wrong), None, "{wrong}");
        }
        assert_eq!(name(&access, &HeaderMap::new()), None);
        let shown = Certificate("carl@contoso".to_owned());
        let carl = access
            .person(&HeaderMap::new(), Some(&shown))
            .expect("carl");
        assert_eq!(carl.name, "carl");
        let other = Certificate("mallory".to_owned());
        assert_eq!(access.person(&HeaderMap::new(), Some(&other)), None);
    }

    #[test]
    fn a_session_is_its_users_until_it_ends_or_the_token_changes() {
        let before = access(["s3cret", "looks"]);
        let set = before.log_in("looks").expect("a session");
        assert!(set.contains("; HttpOnly; SameSite=Strict; Secure"), "{set}");
        let cookie = set.split(';').next().expect("a cookie").to_owned();
        let session = headers(header::COOKIE, &format!("other=1; {cookie}"));
        assert_eq!(name(&before, &session).as_deref(), Some("vera"));
        let elsewhere = access(["s3cret", "looks"]);
        assert_eq!(name(&elsewhere, &session).as_deref(), Some("vera"));
        assert_eq!(name(&access(["s3cret", "new"]), &session), None);
        // Nobody makes another of it.
        for (from, to) in [("vera.", "operator."), (".1", ".9"), ("=vera", "=")] {
            let forged = headers(header::COOKIE, &cookie.replacen(from, to, 1));
            assert_eq!(name(&before, &forged), None, "{from} to {to}");
        }
        assert_eq!(before.log_in("nothing"), None);
        assert_eq!(before.log_in(""), None);
    }
}
