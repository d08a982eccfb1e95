//! `sluice replay` without `--into`: takes events of the store, gives them to the plug-in that runs.

use std::process::ExitCode;

use anyhow::bail;

use super::Args;

pub(super) async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    bail!("only a replay into a shadow is there yet: say --into NAME")
}
