//! Takes a name or an id, gives it when Dataverse can have such a one.

use super::Error;

/// An entity set name.
pub(super) fn table(name: &str) -> Result<&str, Error> {
    if is_name(name, |c| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    Err(Error::Table {
        found: excerpt(name),
    })
}

/// The logical name of a column.
pub(super) fn column<'a>(table: &str, name: &'a str) -> Result<&'a str, Error> {
    if is_name(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Ok(name);
    }
    Err(Error::Column {
        table: table.to_owned(),
        found: excerpt(name),
    })
}

/// The navigation property of a lookup.
pub(super) fn navigation<'a>(table: &str, name: &'a str) -> Result<&'a str, Error> {
    if is_name(name, |c| c.is_ascii_alphanumeric()) {
        return Ok(name);
    }
    Err(Error::Navigation {
        table: table.to_owned(),
        found: excerpt(name),
    })
}

/// A GUID in lower case and without braces.
pub(super) fn guid(table: &str, text: &str) -> Result<String, Error> {
    let bare = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    let sizes = bare.split('-').map(str::len);
    let is_digit = |c: char| c == '-' || c.is_ascii_hexdigit();
    if sizes.eq([8, 4, 4, 4, 12]) && bare.chars().all(is_digit) {
        return Ok(bare.to_ascii_lowercase());
    }
    Err(Error::Id {
        table: table.to_owned(),
    })
}

/// Not empty, no digit first, and nothing but these characters and `_`.
fn is_name(name: &str, is_part: impl Fn(char) -> bool) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| !c.is_ascii_digit()) && name.chars().all(|c| c == '_' || is_part(c))
}

/// The beginning of a name, so that a message stays a line.
fn excerpt(name: &str) -> String {
    const LONGEST: usize = 48;
    let more = name.chars().nth(LONGEST).map(|_| '…');
    name.chars().take(LONGEST).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_change_the_url_are_refused() {
        for name in ["accounts", "new_Shipments2", "_x"] {
            assert_eq!(table(name).unwrap(), name);
            assert_eq!(navigation("accounts", name).unwrap(), name);
        }
        for name in [
            "",
            "2x",
            "a b",
            "a/b",
            "a(b",
            "a?b",
            "naïve",
            "x@odata.bind",
        ] {
            assert!(table(name).is_err(), "{name}");
            assert!(column("accounts", name).is_err(), "{name}");
            assert!(navigation("accounts", name).is_err(), "{name}");
        }
        assert!(column("accounts", "creditlimit").is_ok());
        assert!(column("accounts", "CreditLimit").is_err());
    }

    #[test]
    fn a_long_name_is_cut_in_the_message() {
        let message = table(&"ä".repeat(5000)).unwrap_err().to_string();
        assert!(message.contains("ä…"), "{message}");
        assert!(message.chars().count() < 300, "{message}");
    }

    #[test]
    fn a_guid_is_written_in_one_way() {
        let plain = "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";
        for text in [plain, "{7C1F2D68-4E0B-4A37-8B59-2D6E9F1A3C05}"] {
            assert_eq!(guid("accounts", text).unwrap(), plain);
        }
        for text in [
            "",
            "{}",
            "7c1f2d684e0b4a378b592d6e9f1a3c05",
            "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c0",
            "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c0x",
            "{7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05",
        ] {
            assert!(guid("accounts", text).is_err(), "{text}");
        }
    }
}
