//! Takes names of members, gives paths, and whether one path concerns another.

/// A path with one more name at its end.
pub(crate) fn join(path: &str, name: &str) -> String {
    let name = name.replace('~', "~0").replace('/', "~1");
    format!("{path}/{name}")
}

/// The names of a path.
pub(crate) fn names(path: &str) -> impl Iterator<Item = String> {
    let names = path.strip_prefix('/').map(|names| names.split('/'));
    let names = names.into_iter().flatten();
    names.map(|name| name.replace("~1", "/").replace("~0", "~"))
}

/// Whether what happened at one path concerns who reads the other: it is the same, above or below.
pub fn concerns(changed: &str, read: &str) -> bool {
    let is_above = |one: &str, other: &str| {
        other
            .strip_prefix(one)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_above(changed, read) || is_above(read, changed)
}
