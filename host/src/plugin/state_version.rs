//! Takes a key of a plug-in's and the version of its state, gives the key in the ledger, and back.
//!
//! Each version has keys of its own, so a build with a new one starts clean or with what is
//! carried over to it, one that goes back finds what it left, and both can run beside each other.

/// No key of a first version begins so, unless its author means this very thing.
const MARK: char = '\u{1f}';

/// The key in the ledger; the first version's are as the plug-in says them.
pub fn in_ledger(version: u16, key: String) -> String {
    if version <= 1 {
        return key;
    }
    format!("{MARK}{version}{MARK}{key}")
}

/// The key as the plug-in says it.
pub fn of_plugin(key: &str) -> &str {
    let inner = key.strip_prefix(MARK);
    let rest = inner.and_then(|inner| inner.split_once(MARK));
    rest.map_or(key, |(_, rest)| rest)
}

/// The version that a key in the ledger belongs to.
pub fn of_key(key: &str) -> u16 {
    let inner = key.strip_prefix(MARK);
    let version = inner.and_then(|inner| inner.split_once(MARK));
    version.map_or(1, |(version, _)| version.parse().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_do_not_share_keys_and_the_first_ones_stay_what_they_were() {
        let key = |version| in_ledger(version, "account/a".to_owned());
        assert_eq!(key(1), "account/a");
        assert_ne!(key(1), key(2));
        assert_ne!(key(2), key(3));
        for version in [1, 2, 65_535] {
            assert_eq!(of_plugin(&key(version)), "account/a");
            assert_eq!(of_key(&key(version)), version);
        }
        assert_eq!(of_plugin(&in_ledger(2, String::new())), "");
    }
}
