//! Wildcards against a matcher that does it the slow way.

use proptest::prelude::*;

use super::*;

#[test]
fn matches_as_nats_does() {
    for (pattern, subject, expected) in [
        ("d365.custom.>", "d365.custom.a", true),
        ("d365.custom.>", "d365.custom.a.b.c", true),
        ("d365.custom.>", "d365.custom", false),
        ("d365.custom.*", "d365.custom.a", true),
        ("d365.custom.*", "d365.custom.a.b", false),
        ("d365.custom.*", "d365.custom", false),
        ("d365.*.a", "d365.b.a", true),
        ("d365.custom.a", "d365.custom.a", true),
        ("d365.custom.a", "d365.custom.A", false),
        (">", "a", true),
        // These are no subjects, whatever is granted.
        (">", "", false),
        (">", "a..b", false),
        (">", "a.b.", false),
        ("d365.>", "d365.*", false),
        ("d365.>", "d365.>", false),
        ("d365.>", "d365.a b", false),
        ("d365.>", "d365.a\r\nb", false),
        ("d365.*", "d365.a*", false),
    ] {
        assert_eq!(
            subject_matches(pattern, subject),
            expected,
            "{pattern} {subject}"
        );
    }
}

#[test]
fn patterns() {
    for good in [">", "*", "a.>", "a.*.b", "*.>"] {
        assert!(is_pattern(good), "{good}");
    }
    for bad in [
        "", ".", "a.", ".>", "a.>.b", ">.>", "a*", "a.b>", "a b", "a..b",
    ] {
        assert!(!is_pattern(bad), "{bad}");
    }
}

/// Every subject of one to four tokens; no pattern of [`any_pattern`] names `z`, so it
/// stands for all tokens that none of them names.
fn universe() -> Vec<String> {
    let mut all = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|head| ["a", "b", "z"].map(|token| format!("{head}.{token}")))
            .collect();
        all.extend(
            last.iter()
                .map(|subject| subject.trim_start_matches('.').to_owned()),
        );
    }
    all
}

fn slowly_matches(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([">"], [_, ..]) | ([], []) => true,
        ([token, pattern @ ..], [own, subject @ ..]) => {
            (*token == "*" || token == own) && slowly_matches(pattern, subject)
        }
        _ => false,
    }
}

fn matched(pattern: &str) -> Vec<String> {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let mut subjects = universe();
    subjects.retain(|subject| slowly_matches(&pattern, &subject.split('.').collect::<Vec<_>>()));
    subjects
}

fn any_pattern() -> impl Strategy<Value = String> {
    "([ab*]\\.){0,2}[ab*>]"
}

proptest! {
    #[test]
    fn subsets_and_overlaps_are_those_of_the_matched_subjects(one in any_pattern(), other in any_pattern()) {
        let (of_one, of_other) = (matched(&one), matched(&other));
        let fast: Vec<String> = universe().into_iter().filter(|subject| subject_matches(&one, subject)).collect();
        prop_assert_eq!(&fast, &of_one);
        prop_assert_eq!(is_subset(&one, &other), of_one.iter().all(|subject| of_other.contains(subject)));
        prop_assert_eq!(overlaps(&one, &other), of_one.iter().any(|subject| of_other.contains(subject)));
    }

    #[test]
    fn reducing_loses_no_subject_and_leaves_no_subset(patterns in proptest::collection::vec(any_pattern(), 0..6)) {
        let all = |patterns: &[String]| {
            let mut all: Vec<String> = patterns.iter().flat_map(|pattern| matched(pattern)).collect();
            all.sort();
            all.dedup();
            all
        };
        let reduced = reduce(patterns.clone());
        prop_assert_eq!(all(&reduced), all(&patterns));
        for (position, one) in reduced.iter().enumerate() {
            for (other_position, other) in reduced.iter().enumerate() {
                prop_assert!(position == other_position || !is_subset(one, other), "{} {}", one, other);
            }
        }
        let clash = first_clash(&reduced).is_some();
        let overlap = reduced.iter().enumerate().any(|(position, one)| reduced.iter().skip(position + 1).any(|other| overlaps(one, other)));
        prop_assert_eq!(clash, overlap);
    }
}
