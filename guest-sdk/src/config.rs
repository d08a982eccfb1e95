//! The `[config]` table of the manifest, with the operator's values over it.
//!
//! Every value is text. What a plug-in cannot do without belongs into its manifest with a value
//! that works, so that an operator need not name it.

use std::fmt::Display;
use std::str::FromStr;

use crate::host;

/// Why a configured value cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the manifest nor the operator sets the key.
    #[error(
        "the config key {key:?} is not set; set it under [config] in plugin.toml, or in the \
         host's sluice.toml"
    )]
    Missing {
        /// The key.
        key: String,
    },
    /// The text does not parse.
    #[error("the config key {key:?} is {found:?}, which is no {wanted}: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// The text.
        found: String,
        /// The Rust type that was asked for, without its path.
        wanted: &'static str,
        /// What its parser found.
        reason: String,
    },
}

/// The value of the key; `None` when neither the manifest nor the operator sets it.
pub fn get(key: &str) -> Option<String> {
    host::config_get(key)
}

/// The value of the key as a `T`.
///
/// Errors when the key is not set, or its text does not parse. By `?` that rejects the event;
/// when the value is mended, `sluice dlq replay` handles it.
pub fn parse<T>(key: &str) -> Result<T, Error>
where
    T: FromStr<Err: Display>,
{
    parsed(key, get(key))
}

fn parsed<T>(key: &str, found: Option<String>) -> Result<T, Error>
where
    T: FromStr<Err: Display>,
{
    let key = key.to_owned();
    let Some(found) = found else {
        return Err(Error::Missing { key });
    };
    found.trim().parse().map_err(|reason: T::Err| {
        let path = std::any::type_name::<T>();
        Error::Invalid {
            key,
            found,
            wanted: path.rsplit("::").next().unwrap_or(path),
            reason: reason.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_is_set_and_names_what_is_wrong() {
        assert_eq!(parsed::<u32>("keep", Some(" 50 ".to_owned())).unwrap(), 50);
        let missing = parsed::<u32>("keep", None).unwrap_err().to_string();
        assert!(missing.contains("\"keep\" is not set"), "{missing}");
        let invalid = parsed::<u32>("keep", Some("many".to_owned())).unwrap_err();
        assert_eq!(
            invalid.to_string(),
            "the config key \"keep\" is \"many\", which is no u32: invalid digit found in string"
        );
    }
}
