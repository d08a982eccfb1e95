//! `sluice state`: takes a plug-in and a moment, shows its state, or a projection's rows, as it was
//! then.

use async_nats::jetstream::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::connect::Target;
use super::events::moment;
use super::output::{bytes, line};
use crate::clock;
use crate::operations::projections;
use crate::operations::state::{Error, Query, Row, state};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in.
    #[arg(long)]
    plugin: String,
    /// A table of a projection; the first one when not given.
    #[arg(long, conflicts_with = "state_version")]
    table: Option<String>,
    /// This key alone; its value as it is, byte for byte.
    #[arg(long)]
    key: Option<String>,
    /// As it was at this time, RFC 3339, or so long ago, such as 2h. Needs `state_history`; a
    /// projection needs `history`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<u64>,
    /// Keys of this state_version; of a single key 1, else all, when not given.
    #[arg(long, value_name = "N")]
    state_version: Option<u16>,
    #[command(flatten)]
    target: Target,
    /// A JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let context = args.target.connect().await?;
    if args.table.is_some() {
        return rows(&context, &args).await;
    }
    let query = Query {
        plugin: args.plugin.clone(),
        key: args.key.clone(),
        version: args.state_version,
        at: args.as_of,
    };
    let rows = match state(&context, &query).await {
        // The ledger knows no projection.
        Err(Error::NeverRan(_)) if is_projection(&context, &args.plugin).await => {
            return rows(&context, &args).await;
        }
        found => found?,
    };
    if args.json {
        let rows: Vec<Value> = rows.iter().map(shown).collect();
        line!("{}", serde_json::to_string(&rows)?);
        return Ok(());
    }
    match (&query.key, rows.as_slice()) {
        (Some(_), [row]) => bytes(&row.value),
        (Some(key), []) => anyhow::bail!("{} has no key {key:?} then", query.plugin),
        _ => {
            for row in &rows {
                line!(
                    "{}  {}",
                    row.key,
                    String::from_utf8_lossy(&row.value).escape_debug()
                );
            }
            eprintln!("{} keys", rows.len());
        }
    }
    Ok(())
}

async fn is_projection(context: &Context, name: &str) -> bool {
    projections::of(context, name).await.is_ok()
}

/// Rows of a projection, of the host that is the furthest.
async fn rows(context: &Context, args: &Args) -> anyhow::Result<()> {
    let copies = projections::of(context, &args.plugin).await?;
    let Some(copy) = copies.first() else {
        anyhow::bail!("no host has a projection {}", args.plugin)
    };
    let mut words = vec![("limit".to_owned(), "1000".to_owned())];
    if let Some(at) = args.as_of {
        words.push(("as-of".to_owned(), clock::rfc3339(at)));
    }
    if let Some(key) = &args.key {
        words.push(("@key".to_owned(), serde_json::to_string(key)?));
    }
    let (mut cursor, mut count, mut all) = (None, 0, Vec::new());
    loop {
        let mut words = words.clone();
        words.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let (table, page) = projections::rows(context, copy, args.table.as_deref(), words).await?;
        for row in page.rows {
            count += 1;
            if args.json {
                let row = json!({ "key": row.key, "table": table, "sequence": row.sequence, "row": row.row });
                all.push(row);
            } else if args.key.is_some() {
                line!("{}", row.row.get());
            } else {
                line!("{}  {}", row.key, row.row.get());
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    match (&args.key, count) {
        _ if args.json => line!("{}", serde_json::to_string(&all)?),
        (Some(key), 0) => anyhow::bail!("{} has no row {key:?} then", args.plugin),
        (Some(_), _) => {}
        (None, count) => eprintln!("{count} rows"),
    }
    Ok(())
}

fn shown(row: &Row) -> Value {
    let (name, value) = match std::str::from_utf8(&row.value) {
        Ok(text) => ("value", text.to_owned()),
        Err(_) => ("value_base64", STANDARD.encode(&row.value)),
    };
    json!({ "key": row.key, "partition": row.partition, "state_version": row.version, name: value })
}
