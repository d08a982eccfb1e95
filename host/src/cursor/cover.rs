//! Takes the subjects of many plug-ins, gives filters for one consumer that reads all of them.
//!
//! The broker refuses filters that share subjects, and looks each message up in all that it is
//! given, so the cover may be wider than what is wanted: what concerns nobody is dropped here.

use crate::manifest::subject::{first_clash, reduce};
use crate::route::REPLAY_PREFIX;

/// More filters than this are made fewer and wider.
const MANY: usize = 256;
/// Replays are rare: with those of more plug-ins than this, those of all are read.
const MANY_REPLAYS: usize = 64;
/// Pairs that share subjects and are made one; then everything is read.
const MANY_CLASHES: usize = 64;
const EVERYTHING: &str = "d365.>";
const LONGEST: usize = 7;

/// Filters that share no subject and together match all of these.
pub(super) fn cover(subjects: Vec<String>) -> Vec<String> {
    let (mut replays, mut filters): (Vec<_>, Vec<_>) = subjects
        .into_iter()
        .partition(|subject| subject.starts_with(REPLAY_PREFIX));
    once(&mut filters);
    let mut length = LONGEST;
    while MANY < filters.len() {
        length -= 1;
        for filter in &mut filters {
            *filter = cut(filter, length);
        }
        once(&mut filters);
    }
    once(&mut replays);
    if MANY_REPLAYS < replays.len() {
        replays = vec![format!("{REPLAY_PREFIX}>")];
    }
    filters.append(&mut replays);
    apart(filters)
}

fn once(filters: &mut Vec<String>) {
    filters.sort_unstable();
    filters.dedup();
}

/// The first tokens, and anything behind them.
fn cut(filter: &str, length: usize) -> String {
    let tokens: Vec<&str> = filter.split('.').collect();
    match tokens.get(..length) {
        Some(first) if length < tokens.len() => first.join(".") + ".>",
        _ => filter.to_owned(),
    }
}

fn apart(filters: Vec<String>) -> Vec<String> {
    let mut filters = reduce(filters);
    for _ in 0..MANY_CLASHES {
        let Some((one, other)) = first_clash(&filters) else {
            return filters;
        };
        let both = union(one, other);
        filters.push(both);
        filters = reduce(filters);
    }
    vec![EVERYTHING.to_owned()]
}

/// The narrowest pattern that matches all that either matches.
fn union(one: &str, other: &str) -> String {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    let mut tokens = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => tokens.push(a),
            (Some(">"), _) | (_, Some(">")) | (None, _) | (_, None) => {
                tokens.push(">");
                break;
            }
            (Some(_), Some(_)) => tokens.push("*"),
        }
    }
    tokens.join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::subject::is_subset;

    fn of(subjects: &[&str]) -> Vec<String> {
        cover(subjects.iter().map(|one| (*one).to_owned()).collect())
    }

    #[test]
    fn what_shares_nothing_is_read_as_it_is() {
        let (account, contact) = ("d365.*.*.record.account.*.*", "d365.*.*.record.contact.*.*");
        let replays = "d365.replay.watch.*";
        assert_eq!(
            of(&[account, contact, replays, account]),
            [account, contact, replays]
        );
    }

    #[test]
    fn what_shares_subjects_is_read_as_one() {
        assert_eq!(
            of(&[
                "d365.dataverse.*.record.*.*.*",
                "d365.*.*.record.account.*.*"
            ]),
            ["d365.*.*.record.*.*.*"]
        );
        assert_eq!(
            of(&["d365.dataverse.>", "d365.dataverse.a.b.c.d.1"]),
            ["d365.dataverse.>"]
        );
    }

    #[test]
    fn a_thousand_plug_ins_do_not_make_a_thousand_filters() {
        let subjects = (0..1_000).flat_map(|number| {
            [
                format!("d365.custom.test.record.e{number}.*.*"),
                format!("d365.replay.p{number}.*"),
            ]
        });
        assert_eq!(
            cover(subjects.collect()),
            ["d365.custom.test.record.>", "d365.replay.>"]
        );
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let token = prop_oneof![Just("a"), Just("b"), Just("*")];
        let tokens = prop::collection::vec(token, 1..6);
        (tokens, any::<bool>()).prop_map(|(tokens, open)| {
            let end = if open { ".>" } else { "" };
            format!("d365.{}{end}", tokens.join("."))
        })
    }

    proptest! {
        #[test]
        fn a_cover_holds_all_and_shares_nothing(filters in prop::collection::vec(any_filter(), 0..40)) {
            let found = cover(filters.clone());
            for filter in &filters {
                prop_assert!(found.iter().any(|one| is_subset(filter, one)), "{filter} in {found:?}");
            }
            prop_assert_eq!(first_clash(&found), None);
            prop_assert_eq!(reduce(found.clone()), found);
        }
    }
}
