//! Takes the text of a grant or an address, gives an origin with the path that it is bounded to.

use std::fmt;

use fluent_uri::Uri;

/// What a grant has to look like.
pub(crate) const ORIGIN: &str = "an origin such as \"https://contoso.crm.dynamics.com\": scheme http or https, a host without wildcards; a path without query, \"https://contoso.com/api\", bounds it further";

/// Scheme, host and port, and the path below which requests may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// Lower case; an IPv6 address in brackets.
    pub host: String,
    /// The scheme's own when the text has none.
    pub port: u16,
    /// Empty, or `/api` without a slash at its end.
    pub path: String,
}

impl Origin {
    /// Reads a grant. None when it is not what [`ORIGIN`] says.
    pub fn parse(text: &str) -> Option<Self> {
        let uri = Uri::parse(text).ok()?;
        let tls = match uri.scheme().as_str().to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        let path = uri.path().as_str().trim_end_matches('/');
        let is_plain = authority.userinfo().is_none()
            && uri.query().is_none()
            && uri.fragment().is_none()
            && is_plain_path(path);
        if !is_plain || host.is_empty() || host.contains(['*', '%']) {
            return None;
        }
        Some(Self {
            tls,
            host,
            port: authority
                .port_to_u16()
                .ok()?
                .unwrap_or_else(|| default_port(tls)),
            path: path.to_owned(),
        })
    }

    /// Whether both are the same place, whatever their paths.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// Whether a path of this place is within the bound.
    pub fn has_path(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        let below = path.strip_prefix(&self.path);
        // A path that could mean another one behind the server's own rules is no path below this.
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && is_plain_path(path.trim_end_matches('/'))
    }

    /// Whether everything that `other` grants is granted by this.
    pub fn covers(&self, other: &Self) -> bool {
        self.is_same_place(other) && self.has_path(&other.path)
    }
}

/// In one spelling: lower case, no default port, no slash at the end.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != default_port(self.tls) {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Segments that mean themselves: no `.`, no `..`, nothing empty or hidden by a percent code.
fn is_plain_path(path: &str) -> bool {
    path.split('/').skip(1).all(|segment| {
        let hides = segment.contains(['%', '\\']) && {
            let lower = segment.to_ascii_lowercase();
            ["%2e", "%2f", "%5c", "\\"]
                .iter()
                .any(|code| lower.contains(code))
        };
        !hides && !matches!(segment, "" | "." | "..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).expect(text)
    }

    #[test]
    fn origins_have_one_spelling() {
        for (text, spelling) in [
            (
                "HTTPS://Contoso.CRM.dynamics.com/",
                "https://contoso.crm.dynamics.com",
            ),
            ("https://a.com:443", "https://a.com"),
            ("http://a.com:443", "http://a.com:443"),
            ("https://[::1]:8443/api/", "https://[::1]:8443/api"),
        ] {
            assert_eq!(origin(text).to_string(), spelling);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "contoso.com",
            "ftp://contoso.com",
            "https://*.contoso.com",
            "https://me@contoso.com",
            "https://contoso.com?x",
            "https://contoso.com#x",
            "https://contoso.com/api/../admin",
            "https://contoso.com/%2e%2e/admin",
            "https://contoso.com//api",
            "https://",
            "https://contoso.com:99999",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_bounds_what_is_below_it_and_nothing_beside() {
        let api = origin("https://contoso.com/api");
        for path in ["/api", "/api/", "/api/data/v9.2/accounts(a%20b)"] {
            assert!(api.has_path(path), "{path}");
        }
        for path in [
            "/",
            "/apis",
            "/other",
            "/api/../admin",
            "/api/%2e%2e/admin",
            "/api/..%2Fadmin",
            "/api/%5c..%5cadmin",
            "/api//admin",
        ] {
            assert!(!api.has_path(path), "{path}");
        }
        assert!(origin("https://contoso.com").has_path("/a/../b"));
    }

    #[test]
    fn a_grant_covers_the_same_place_below_its_path() {
        let wide = origin("https://contoso.com/api");
        assert!(wide.covers(&origin("https://contoso.com/api/v2")));
        assert!(!wide.covers(&origin("https://contoso.com")));
        assert!(!wide.covers(&origin("http://contoso.com/api")));
        assert!(!wide.covers(&origin("https://contoso.com:8443/api")));
    }
}
