//! Takes what a guest says, by import or on its standard streams, gives log lines: bounded, with the event named.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Level;

use super::store::{Labels, MAX_LAST_WORDS, MAX_LOG_LINE, MAX_LOG_LINES};
use super::traced;
use crate::event::Event;
use crate::telemetry::traces::Span;

/// Bytes of the end of standard error that are kept for the error of a call that breaks.
const MAX_TAIL: usize = 2 << 10;

/// One of a guest's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// What it prints.
    Stdout,
    /// What it complains with.
    Stderr,
}

/// What one call said.
#[derive(Debug, Default)]
pub struct Said {
    /// The lines that were logged, bounded.
    pub lines: Vec<(Level, String)>,
    /// Lines over the bound.
    pub suppressed: usize,
    /// The end of standard error, whatever the bound: an exception's traceback stands there.
    pub last_words: String,
}

/// The log of one instance: the import `log` and both streams write into it, and count together.
#[derive(Debug)]
pub struct Lines {
    labels: Arc<Labels>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    event: Option<Arc<Event>>,
    span: Span,
    said: Said,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: Vec<u8>,
}

impl Lines {
    /// Lines of the plug-in that is called so.
    pub fn new(labels: Arc<Labels>) -> Self {
        Self {
            labels,
            inner: Mutex::default(),
        }
    }

    /// What is said from here on belongs to this event and this attempt, if to any.
    pub fn begin(&self, event: Option<Arc<Event>>, span: Span) {
        let mut inner = self.inner.lock();
        *inner = Inner::default();
        inner.event = event;
        inner.span = span;
    }

    /// What was said since, with a last line that was not ended.
    pub fn end(&self) -> Said {
        let mut inner = std::mem::take(&mut *self.inner.lock());
        for output in [Output::Stdout, Output::Stderr] {
            inner.end_line(output, &self.labels);
        }
        let tail = inner.tail.trim_ascii();
        inner.said.last_words = String::from_utf8_lossy(tail).into_owned();
        inner.said
    }

    /// One line of the import `log`.
    pub fn log(&self, level: Level, message: String) {
        self.inner.lock().say(level, message, &self.labels);
    }

    /// Bytes that the guest wrote to one of its streams; what ends with a line feed is a line.
    pub fn write(&self, output: Output, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        if output == Output::Stderr {
            inner.remember(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let line = inner.partial(output);
            // One byte over the bound, so that the cut shows.
            let room = (MAX_LOG_LINE + 1).saturating_sub(line.len());
            line.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                inner.end_line(output, &self.labels);
            }
        }
    }
}

impl Inner {
    fn partial(&mut self, output: Output) -> &mut Vec<u8> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    fn end_line(&mut self, output: Output, labels: &Labels) {
        let line = std::mem::take(self.partial(output));
        let text = line.trim_ascii_end();
        if text.is_empty() {
            return;
        }
        let level = match output {
            Output::Stdout => Level::INFO,
            Output::Stderr => Level::WARN,
        };
        if MAX_LOG_LINES <= self.said.lines.len() {
            self.said.suppressed += 1;
            return;
        }
        self.say(level, String::from_utf8_lossy(text).into_owned(), labels);
    }

    /// Keeps the end of standard error.
    fn remember(&mut self, bytes: &[u8]) {
        let from = bytes.len().saturating_sub(MAX_TAIL);
        self.tail
            .extend_from_slice(bytes.get(from..).unwrap_or_default());
        let over = self.tail.len().saturating_sub(MAX_TAIL);
        self.tail.drain(..over);
    }

    fn say(&mut self, level: Level, message: String, labels: &Labels) {
        // A few more for errors: what a guest says while it breaks is wanted most.
        let last_words = if level == Level::ERROR {
            MAX_LAST_WORDS
        } else {
            0
        };
        if MAX_LOG_LINES + last_words <= self.said.lines.len() {
            self.said.suppressed += 1;
            return;
        }
        let line = cut(message, MAX_LOG_LINE);
        let Labels { plugin, version } = labels;
        let (event, correlation, causation) = match &self.event {
            Some(event) => (
                event.id.as_str(),
                event.text("correlationid"),
                event.text("causationid"),
            ),
            None => ("", None, None),
        };
        let correlation = correlation.unwrap_or_default();
        let causation = causation.as_deref();
        let trace = self.span.context().map(|context| context.trace);
        let trace = trace.map(tracing::field::display);
        macro_rules! line {
            ($level:expr) => {{
                // What the log leaves out, the trace does too.
                if self.span.is_seen() && tracing::enabled!(target: "plugin", $level) {
                    traced::said(&self.span, $level, &line);
                }
                tracing::event!(
                    target: "plugin", $level, %plugin, %version, event, %correlation, causation,
                    trace, "{line}"
                )
            }};
        }
        match level {
            Level::TRACE => line!(Level::TRACE),
            Level::DEBUG => line!(Level::DEBUG),
            Level::INFO => line!(Level::INFO),
            Level::WARN => line!(Level::WARN),
            Level::ERROR => line!(Level::ERROR),
        }
        self.said.lines.push((level, line));
    }
}

/// The text, up to so many bytes.
pub(super) fn cut(mut text: String, bytes: usize) -> String {
    if bytes < text.len() {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        Lines::new(Arc::new(Labels {
            plugin: "p".to_owned(),
            version: "1".to_owned(),
        }))
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(cut("grüße".to_owned(), 3), "gr…");
        assert_eq!(cut("abc".to_owned(), 3), "abc");
    }

    #[test]
    fn bytes_become_lines_wherever_they_were_split() {
        let lines = lines();
        for bytes in ["a", "b\nc\r\n", "\n\n", "d"] {
            lines.write(Output::Stdout, bytes.as_bytes());
        }
        lines.write(Output::Stderr, b"\xff broke\n");
        let said = lines.end();
        let texts: Vec<&str> = said.lines.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["ab", "c", "\u{fffd} broke", "d"]);
        assert_eq!(said.lines[2].0, Level::WARN);
        assert_eq!(said.last_words, "\u{fffd} broke");
        assert!(lines.end().lines.is_empty(), "nothing is told twice");
    }

    #[test]
    fn all_three_ways_to_speak_count_together() {
        let lines = lines();
        for n in 0..MAX_LOG_LINES {
            match n % 3 {
                0 => lines.log(Level::INFO, "said".to_owned()),
                1 => lines.write(Output::Stdout, b"printed\n"),
                _ => lines.write(Output::Stderr, b"complained\n"),
            }
        }
        lines.write(Output::Stderr, b"one more\nand another\n");
        lines.log(Level::INFO, "said".to_owned());
        lines.log(Level::ERROR, "panicked".to_owned());
        let said = lines.end();
        assert_eq!(said.lines.len(), MAX_LOG_LINES + 1);
        assert_eq!(said.suppressed, 3);
        assert!(said.last_words.ends_with("one more\nand another"));
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let lines = lines();
        for _ in 0..1_000 {
            lines.write(Output::Stderr, &[b'x'; 4096]);
        }
        assert!(lines.inner.lock().stderr.capacity() < 4 * MAX_LOG_LINE);
        let said = lines.end();
        let [(_, line)] = said.lines.as_slice() else {
            panic!("{} lines", said.lines.len());
        };
        assert!(line.len() <= MAX_LOG_LINE + "…".len() && line.ends_with('…'));
        assert_eq!(said.last_words.len(), MAX_TAIL);
    }
}
