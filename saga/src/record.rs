//! What is kept of a saga.

use serde::{Deserialize, Serialize};

/// Bytes of what a saga keeps of its own.
pub const MAX_STATE: usize = 256 << 10;
/// Compensations that wait to be needed,
pub const MAX_COMPENSATIONS: usize = 100;
/// and bytes of their data.
pub(crate) const MAX_COMPENSATION_BYTES: usize = 128 << 10;
/// Events that came before they were waited for,
pub const MAX_EARLY: usize = 16;
/// and their bytes.
pub const MAX_EARLY_BYTES: usize = 256 << 10;
/// Entries of the timeline. Of more, those in the middle go.
pub const MAX_ENTRIES: usize = 200;
/// Of which so many are the first.
const FIRST_ENTRIES: usize = 50;
/// Bytes of an entry's text.
const MAX_TEXT: usize = 500;
/// Events that one waits for at a time.
pub const MAX_WAITS: usize = 50;

/// A saga, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saga {
    /// 1 for the first with its key.
    pub run: u32,
    /// The build that it began with, or moved to.
    pub build: Build,
    /// The version that it began with.
    pub version: String,
    /// How it is.
    pub status: Status,
    /// Why it fails, or is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Unix milliseconds of its begin,
    pub began: u64,
    /// and of its last move.
    pub moved: u64,
    /// What it belongs to: its events carry that.
    pub correlation: String,
    /// Plug-ins that the event which began it had passed.
    #[serde(default)]
    pub hops: i32,
    /// Counts what it asks of itself: steps, timeouts, compensations.
    pub number: u64,
    /// The step, compensation or early event that is asked for, and not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Wait>,
    /// When it has waited long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timer>,
    /// What would undo its steps; the last one is run first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compensations: Vec<Compensation>,
    /// Events that came before they were waited for, in the order of their arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<Early>,
    /// What it keeps of its own.
    #[serde(default, with = "bytes")]
    pub state: Vec<u8>,
    /// What has happened.
    pub timeline: Vec<Entry>,
}

/// A build of a plug-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// For people.
    pub version: String,
    /// `sha256:…` of the component.
    pub digest: String,
}

/// How a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its steps run, or wait.
    Running,
    /// It has failed or was cancelled; its compensations run.
    Compensating,
    /// A compensation does not work, and a person has to look at it.
    Parked,
    /// It came to its good end.
    Done,
    /// What it had done is undone.
    Compensated,
}

impl Status {
    /// Nothing more will happen.
    pub fn is_ended(self) -> bool {
        match self {
            Self::Done | Self::Compensated => true,
            Self::Running | Self::Compensating | Self::Parked => false,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Compensated => "compensated",
        }
    }
}

/// What a saga has asked of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// The next step.
    Step(String),
    /// A step, with an event that came early.
    Early(String, Box<Early>),
    /// The last of its compensations.
    Compensation,
}

/// An event that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// A CloudEvents type, or the beginning of one and `*`.
    pub event_type: String,
    /// The step that it is given to.
    pub step: String,
}

/// The end of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// By which it is known.
    pub number: u64,
    /// Unix milliseconds.
    pub due: u64,
    /// The step that is run then.
    pub step: String,
}

/// What undoes a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compensation {
    /// Its name.
    pub step: String,
    /// What it needs to know.
    #[serde(with = "bytes")]
    pub data: Vec<u8>,
}

/// An event that came before it was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Early {
    /// Its type.
    pub event_type: String,
    /// Its place in the event store.
    pub sequence: u64,
    /// The event in the JSON format.
    pub event: String,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub what: What,
    /// The step, or the compensation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The place of the event in the event store that had it happen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// Kinds of what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It began, with a step.
    Began,
    /// A step was run.
    Step,
    /// A wait was over, and its step was run.
    TimedOut,
    /// It waits.
    Waits,
    /// An event came before it was waited for.
    Early,
    /// An event came that nobody waits for any more, or there was no room for it.
    Passed,
    /// It has failed.
    Failed,
    /// Somebody has cancelled it.
    Cancelled,
    /// A compensation was run.
    Compensated,
    /// A compensation does not work.
    Parked,
    /// Somebody has a compensation run again, or has done its work.
    Retried,
    /// It goes on with another build.
    Moved,
    /// It came to its end.
    Ended,
}

impl What {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Step => "step",
            Self::TimedOut => "timed out",
            Self::Waits => "waits for",
            Self::Early => "came early",
            Self::Passed => "passed over",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Compensated => "undid",
            Self::Parked => "waits for a person",
            Self::Retried => "retried",
            Self::Moved => "another build",
            Self::Ended => "ended",
        }
    }
}

/// More than a saga may keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit(pub String);

impl std::fmt::Display for Limit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Limit {}

/// What a saga begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// 1 for the first with its key.
    pub run: u32,
    /// The build that runs it.
    pub build: Build,
    /// What it belongs to.
    pub correlation: String,
    /// Plug-ins that the event had passed.
    pub hops: i32,
}

impl Saga {
    /// One that has done nothing yet.
    pub fn new(start: Start, now: u64) -> Self {
        Self {
            run: start.run,
            version: start.build.version.clone(),
            build: start.build,
            status: Status::Running,
            why: None,
            began: now,
            moved: now,
            correlation: start.correlation,
            hops: start.hops,
            number: 0,
            asked: None,
            waits: Vec::new(),
            timer: None,
            compensations: Vec::new(),
            early: Vec::new(),
            state: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// It goes on with this build.
    pub fn moves_to(&mut self, build: Build, now: u64) {
        let text = format!("from {} to {}", self.build.version, build.version);
        self.note(now, What::Moved, "", text, None);
        self.build = build;
    }

    pub(crate) fn note(
        &mut self,
        at: u64,
        what: What,
        step: &str,
        text: impl Into<String>,
        sequence: Option<u64>,
    ) {
        let mut text = text.into();
        if MAX_TEXT < text.len() {
            let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
        self.moved = at;
        if MAX_ENTRIES <= self.timeline.len() {
            self.timeline.remove(FIRST_ENTRIES);
        }
        let step = step.to_owned();
        self.timeline.push(Entry {
            at,
            what,
            step,
            text,
            sequence,
        });
    }
}

/// Bytes as text where they are text, which a person can read, and as numbers where not.
mod bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form<'a> {
        Text(std::borrow::Cow<'a, str>),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Form::Text(text.into()).serialize(to),
            Err(_) => Form::Bytes(bytes.to_vec()).serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Form::deserialize(from)? {
            Form::Text(text) => text.into_owned().into_bytes(),
            Form::Bytes(bytes) => bytes,
        })
    }
}
