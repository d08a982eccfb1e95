//! `native acks|free URL STREAM FILTER COUNT`: a consumer with the handler compiled in, through
//! what is stored. `native follow|emit URL STREAM FILTER WARM COUNT`: the same behind what comes;
//! with `emit` it publishes an event for each, as the guest `emit_one` does.

use anyhow::{Context, Result, bail};
use async_nats::HeaderMap;
use async_nats::jetstream::Message;
use consumer::{Acks, Handled, LIMIT, Output};

/// Where the guests of the tests emit to. In which slot makes no difference to who reads all.
const ECHOES: &str = "d365.custom.test.business.echo.raised.0";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let limit = LIMIT.parse()?;
    let gives_up = |message: &Message| {
        let over = handler::decide(&message.payload, limit).map_err(anyhow::Error::msg)?;
        Ok(over.is_some())
    };
    let Some((mode, rest)) = words.split_first() else {
        bail!("usage: native acks|free|follow|emit URL STREAM FILTER ...");
    };
    match mode.as_str() {
        "acks" => consumer::run(rest, Acks::Each, gives_up).await,
        "free" => consumer::run(rest, Acks::None, gives_up).await,
        "follow" => {
            consumer::follow(rest, |message| {
                Ok(match gives_up(message)? {
                    true => Handled::GivenUp,
                    false => Handled::Done,
                })
            })
            .await
        }
        "emit" => consumer::follow(rest, |message| Ok(Handled::Emits(echo(message)?))).await,
        _ => bail!("there is no mode {mode}"),
    }
}

/// What says that an event was handled.
fn echo(message: &Message) -> Result<Output> {
    let headers = message.headers.as_ref().context("no headers")?;
    let header = |name: &str| {
        let value = headers.get(name).map(async_nats::HeaderValue::as_str);
        value.with_context(|| format!("no header {name}"))
    };
    let (id, key) = (header("ce-id")?, header("ce-partitionkey")?);
    let input: serde_json::Value = serde_json::from_slice(&message.payload)?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", &format!("{id}#0")),
        ("ce-source", "/native"),
        ("ce-type", "d365.custom.echo.raised"),
        ("ce-partitionkey", key),
        ("ce-datacontenttype", "application/json"),
    ] {
        headers.insert(name, value);
    }
    let body = serde_json::json!({ "input": id, "key": key, "n": input.get("n") });
    Ok(Output {
        subject: ECHOES.to_owned(),
        headers,
        body: body.to_string().into(),
    })
}
