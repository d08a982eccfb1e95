//! Takes the raw `[admin]`, gives where the console is and who may use it.

use toml::Spanned;

use super::access::listen;
use super::raw::{RawAdmin, RawAdminTls, RawUser};
use super::resolve::{File, is_token};
use super::{Admin, AdminTls, Error, Proof, Role, User};

/// What `admin.token` makes of its bearer.
pub(crate) const OPERATOR: &str = "operator";

impl File<'_> {
    pub(super) fn admin(&self, raw: &RawAdmin) -> Result<Admin, Error> {
        let section = self.section("[admin]");
        let tls = raw.tls.as_ref().map(|tls| self.admin_tls(tls));
        let tls = tls.transpose()?;
        let mut users: Vec<User> = Vec::with_capacity(raw.user.len());
        for at in &raw.user {
            let user = self.user(at, tls.as_ref())?;
            if user.name == OPERATOR || users.iter().any(|other| other.name == user.name) {
                let reason = "found a name that is taken, expected one of this user's own";
                let section = self.section("[[admin.user]]");
                return Err(section.rule("name", Some(at), reason).into());
            }
            users.push(user);
        }
        let admin = Admin {
            listen: listen(section, &raw.listen)?.unwrap_or(Admin::default().listen),
            token: self.secret(
                section,
                ("token", &raw.token),
                ("token_file", &raw.token_file),
            )?,
            tls,
            users,
            mask: section
                .list(
                    "mask",
                    &raw.mask,
                    "a JSON pointer, such as \"/Target/Attributes/*/creditlimit\"; * is any member",
                    |text| text.starts_with('/').then(|| text.to_owned()),
                )?
                .unwrap_or_default(),
        };
        let is_open = admin.token.is_none() && admin.users.is_empty();
        if !admin.listen.ip().is_loopback() && is_open {
            let reason = "found an address that others can reach and no token; set token = \"${NAME}\" or token_file, name users in [[admin.user]], or listen on 127.0.0.1";
            return Err(section.rule("listen", raw.listen.as_ref(), reason).into());
        }
        Ok(admin)
    }

    fn admin_tls(&self, at: &Spanned<RawAdminTls>) -> Result<AdminTls, Error> {
        let section = self.section("[admin.tls]");
        let raw = at.get_ref();
        let cert = self.path(section, "cert", &raw.cert)?;
        let key = self.path(section, "key", &raw.key)?;
        let client_ca = self.path(section, "client_ca", &raw.client_ca)?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(AdminTls {
                cert,
                key,
                client_ca,
            }),
            _ => {
                let reason = "expected both cert and key, paths of PEM files";
                Err(section.rule("cert", Some(at), reason).into())
            }
        }
    }

    fn user(&self, at: &Spanned<RawUser>, tls: Option<&AdminTls>) -> Result<User, Error> {
        const NAME: &str = "1 to 63 letters, digits, - and _";
        const ROLE: &str = "\"viewer\" or \"operator\"";
        const CERTIFICATE: &str = "the common name of a certificate";
        let section = self.section("[[admin.user]]");
        let raw = at.get_ref();
        let name = section.parsed("name", &raw.name, NAME, |text| {
            is_token(text, u8::is_ascii_alphanumeric)
        })?;
        let roles = [("viewer", Role::Viewer), ("operator", Role::Operator)];
        let role = section.choice("role", &raw.role, &roles)?;
        let token = self.secret(
            section,
            ("token", &raw.token),
            ("token_file", &raw.token_file),
        )?;
        let certificate = section.text("certificate", &raw.certificate, CERTIFICATE)?;
        let proof = match (token, certificate) {
            (Some(token), None) => Proof::Token(token),
            (None, Some(_)) if tls.is_none_or(|tls| tls.client_ca.is_none()) => {
                let reason =
                    "found a certificate and no [admin.tls] client_ca that could have issued it";
                return Err(section
                    .rule("certificate", raw.certificate.as_ref(), reason)
                    .into());
            }
            (None, Some(name)) => Proof::Certificate(name),
            _ => {
                let reason = "found both or none of token and certificate; set token = \"${NAME}\", token_file, or certificate";
                return Err(section.rule("token", Some(at), reason).into());
            }
        };
        Ok(User {
            name: name.ok_or_else(|| section.missing_in(at, "name", NAME))?,
            role: role.ok_or_else(|| section.missing_in(at, "role", ROLE))?,
            proof,
        })
    }
}
