//! Takes what cannot be undone, gives whether who sits at the terminal wants it.

use std::io::{IsTerminal as _, Write as _};

use anyhow::ensure;

/// Asks. `what` will be, and `not` was not done where nobody can be asked.
pub(super) fn is_wanted(what: &str, not: &str) -> anyhow::Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "{not}: it cannot be undone, and nobody is there to be asked; give --yes"
    );
    eprint!("{what}. Go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
