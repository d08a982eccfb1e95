//! Takes a parsed TOML table, gives it with each `${NAME}` in its strings replaced.

use std::borrow::Cow;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::document::{Document, Error, Lookup};

/// Replaces in every string value, however deep. Keys and comments stay as they are.
pub(crate) fn expand_table(
    document: &Document,
    table: &mut DeTable<'_>,
    lookup: Lookup<'_>,
) -> Result<(), Error> {
    for (_, value) in table.iter_mut() {
        let span = value.span();
        expand_value(document, span, value.get_mut(), lookup)?;
    }
    Ok(())
}

fn expand_value(
    document: &Document,
    span: Range<usize>,
    value: &mut DeValue<'_>,
    lookup: Lookup<'_>,
) -> Result<(), Error> {
    match value {
        DeValue::String(text) => {
            let expanded = expand(text, lookup).map_err(|reason| {
                let (table, key) = document.place(span.start);
                Error::Variable {
                    file: document.file.clone(),
                    line: document.line(span.start),
                    key: format!("{table} {key}").trim().to_owned(),
                    reason,
                }
            })?;
            if let Some(expanded) = expanded {
                *text = Cow::Owned(expanded);
            }
            Ok(())
        }
        DeValue::Array(array) => array.iter_mut().try_for_each(|element| {
            let span = element.span();
            expand_value(document, span, element.get_mut(), lookup)
        }),
        DeValue::Table(table) => expand_table(document, table, lookup),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Ok(())
        }
    }
}

/// `None` when there is nothing to replace. `$${` stands for `${`; a `$` before anything
/// else stands for itself.
fn expand(text: &str, lookup: Lookup<'_>) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let (name, after) = after.split_once('}').ok_or_else(|| {
            "found \"${\" without a closing \"}\"; write \"$${\" where no variable is meant"
                .to_owned()
        })?;
        if !is_name(name) {
            return Err(format!(
                "found ${{{}}}, expected the name of an environment variable between the braces; write \"$${{\" where none is meant",
                name.escape_debug()
            ));
        }
        let value = lookup(name).ok_or_else(|| {
            format!("environment variable {name} is not set; set it, or write the value here")
        })?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("contoso".to_owned()),
            "NESTED" => Some("${HOST}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn replaces_once_and_keeps_what_is_escaped() {
        for (text, expected) in [
            ("${HOST}", "contoso"),
            (
                "https://${HOST}.example:${HOST}/",
                "https://contoso.example:contoso/",
            ),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("a${EMPTY}b", "ab"),
            // A value is not looked at again: a secret may hold "${".
            ("${NESTED}", "${HOST}"),
        ] {
            assert_eq!(
                expand(text, &lookup),
                Ok(Some(expected.to_owned())),
                "{text}"
            );
        }
        assert_eq!(expand("$HOST and $", &lookup), Ok(None));
    }

    #[test]
    fn refuses_what_cannot_be_replaced() {
        for (text, part) in [
            ("${MISSING}", "MISSING is not set"),
            ("${HOST", "without a closing"),
            ("${}", "expected the name"),
            ("${1A}", "expected the name"),
            ("${A B}", "expected the name"),
        ] {
            let error = expand(text, &lookup).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
