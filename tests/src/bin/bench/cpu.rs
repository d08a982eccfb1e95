//! Processor time of this process and of its children, where there is a /proc.

use std::fs;
use std::time::Duration;

/// Linux counts in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// What was used up to a moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) sluice: Duration,
    pub(crate) broker: Duration,
    pub(crate) load: Duration,
    /// Of this process's children that have ended.
    pub(crate) ended: Duration,
}

impl Used {
    /// Up to now. None where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        let own = std::process::id();
        let mut used = Self::default();
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let Some(id) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let Some(process) = Process::read(&stat) else {
                continue;
            };
            if id == own {
                used.load += process.used;
                used.ended += process.ended;
            } else if process.parent == own && process.name.starts_with("sluice") {
                used.sluice += process.used;
            } else if process.parent == own && process.name == "nats-server" {
                used.broker += process.used;
            }
        }
        (used.load > Duration::ZERO).then_some(used)
    }

    /// What was used after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            sluice: self.sluice.saturating_sub(before.sluice),
            broker: self.broker.saturating_sub(before.broker),
            load: self.load.saturating_sub(before.load),
            ended: self.ended.saturating_sub(before.ended),
        }
    }

    /// Both together.
    pub(crate) fn and(self, more: Self) -> Self {
        Self {
            sluice: self.sluice + more.sluice,
            broker: self.broker + more.broker,
            load: self.load + more.load,
            ended: self.ended + more.ended,
        }
    }
}

struct Process<'a> {
    name: &'a str,
    parent: u32,
    used: Duration,
    ended: Duration,
}

impl<'a> Process<'a> {
    /// `stat` as in proc(5): the name in brackets, and after it state, parent and, as the
    /// twelfth and thirteenth, the ticks in user and in kernel mode, and behind them the same of its
    /// children that have ended.
    fn read(stat: &'a str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<u32>().ok();
        Some(Self {
            name,
            parent: number(1)?,
            used: TICK * (number(11)? + number(12)?),
            ended: TICK * (number(13)? + number(14)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read() -> anyhow::Result<()> {
        let stat = "12 (a (b) c) S 7 12 12 0 -1 4194304 9 0 0 0 150 50 30 10 20 0 1 0 5";
        let process = Process::read(stat).ok_or(anyhow::anyhow!("not read"))?;
        assert_eq!((process.name, process.parent), ("a (b) c", 7));
        assert_eq!(process.used, Duration::from_secs(2));
        assert_eq!(process.ended, Duration::from_millis(400));
        Ok(())
    }
}
