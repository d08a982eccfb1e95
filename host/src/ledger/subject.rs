//! Takes a plug-in, a partition and a key, gives the ledger's subjects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What may stand in a token unescaped, besides letters and digits.
const TOKEN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'/');

/// One partition of one plug-in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionName {
    /// The plug-in's name.
    pub plugin: String,
    /// `0` to `partitions - 1`.
    pub partition: u8,
}

impl PartitionName {
    /// Where its commits go.
    pub fn log(&self) -> String {
        format!("ledger.{}.{}.log", self.plugin, self.partition)
    }

    /// Where the attempts of the event with this sequence are written down.
    pub fn retry(&self, sequence: u64) -> String {
        format!("ledger.{}.{}.retry.{sequence}", self.plugin, self.partition)
    }

    /// All of those.
    pub fn retries(&self) -> String {
        format!("ledger.{}.{}.retry.*", self.plugin, self.partition)
    }

    /// All state keys.
    pub fn states(&self) -> String {
        format!("ledger.{}.{}.state.*", self.plugin, self.partition)
    }

    /// Where it stands what a state key had before it was changed, once for each change.
    pub fn was(&self, key: &str) -> String {
        format!(
            "ledger.{}.{}.was.{}",
            self.plugin,
            self.partition,
            utf8_percent_encode(key, TOKEN)
        )
    }

    /// Where it stands what is to come later for a key.
    pub fn timer(&self, key: &str) -> String {
        format!(
            "ledger.{}.{}.timer.{}",
            self.plugin,
            self.partition,
            utf8_percent_encode(key, TOKEN)
        )
    }

    /// That of all keys.
    pub fn past(&self) -> String {
        format!("ledger.{}.{}.was.*", self.plugin, self.partition)
    }

    /// Where it stands how far back that goes.
    pub fn history(&self) -> String {
        format!("ledger.{}.{}.history", self.plugin, self.partition)
    }

    /// Where it stands how far the state was carried over to a version.
    pub fn carried(&self, version: u16) -> String {
        format!(
            "ledger.{}.{}.carried.{version}",
            self.plugin, self.partition
        )
    }

    /// Where the value of a state key is.
    pub fn state(&self, key: &str) -> String {
        format!(
            "ledger.{}.{}.state.{}",
            self.plugin,
            self.partition,
            utf8_percent_encode(key, TOKEN)
        )
    }
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.plugin, self.partition)
    }
}

/// Where it stands how many partitions the plug-in's ledger is divided into.
pub fn partitions(plugin: &str) -> String {
    format!("ledger.{plugin}.partitions")
}

/// Where a dead letter goes; it reaches `DEADLETTER` without the first token.
pub fn dead(plugin: &str, reason: &str) -> String {
    format!("ledger.dead.{plugin}.{reason}")
}

/// Where an emitted event goes; it reaches `EVENTS` with `d365` for the first two tokens.
pub fn out(event_subject: &str) -> String {
    let rest = event_subject.strip_prefix("d365.").unwrap_or(event_subject);
    format!("ledger.out.{rest}")
}

/// Partition and sequence in a retry subject.
pub fn retry_place(subject: &str) -> Option<(PartitionName, u64)> {
    let mut tokens = subject.split('.').skip(1);
    let name = PartitionName {
        plugin: tokens.next()?.to_owned(),
        partition: tokens.next()?.parse().ok()?,
    };
    let sequence = tokens.last()?.parse().ok()?;
    Some((name, sequence))
}

/// Where the attempts of all events of one plug-in stand, or of all.
pub fn retries(plugin: Option<&str>) -> String {
    format!("ledger.{}.*.retry.*", plugin.unwrap_or("*"))
}

/// The state key in a state subject.
pub fn state_key(subject: &str) -> Option<String> {
    let token = subject.rsplit('.').next()?;
    percent_decode_str(token).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_are_those_of_the_design() {
        let name = PartitionName {
            plugin: "credit-hold".to_owned(),
            partition: 3,
        };
        assert_eq!(name.log(), "ledger.credit-hold.3.log");
        assert_eq!(name.retry(42), "ledger.credit-hold.3.retry.42");
        assert_eq!(
            name.state("account/a.b c"),
            "ledger.credit-hold.3.state.account/a%2Eb%20c"
        );
        assert_eq!(dead("credit-hold", "trap"), "ledger.dead.credit-hold.trap");
        assert_eq!(
            out("d365.custom.x.business.y.raised.1"),
            "ledger.out.custom.x.business.y.raised.1"
        );
        assert_eq!(
            retry_place("ledger.credit-hold.3.retry.42"),
            Some((name, 42))
        );
    }

    proptest! {
        #[test]
        fn any_key_is_one_token_and_comes_back(key in "\\PC{1,60}") {
            let name = PartitionName { plugin: "p".to_owned(), partition: 0 };
            let subject = name.state(&key);
            prop_assert_eq!(subject.split('.').count(), 5);
            prop_assert!(!subject.contains([' ', '*', '>']));
            prop_assert_eq!(state_key(&subject), Some(key));
        }
    }
}
