//! Takes the host's JSON log, gives the lines that plug-ins wrote.

use serde_json::Value;

/// One line of a plug-in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) plugin: String,
    /// Id of the event that was being handled.
    pub(super) event: String,
    pub(super) message: String,
}

/// In the order of the log; the host's own lines are left out.
pub(super) fn of_plugins(log: &str) -> Vec<Line> {
    log.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Line> {
    let record: Value = serde_json::from_str(text).ok()?;
    if record.get("target")? != "plugin" {
        return None;
    }
    let fields = record.get("fields").unwrap_or(&record);
    let field = |name: &str| Some(fields.get(name)?.as_str()?.to_owned());
    Some(Line {
        plugin: field("plugin")?,
        event: field("event")?,
        message: field("message")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_plugins_are_taken() {
        let log = r#"{"level":"INFO","target":"sluice","fields":{"message":"ready","plugin":"a"}}
half a li
{"level":"INFO","target":"plugin","fields":{"message":"booked","plugin":"slow-erp","event":"e1"}}
{"level":"WARN","target":"plugin","message":"flat","plugin":"slow-erp","event":"e2"}
"#;
        let line = |event: &str, message: &str| Line {
            plugin: "slow-erp".into(),
            event: event.into(),
            message: message.into(),
        };
        assert_eq!(of_plugins(log), [line("e1", "booked"), line("e2", "flat")]);
    }
}
