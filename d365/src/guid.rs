//! Takes the text of a GUID in any dress, gives it plain, or nothing where it says "none".

/// The GUID that both products write for "none".
const ZERO: &str = "00000000-0000-0000-0000-000000000000";

/// Without braces and blanks; `None` when blank or zero.
///
/// Finance and Operations writes `{C600136F-…}` in some members and bare upper case in others.
pub(crate) fn known(text: &str) -> Option<&str> {
    let bare = text.trim();
    let bare = bare
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(bare);
    (!bare.is_empty() && bare != ZERO).then_some(bare)
}

/// As [`known`], in lower case, which is how identifiers are compared.
pub(crate) fn lower(text: Option<&str>) -> Option<String> {
    text.and_then(known).map(str::to_ascii_lowercase)
}
