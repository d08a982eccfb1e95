//! Takes the text of W3C `traceparent`, gives the context of a span, and writes it.

use std::fmt;

use opentelemetry::trace::{SpanId, TraceId};

/// A span, as those that come after it know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Of which trace.
    pub trace: TraceId,
    /// Which of its spans.
    pub span: SpanId,
    /// Whether spans of the trace are exported.
    pub sampled: bool,
}

impl Context {
    /// Reads what W3C Trace Context, section 3.2, calls valid; a later version may have more
    /// fields. None is as good as no context at all.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32)?;
        let span = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let trace = TraceId::from_hex(trace).ok()?;
        let span = SpanId::from_hex(span).ok()?;
        if trace == TraceId::INVALID || span == SpanId::INVALID {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let sampled = flags & 1 == 1;
        Some(Self {
            trace,
            span,
            sampled,
        })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace,
            span,
            sampled,
        } = self;
        write!(formatter, "00-{trace}-{span}-{:02x}", u8::from(*sampled))
    }
}

fn hex(field: &str, length: usize) -> Option<&str> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (field.len() == length && field.bytes().all(is_hex)).then_some(field)
}

/// The trace that a text names, whatever stands behind it.
pub fn trace_of(traceparent: &str) -> Option<TraceId> {
    let id = TraceId::from_hex(traceparent.split('-').nth(1)?).ok()?;
    (id != TraceId::INVALID).then_some(id)
}

/// One that nobody has had.
pub(super) fn new_trace() -> TraceId {
    TraceId::from(rand::random::<u128>().max(1))
}

/// One that no span of the trace has had.
pub(super) fn new_span() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_valid_one_is_read_and_written() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true)] {
            let context = Context::parse(&format!("00-{TRACE}-{SPAN}-{flags}")).expect("valid");
            assert_eq!(context.sampled, sampled);
            let written = format!("00-{TRACE}-{SPAN}-{:02x}", u8::from(sampled));
            assert_eq!(context.to_string(), written);
        }
        let later = format!("cc-{TRACE}-{SPAN}-01-what-is-to-come");
        assert!(Context::parse(&later).is_some_and(|context| context.sampled));
    }

    #[test]
    fn what_is_not_valid_is_none() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00-x".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{TRACE}0-{SPAN}-01"),
        ] {
            assert_eq!(Context::parse(&text), None, "{text}");
        }
    }
}
