//! Takes messages, gives a Parquet file of them, written in row groups of bounded size.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};
use serde::ser::{SerializeMap as _, Serializer as _};

use super::target::Target;
use crate::event::{AttributeValue, Event};
use crate::operations::history::{Stored, record};

/// A row group is written when it has so many rows,
const ROWS: usize = 50_000;
/// or about so many bytes: all of it is in memory until then.
const GROUP_BYTES: usize = 16 << 20;
/// What a row takes in memory beside its texts.
const ROW: usize = 400;
/// Values between two looks at the size of a page.
const LOOK: usize = 64;

/// In the order of the columns. Times of the store are in microseconds, which more readers
/// know than nanoseconds.
const SCHEMA: &str = "
message event {
  required int64 sequence;
  required int64 stored (TIMESTAMP(MICROS, true));
  required binary nats_subject (STRING);
  optional binary id (STRING);
  optional binary source (STRING);
  optional binary type (STRING);
  optional binary subject (STRING);
  optional binary time (STRING);
  optional binary partitionkey (STRING);
  optional binary correlationid (STRING);
  optional binary datacontenttype (STRING);
  optional binary dataschema (STRING);
  optional binary extensions (STRING);
  optional binary data;
  optional binary undecodable (STRING);
}
";
/// Those of bytes.
const TEXTS: usize = 13;

/// A file that is being written.
pub(super) struct Table {
    writer: SerializedFileWriter<Target>,
    group: Group,
}

/// Rows that are not in the file yet.
#[derive(Default)]
struct Group {
    sequences: Vec<i64>,
    stored: Vec<i64>,
    texts: [Texts; TEXTS],
    bytes: usize,
}

/// The values of a column, and for each row whether it has one.
#[derive(Default)]
struct Texts {
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl Table {
    pub(super) fn new(target: Target) -> Result<Self> {
        let schema: TypePtr = Arc::new(parse_message_type(SCHEMA)?);
        Ok(Self {
            writer: SerializedFileWriter::new(target, schema, properties())?,
            group: Group::default(),
        })
    }

    pub(super) fn push(&mut self, stored: &Stored) -> anyhow::Result<()> {
        self.group.push(stored)?;
        if ROWS <= self.group.sequences.len() || GROUP_BYTES <= self.group.bytes {
            self.write()?;
        }
        Ok(())
    }

    /// The last rows, and what says where everything is.
    pub(super) fn finish(mut self) -> Result<Target> {
        if !self.group.sequences.is_empty() {
            self.write()?;
        }
        self.writer.into_inner()
    }

    fn write(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        let mut out = self.writer.next_row_group()?;
        numbers(&mut out, &group.sequences)?;
        numbers(&mut out, &group.stored)?;
        for (place, texts) in group.texts.iter().enumerate() {
            // The first of them is in every row.
            let levels = (place != 0).then_some(texts.levels.as_slice());
            if let Some(mut column) = out.next_column()? {
                let written = column.typed::<ByteArrayType>();
                written.write_batch(&texts.values, levels, None)?;
                column.close()?;
            }
        }
        out.close().map(|_| ())
    }
}

fn numbers(out: &mut SerializedRowGroupWriter<'_, Target>, values: &[i64]) -> Result<()> {
    if let Some(mut column) = out.next_column()? {
        column
            .typed::<Int64Type>()
            .write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}

fn properties() -> WriterPropertiesPtr {
    let data = ColumnPath::from("data");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_write_batch_size(LOOK)
        .set_column_dictionary_enabled(data.clone(), false)
        .set_column_statistics_enabled(data, EnabledStatistics::None)
        .set_created_by(concat!("sluice ", env!("CARGO_PKG_VERSION")).to_owned());
    Arc::new(properties.build())
}

impl Group {
    fn push(&mut self, stored: &Stored) -> anyhow::Result<()> {
        let at = DateTime::parse_from_rfc3339(&stored.stored).unwrap_or_default();
        self.sequences.push(i64::try_from(stored.sequence)?);
        self.stored.push(at.timestamp_micros());
        let row = row(stored)?;
        self.bytes += ROW;
        for (texts, value) in self.texts.iter_mut().zip(row) {
            self.bytes += value.as_ref().map_or(0, Bytes::len);
            texts.levels.push(i16::from(value.is_some()));
            texts.values.extend(value.map(ByteArray::from));
        }
        Ok(())
    }
}

/// The columns of bytes. All are copies: a slice would keep everything in memory that was
/// read from the broker with it.
fn row(stored: &Stored) -> anyhow::Result<[Option<Bytes>; TEXTS]> {
    let copy = |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes));
    let text = |text: &str| copy(text.as_bytes());
    let subject = text(&stored.subject);
    let event = match &stored.event {
        Ok(event) => record::without_reference(event.clone(), stored),
        Err(error) => {
            let mut row = [const { None }; TEXTS];
            let [first, .., data, undecodable] = &mut row;
            *first = subject;
            *data = copy(&stored.payload);
            *undecodable = text(&error.to_string());
            return Ok(row);
        }
    };
    let given = |value: &Option<String>| value.as_deref().and_then(text);
    Ok([
        subject,
        text(&event.id),
        text(&event.source),
        text(&event.event_type),
        given(&event.subject),
        given(&event.time),
        text(event.partition_key()),
        event.text("correlationid").and_then(|value| text(&value)),
        given(&event.datacontenttype),
        given(&event.dataschema),
        extensions(&event)?.map(Bytes::from),
        event.data.as_deref().and_then(copy),
        None,
    ])
}

/// Those of the event as one JSON object; none where there are none.
fn extensions(event: &Event) -> anyhow::Result<Option<Vec<u8>>> {
    if event.extensions.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::new(&mut out);
    let mut map = json.serialize_map(Some(event.extensions.len()))?;
    for (name, value) in &event.extensions {
        match value {
            AttributeValue::Boolean(value) => map.serialize_entry(name, value)?,
            AttributeValue::Integer(value) => map.serialize_entry(name, value)?,
            AttributeValue::Text(value) => map.serialize_entry(name, value)?,
        }
    }
    map.end()?;
    Ok(Some(out))
}
