//! Takes attempts, gives the bytes of a page, and back.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// Lines of an attempt that are kept,
const LINES: usize = 50;
/// and bytes of all of them, and of an error.
const TEXT: usize = 8 << 10;
/// Emitted events of an attempt that are named.
const EMITTED: usize = 64;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Handled.
    Done,
    /// Finished before.
    Duplicate,
    /// Another attempt follows, if the policy has one left.
    Retry,
    /// The host could not do its part.
    Again,
    /// No attempt can help.
    Dead,
}

impl Ended {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Retry => "retry",
            Self::Again => "again",
            Self::Dead => "dead",
        }
    }
}

impl From<&Outcome> for Ended {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Retry { .. } => Self::Retry,
            Outcome::Again { .. } => Self::Again,
            Outcome::Dead { .. } => Self::Dead,
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The event's place in EVENTS.
    pub sequence: u64,
    /// 1 for the first.
    pub attempt: u32,
    /// When it began, Unix milliseconds.
    pub began: u64,
    /// How long it took.
    pub micros: u64,
    /// How it ended.
    pub ended: Ended,
    /// What was wrong; empty when nothing was.
    pub error: String,
    /// What the guest said: the level, `1` for errors to `5` for traces, and the line.
    pub lines: Vec<(u8, String)>,
    /// What it emitted: subject and id of each.
    pub emitted: Vec<(String, String)>,
}

impl Attempt {
    /// Cuts what is too long to keep.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.error.truncate(self.error.floor_char_boundary(TEXT));
        self.lines.truncate(LINES);
        let mut room = TEXT;
        for (_, line) in &mut self.lines {
            line.truncate(line.floor_char_boundary(room));
            room -= line.len();
        }
        self.emitted.truncate(EMITTED);
        self
    }
}

/// Who made the attempts of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    host: String,
    version: String,
    digest: String,
    is_canary: bool,
    /// Attempts count their time from here.
    begun: u64,
}

/// A page in the making.
#[derive(Debug)]
pub struct Page {
    bytes: Vec<u8>,
    begun: u64,
    first: u64,
    last: u64,
}

impl Page {
    /// An empty one.
    pub fn new(host: &str, version: &str, digest: &str, is_canary: bool, begun: u64) -> Self {
        let head = Head {
            host: host.to_owned(),
            version: version.to_owned(),
            digest: digest.to_owned(),
            is_canary,
            begun,
        };
        Self {
            bytes: postcard::to_stdvec(&head).unwrap_or_default(),
            begun,
            first: u64::MAX,
            last: 0,
        }
    }

    /// Bytes that it has.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The lowest and the highest sequence that it speaks of.
    pub fn sequences(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// One more.
    pub fn push(&mut self, attempt: &Attempt) {
        self.first = self.first.min(attempt.sequence);
        self.last = self.last.max(attempt.sequence);
        let since = attempt.began.cast_signed() - self.begun.cast_signed();
        // Writing into memory has no way to fail.
        let bytes = std::mem::take(&mut self.bytes);
        let flavored = postcard::to_extend(&(since, attempt.without_time()), bytes);
        self.bytes = flavored.unwrap_or_default();
    }

    /// What is published.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// An attempt as it stands in a page: its time is counted from the page's.
type Bare<'a> = (
    u64,
    u32,
    u64,
    Ended,
    &'a str,
    &'a [(u8, String)],
    &'a [(String, String)],
);
type Owned = (
    u64,
    u32,
    u64,
    Ended,
    String,
    Vec<(u8, String)>,
    Vec<(String, String)>,
);

impl Attempt {
    fn without_time(&self) -> Bare<'_> {
        (
            self.sequence,
            self.attempt,
            self.micros,
            self.ended,
            &self.error,
            &self.lines,
            &self.emitted,
        )
    }
}

/// An attempt, and who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// `host.name`.
    pub host: String,
    /// Whose attempt.
    pub plugin: String,
    /// Of the build.
    pub version: String,
    /// Of the build, `sha256:<hex>`.
    pub digest: String,
    /// The build was on trial.
    pub is_canary: bool,
    /// The attempt.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// The attempts of a page that are about one of these places. A page of another version of
/// `sluice` that cannot be read gives none.
pub fn read_page(plugin: &str, bytes: &[u8], about: impl Fn(u64) -> bool) -> Vec<Told> {
    let mut found = Vec::new();
    let Ok((head, mut rest)) = postcard::take_from_bytes::<Head>(bytes) else {
        return found;
    };
    while !rest.is_empty() {
        let Ok((one, left)) = postcard::take_from_bytes::<(i64, Owned)>(rest) else {
            break;
        };
        rest = left;
        let (since, (sequence, attempt, micros, ended, error, lines, emitted)) = one;
        if !about(sequence) {
            continue;
        }
        found.push(Told {
            host: head.host.clone(),
            plugin: plugin.to_owned(),
            version: head.version.clone(),
            digest: head.digest.clone(),
            is_canary: head.is_canary,
            attempt: Attempt {
                sequence,
                attempt,
                began: head.begun.saturating_add_signed(since),
                micros,
                ended,
                error,
                lines,
                emitted,
            },
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(sequence: u64) -> Attempt {
        Attempt {
            sequence,
            attempt: 1,
            began: 1_700_000_000_050,
            micros: 130,
            ended: Ended::Done,
            error: String::new(),
            lines: Vec::new(),
            emitted: Vec::new(),
        }
    }

    #[test]
    fn a_page_gives_back_what_it_was_given() {
        let mut page = Page::new("h", "1.0.0", "sha256:00", true, 1_700_000_000_100);
        let failed = Attempt {
            ended: Ended::Retry,
            error: "no".to_owned(),
            lines: vec![(3, "said".to_owned())],
            emitted: vec![("d365.x".to_owned(), "id".to_owned())],
            ..attempt(9)
        };
        page.push(&failed);
        page.push(&attempt(7));
        assert_eq!(page.sequences(), (7, 9));
        let bytes = page.into_bytes();
        let all = read_page("p", &bytes, |_| true);
        let attempts: Vec<&Attempt> = all.iter().map(|told| &told.attempt).collect();
        assert_eq!(attempts, [&failed, &attempt(7)]);
        assert_eq!(read_page("p", &bytes, |sequence| sequence == 7).len(), 1);
        // One that was cut gives what is whole.
        assert_eq!(read_page("p", &bytes[..bytes.len() - 1], |_| true).len(), 1);
        assert!(read_page("p", b"", |_| true).is_empty());
    }

    #[test]
    fn while_all_goes_well_an_attempt_is_small() {
        let mut page = Page::new("h", "1.0.0", "sha256:00", false, 1_700_000_000_000);
        let before = page.size();
        for sequence in 0..1_000 {
            page.push(&attempt(10_000_000 + sequence));
        }
        let each = (page.size() - before) / 1_000;
        assert!(each <= 14, "{each} bytes");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = Attempt {
            error: "ä".repeat(TEXT),
            lines: vec![(3, "x".repeat(TEXT)), (3, "y".repeat(TEXT))],
            ..attempt(1)
        };
        let bounded = long.bounded();
        assert!(bounded.error.len() <= TEXT);
        let lines: usize = bounded.lines.iter().map(|(_, line)| line.len()).sum();
        assert!(lines <= TEXT);
    }
}
