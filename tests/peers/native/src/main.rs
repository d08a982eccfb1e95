//! `native acks|free URL STREAM FILTER COUNT`: a consumer with the handler compiled in.

use anyhow::{Result, bail};
use consumer::{Acks, LIMIT};

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (acks, rest) = match words.split_first() {
        Some((mode, rest)) if mode == "acks" => (Acks::Each, rest),
        Some((mode, rest)) if mode == "free" => (Acks::None, rest),
        _ => bail!("usage: native acks|free URL STREAM FILTER COUNT"),
    };
    let limit = LIMIT.parse()?;
    consumer::run(rest, acks, |message| {
        let over = handler::decide(&message.payload, limit).map_err(anyhow::Error::msg)?;
        Ok(over.is_some())
    })
    .await
}
