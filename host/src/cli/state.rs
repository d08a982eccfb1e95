//! `sluice state`: takes a plug-in and a moment, shows its state as it was then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::connect::Target;
use super::events::moment;
use super::output::{bytes, line};
use crate::operations::state::{Query, Row, state};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in.
    #[arg(long)]
    plugin: String,
    /// This key alone; its value as it is, byte for byte.
    #[arg(long)]
    key: Option<String>,
    /// As it was at this time, RFC 3339, or so long ago, such as 2h. Needs `state_history`.
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
    let query = Query {
        plugin: args.plugin,
        key: args.key,
        version: args.state_version,
        at: args.as_of,
    };
    let rows = state(&context, &query).await?;
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

fn shown(row: &Row) -> Value {
    let (name, value) = match std::str::from_utf8(&row.value) {
        Ok(text) => ("value", text.to_owned()),
        Err(_) => ("value_base64", STANDARD.encode(&row.value)),
    };
    json!({ "key": row.key, "partition": row.partition, "state_version": row.version, name: value })
}
