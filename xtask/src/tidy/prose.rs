//! Words that no file of the project may hold.

use super::Finding;

/// Marks of unfinished work. In two parts each, so that this file is not a finding.
const UNFINISHED: [(&str, &str); 5] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("to", "do!("),
    ("unimple", "mented!("),
];

/// First folders of paths that exist on somebody's machine only.
const MACHINE_FOLDERS: [&str; 4] = ["work", "root", "home", "tmp"];

/// Hosts of package registries, by their labels: the clients know them, the project need not.
const REGISTRY_HOSTS: [(&str, &str); 7] = [
    ("crates", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("rubygems", "org"),
    ("proxy.golang", "org"),
];

/// Findings of one text file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    // Cargo writes its lock files, and names the registry in them.
    if path.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (head, tail) in UNFINISHED {
            let word = format!("{head}{tail}");
            if has_word(line, &word) {
                findings.push(Finding::new(
                    path,
                    number,
                    format!("`{word}`: finish it or leave it out"),
                ));
            }
        }
        for folder in MACHINE_FOLDERS {
            if has_machine_path(line, folder) {
                let what = format!("`/{folder}/`: a path of one machine");
                findings.push(Finding::new(path, number, what));
            }
        }
        for (name, domain) in REGISTRY_HOSTS {
            let host = format!("{name}.{domain}");
            if has_word(&line.to_lowercase(), &host) {
                let what = format!("`{host}`: the host of a package registry");
                findings.push(Finding::new(path, number, what));
            }
        }
    }
    findings
}

/// Is `word` in `line`, and not as a part of a longer word?
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && (word.ends_with('(') || !after.is_some_and(is_part))
    })
}

/// The folder at the start of a path; below another folder or a host it is none.
fn has_machine_path(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> Vec<String> {
        check("a.rs", line)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn unfinished_work_is_found_and_its_look_alikes_are_not() {
        for (head, tail) in UNFINISHED {
            let line = format!("    // {head}{tail} later");
            assert_eq!(found(&line).len(), 1, "{line}");
        }
        assert!(found("mktemp -d XXXXXX; todo = \"warn\"; autotodo!(x)").is_empty());
    }

    #[test]
    fn paths_of_a_machine_are_found_and_other_paths_are_not() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(found(&format!("\"/{folder}/x\"")).len(), 1);
            assert_eq!(found(&format!("/{folder}/x")).len(), 1);
            assert!(found(&format!("docs/{folder}/x")).is_empty());
            assert!(found(&format!("https://host/{folder}")).is_empty());
        }
    }

    #[test]
    fn registries_are_found_and_lock_files_are_left_alone() {
        let line = format!("see https://static.{}.{}/x", "crates", "io");
        assert_eq!(found(&line).len(), 1);
        assert!(check("plugins/Cargo.lock", &line).is_empty());
        assert!(found("crates iota").is_empty());
    }
}
