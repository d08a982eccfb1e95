//! Takes the subjects of a subscription, gives filters that the broker accepts.
//!
//! Subjects are `d365.<origin>.<environment>.<kind>.<name>.<action>.<slot>`; a manifest
//! leaves the slot out. Wildcards are those of NATS: `*` one token, `>` one or more, last.

#[cfg(test)]
mod tests;

/// Tokens of a subject with its slot.
const TOKENS: usize = 7;
/// Number of slots that partition keys are spread over.
const SLOTS: u8 = 16;

/// Whether a pattern with wildcards matches a subject without. A subject that is no
/// subject (an empty token, a wildcard, a blank) matches nothing, so that a grant never
/// lets one through.
pub fn subject_matches(pattern: &str, subject: &str) -> bool {
    is_literal(subject) && is_subset(subject, pattern)
}

fn is_literal(subject: &str) -> bool {
    subject
        .split('.')
        .all(|token| !is_wildcard(token) && is_token(token))
}

fn is_wildcard(token: &str) -> bool {
    token == "*" || token == ">"
}

fn is_token(token: &str) -> bool {
    is_wildcard(token)
        || !token.is_empty()
            && !token
                .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>'))
}

/// Whether this is a pattern in NATS' sense.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    let open = pattern.strip_suffix(".>").unwrap_or(pattern);
    pattern == ">" || open.split('.').all(|token| token != ">" && is_token(token))
}

/// `d365.…`, and not the subjects that carry a replay, or what a saga asks of itself, to one plug-in.
fn is_d365(pattern: &str) -> bool {
    is_pattern(pattern)
        && pattern
            .strip_prefix("d365.")
            .is_some_and(|rest| !matches!(rest.split('.').next(), Some("replay" | "saga")))
}

pub(crate) const SUBSCRIPTION: &str = "a subject such as \"d365.dataverse.*.record.account.*\": it starts with d365. (not d365.replay. or d365.saga.), has at most 7 tokens of which the 7th is a slot, with * for one token and > for the rest";

/// Whether a plug-in may subscribe to this.
pub(crate) fn is_subscription(subject: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    is_d365(subject)
        && tokens.len() <= TOKENS
        && tokens
            .get(TOKENS - 1)
            .is_none_or(|slot| is_wildcard(slot) || parse_slot(slot).is_some())
}

pub(super) const EMIT: &str = "a subject such as \"d365.custom.>\": it starts with d365. (not d365.replay. or d365.saga.), has at most 6 tokens, since the host adds the slot, with * for one token and > for the rest";

/// Whether a plug-in may be granted this to emit to.
pub(super) fn is_emit(subject: &str) -> bool {
    is_d365(subject) && (is_open(subject) || subject.split('.').count() < TOKENS)
}

/// Whether the subject ends in `>` and so has no token for the slot.
pub(super) fn is_open(subject: &str) -> bool {
    subject.ends_with(".>")
}

/// As the broker prints a slot: decimal, no leading zero.
fn parse_slot(token: &str) -> Option<u8> {
    let slot: u8 = token.parse().ok().filter(|slot| *slot < SLOTS)?;
    (slot.to_string() == token).then_some(slot)
}

/// One subscription's filters for these slots: the slot's token takes each of them, or
/// `*` for all 16.
pub(crate) fn concrete(subject: &str, slots: &[u8]) -> Vec<String> {
    if is_open(subject) {
        return vec![subject.to_owned()];
    }
    let is_all = (0..SLOTS).all(|slot| slots.contains(&slot));
    let head = match subject.rsplit_once('.') {
        Some((head, slot)) if subject.split('.').count() == TOKENS => match parse_slot(slot) {
            Some(only) if slots.contains(&only) => return vec![subject.to_owned()],
            Some(_) => return Vec::new(),
            None => head,
        },
        _ => subject,
    };
    if is_all {
        return vec![format!("{head}.*")];
    }
    slots.iter().map(|slot| format!("{head}.{slot}")).collect()
}

/// Leaves out each subject that another one contains, since the broker refuses a
/// consumer whose filters overlap.
pub fn reduce(mut subjects: Vec<String>) -> Vec<String> {
    subjects.sort_unstable();
    subjects.dedup();
    let all = subjects.clone();
    subjects.retain(|subject| {
        !all.iter()
            .any(|other| other != subject && is_subset(subject, other))
    });
    subjects
}

/// The first two patterns that share subjects without one containing the other: what
/// [`reduce`] cannot help.
pub(crate) fn first_clash(subjects: &[String]) -> Option<(&str, &str)> {
    subjects.iter().enumerate().find_map(|(position, one)| {
        subjects.iter().skip(position + 1).find_map(|other| {
            let clash = overlaps(one, other) && !is_subset(one, other) && !is_subset(other, one);
            clash.then_some((one.as_str(), other.as_str()))
        })
    })
}

/// Whether every subject that `inner` matches is matched by `outer`.
pub(crate) fn is_subset(inner: &str, outer: &str) -> bool {
    let mut inner = inner.split('.');
    let mut outer = outer.split('.');
    loop {
        match (inner.next(), outer.next()) {
            (Some(_), Some(">")) => return true,
            (Some(">"), _) => return false,
            (Some(_), Some("*")) => {}
            (Some(one), Some(other)) if one == other => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether some subject is matched by both.
fn overlaps(one: &str, other: &str) -> bool {
    let mut one = one.split('.');
    let mut other = other.split('.');
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}
