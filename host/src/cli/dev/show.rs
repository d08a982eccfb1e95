//! Takes what the host and its plug-ins tell, shows it a line each.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::super::output::line;
use crate::plugin::runners::{EMITTED, TOLD};

/// Whether what is told is of the end, which the person has asked for.
static ENDING: AtomicBool = AtomicBool::new(false);

/// No more, but for errors.
pub(super) fn end() {
    ENDING.store(true, Ordering::Relaxed);
}

/// From now on.
pub(super) fn begin() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(
            "warn,notify=off,sluicegate_host::host::plugins=info,plugin=debug,delivery=debug,emitted=debug",
        )
    });
    // A second call in one process, as tests do it, keeps the first.
    let _ = tracing_subscriber::registry()
        .with(Lines.with_filter(filter))
        .try_init();
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        if ENDING.load(Ordering::Relaxed) && level != Level::ERROR {
            return;
        }
        match event.metadata().target() {
            TOLD => line!("{}", told(&fields)),
            EMITTED => {
                let (plugin, subject) = (fields.get("plugin"), fields.get("subject"));
                line!("  {plugin} emits {subject}");
            }
            "plugin" => {
                let (plugin, text) = (fields.get("plugin"), fields.get("message"));
                line!("  {plugin} {}: {text}", level.as_str().to_lowercase());
            }
            _ => line!("{}", host(level, &fields)),
        }
    }
}

fn told(fields: &Fields) -> String {
    let field = |name| fields.get(name);
    let mut text = format!(
        "{:<9} {} {} {}",
        field("outcome"),
        field("plugin"),
        field("type"),
        field("key"),
    );
    if field("attempt") != "1" {
        let _ = write!(text, ", attempt {}", field("attempt"));
    }
    if !field("after").is_empty() {
        let _ = write!(text, ", again after {}", field("after"));
    }
    let _ = write!(text, " ({})", field("took"));
    if !field("error").is_empty() {
        let _ = write!(text, ": {}", field("error"));
    }
    text
}

fn host(level: Level, fields: &Fields) -> String {
    let mut text = format!(
        "{:<9} {}",
        level.as_str().to_lowercase(),
        fields.get("message")
    );
    for (name, value) in &fields.0 {
        if *name != "message" {
            let _ = write!(text, " {name}={value}");
        }
    }
    text
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_one_line() {
        let fields = |attempt: &str, outcome: &str, error: &str| {
            let of = [
                ("plugin", "limit-watch"),
                ("type", "d365.dataverse.account.update"),
                ("key", "account/1"),
                ("took", "312µs"),
                ("attempt", attempt),
                ("outcome", outcome),
                ("error", error),
            ];
            Fields(of.map(|(name, value)| (name, value.to_owned())).into())
        };
        assert_eq!(
            told(&fields("1", "done", "")),
            "done      limit-watch d365.dataverse.account.update account/1 (312µs)"
        );
        assert_eq!(
            told(&fields("2", "retry", "busy")),
            "retry     limit-watch d365.dataverse.account.update account/1, attempt 2 (312µs): busy"
        );
    }
}
