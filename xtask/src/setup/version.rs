//! Version numbers as `nats-server --version` prints them.

use std::fmt;

/// Major, minor and patch number; what follows a `-` or `+` is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32, pub(super) u32);

impl Version {
    /// Reads `nats-server: v2.15.1`, `v2.12.0-RC.3` and the like.
    pub(super) fn find_in(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let end = word.find(['-', '+']).unwrap_or(word.len());
            let mut numbers = word.get(..end)?.split('.').map(str::parse);
            match (numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => {
                    Some(Self(major, minor, patch))
                }
                _ => None,
            }
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_print() {
        let find = Version::find_in;
        assert_eq!(find("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(find("nats-server: v2.12.0-RC.3"), Some(Version(2, 12, 0)));
        assert_eq!(find("nats-server version 2.9.10"), Some(Version(2, 9, 10)));
        assert_eq!(find("nats-server: command not found"), None);
        assert_eq!(find("2.15"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn orders_by_number_and_not_by_text() {
        assert!(Version(2, 9, 10) < Version(2, 12, 0));
        assert!(Version(2, 12, 0) < Version(3, 0, 0));
    }
}
