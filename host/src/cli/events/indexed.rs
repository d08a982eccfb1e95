//! Takes a search in a big event store, gives the index that makes it short.

use std::path::PathBuf;

use async_nats::jetstream::stream::Stream;

use crate::cli::progress::Progress;
use crate::operations::history::index::{Index, is_for};
use crate::operations::history::{Query, find};

/// Below so many numbers a search is short without one, and none is made that was not asked for.
const WORTH_IT: u64 = 500_000;
/// Where it is kept then.
const FOLDER: &str = ".sluicegate/index";

/// Whether an index may be used.
#[derive(Debug, clap::Args)]
pub(super) struct Indexed {
    /// Search by an index in this folder, which the first search makes. Without this a big event
    /// store has one in .sluicegate/index, and a small one none.
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_index")]
    index: Option<PathBuf>,
    /// Search without an index.
    #[arg(long)]
    no_index: bool,
}

impl Indexed {
    /// Whether it is to be used at once. Else the newest events are looked at first: what one asks
    /// for is mostly among them, and costs no index.
    pub(super) fn is_named(&self) -> bool {
        self.index.is_some()
    }

    /// The index, made or brought up to date; none where it is of no use, or cannot be had, which is
    /// said.
    pub(super) async fn of(&self, events: &Stream, query: &Query) -> anyhow::Result<Option<Index>> {
        let (first, last) = find::ends(events).await?;
        let is_small = self.index.is_none() && last.saturating_sub(first) < WORTH_IT;
        if self.no_index || is_small || !is_for(query) {
            return Ok(None);
        }
        let folder = self.index.clone().unwrap_or_else(|| PathBuf::from(FOLDER));
        let mut progress = None;
        let made = async {
            let mut index = Index::open(&folder, events)?;
            let update = index.update(events, |done, total| {
                let progress = progress.get_or_insert_with(|| Progress::lasting(Some(total)));
                progress.show(done, || "making the index".to_owned());
            });
            update.await.map(|()| index)
        };
        let made = made.await;
        if let Some(progress) = progress {
            progress.end();
        }
        match made {
            Ok(index) => Ok(Some(index)),
            Err(error) => {
                eprintln!("warning: searching without an index: {error}");
                Ok(None)
            }
        }
    }
}
