//! Takes files of events, one a line, gives the messages in their order with the places where they stand.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use crate::cli::input::{Reading, subject_of};
use crate::gateway::outgoing::Outgoing;
use crate::operations::history::record::{self, Line};

/// A longer one is not taken into memory.
const LONGEST: u64 = 256 << 20;
const BUFFER: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event, ready to be published.
#[derive(Debug)]
pub(super) struct Arriving {
    /// `backup.ndjson, line 3`.
    pub(super) place: String,
    pub(super) outgoing: Outgoing,
}

/// All lines of the files, one after the other; `-` is standard input.
pub(super) struct Lines<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    reading: Reading<'a>,
    open: Option<Open>,
}

struct Open {
    name: String,
    from: Box<dyn BufRead>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn of(files: &'a [PathBuf], reading: Reading<'a>) -> Self {
        Self {
            files: files.iter(),
            reading,
            open: None,
        }
    }

    /// The next event; none behind the last one. Lines without anything are passed over.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Arriving>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(file) = self.files.next() else {
                    return Ok(None);
                };
                self.open = Some(Open::file(file)?);
                continue;
            };
            let Some(line) = open.line()? else {
                self.open = None;
                continue;
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("{}, line {}", open.name, open.number);
            let outgoing = understand(&line.into(), &self.reading);
            let outgoing = outgoing.with_context(|| {
                format!("{place} cannot be imported; mend the line or take it out")
            })?;
            return Ok(Some(Arriving { place, outgoing }));
        }
    }
}

impl Open {
    fn file(file: &Path) -> anyhow::Result<Self> {
        if file == Path::new("-") {
            return Ok(Self {
                name: "standard input".to_owned(),
                from: Box::new(BufReader::with_capacity(BUFFER, io::stdin())),
                number: 0,
            });
        }
        let name = file.display().to_string();
        let from = File::open(file).with_context(|| format!("{name} cannot be read"))?;
        Ok(Self {
            name,
            from: Box::new(BufReader::with_capacity(BUFFER, from)),
            number: 0,
        })
    }

    fn line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut bounded = self.from.by_ref().take(LONGEST);
        let read = bounded.read_until(b'\n', &mut line);
        let read = read.with_context(|| format!("{} cannot be read on", self.name))?;
        self.number += 1;
        if read as u64 == LONGEST && !line.ends_with(b"\n") {
            bail!(
                "{}, line {} is longer than {} MiB; an import takes one event a line",
                self.name,
                self.number,
                LONGEST >> 20
            );
        }
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok((0 < read).then_some(line))
    }
}

/// The message of a line: as it was exported, or as `send` would send the event.
fn understand(line: &Bytes, reading: &Reading<'_>) -> anyhow::Result<Outgoing> {
    match record::read(line) {
        Ok(Line::Message(outgoing)) => Ok(*outgoing),
        Ok(Line::Event(event)) => {
            let subject = subject_of(&event, reading);
            Ok(Outgoing::event(*event, subject))
        }
        Err(error) if line.trim_ascii() == b"[" || line.trim_ascii() == b"{" => {
            Err(error).context("an import takes one event a line, not a document over several")
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<anyhow::Result<(String, String)>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.ndjson");
        std::fs::write(&file, text).unwrap();
        let files = [file];
        let mut lines = Lines::of(&files, Reading::default());
        let mut found = Vec::new();
        while let Some(next) = lines.next().transpose() {
            let failed = next.is_err();
            found.push(next.map(|arriving| {
                let place = arriving.place.rsplit_once(", ").unwrap().1.to_owned();
                (place, arriving.outgoing.subject)
            }));
            if failed {
                break;
            }
        }
        found
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/custom/shop","type":"d365.custom.order.update","partitionkey":"a"}"#;

    #[test]
    fn empty_lines_and_a_mark_at_the_start_are_passed_over() {
        let found = lines(&format!("\u{feff}{EVENT}\r\n\n  \n{EVENT}"));
        let places: Vec<String> = found.into_iter().map(|line| line.unwrap().0).collect();
        assert_eq!(places, ["line 1", "line 4"]);
    }

    #[test]
    fn an_event_from_elsewhere_goes_where_send_would_send_it() {
        let found = lines(EVENT);
        let (_, subject) = found[0].as_ref().unwrap();
        let expected = "d365.custom.shop.business.order.update.";
        assert!(subject.starts_with(expected), "{subject}");
    }

    #[test]
    fn an_error_says_the_line_and_what_to_do() {
        let found = lines(&format!("{EVENT}\n{{\"id\":\"2\"}}\n"));
        let error = format!("{:#}", found[1].as_ref().unwrap_err());
        assert!(error.contains("events.ndjson, line 2"), "{error}");
        assert!(error.contains("specversion"), "{error}");
        let found = lines("{\n\"specversion\":\"1.0\"\n}\n");
        let error = format!("{:#}", found[0].as_ref().unwrap_err());
        assert!(error.contains("one event a line"), "{error}");
    }
}
