//! Takes messages, writes them as lines or as Parquet, and counts them.

use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use serde::Serialize;

use super::table::Table;
use super::target::Target;
use crate::operations::history::{Stored, record};

const BUFFER: usize = 256 << 10;

/// What was exported.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) events: u64,
    /// Of those: messages that are no events.
    pub(super) undecodable: u64,
    /// Of those: their bodies are not in the object store any more.
    pub(super) without_body: u64,
    /// Sequence of the first one.
    pub(super) first: Option<u64>,
    /// And of the last one.
    pub(super) last: Option<u64>,
}

/// Where messages go.
pub(super) struct Writer {
    form: Form,
    pub(super) counts: Counts,
}

enum Form {
    Lines(BufWriter<Target>),
    Table(Box<Table>),
}

impl Writer {
    /// CloudEvents, one a line.
    pub(super) fn lines(target: Target) -> Self {
        Self::of(Form::Lines(BufWriter::with_capacity(BUFFER, target)))
    }

    /// Parquet.
    pub(super) fn table(target: Target) -> anyhow::Result<Self> {
        Ok(Self::of(Form::Table(Box::new(Table::new(target)?))))
    }

    fn of(form: Form) -> Self {
        let counts = Counts::default();
        Self { form, counts }
    }

    pub(super) fn write(&mut self, stored: &Stored) -> anyhow::Result<()> {
        match &mut self.form {
            Form::Lines(out) => {
                out.write_all(record::line(stored).as_bytes())?;
                out.write_all(b"\n")?;
            }
            Form::Table(table) => table.push(stored)?,
        }
        let counts = &mut self.counts;
        counts.events += 1;
        counts.undecodable += u64::from(stored.event.is_err());
        counts.without_body += u64::from(stored.is_body_gone);
        counts.first = counts.first.or(Some(stored.sequence));
        counts.last = Some(stored.sequence);
        Ok(())
    }

    /// All was written: a file has its name from here on.
    pub(super) fn finish(self) -> anyhow::Result<Counts> {
        let target = match self.form {
            Form::Lines(out) => out.into_inner().map_err(|error| error.into_error())?,
            Form::Table(table) => table.finish().context("the table cannot be ended")?,
        };
        target.finish()?;
        Ok(self.counts)
    }
}
