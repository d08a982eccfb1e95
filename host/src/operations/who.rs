//! Takes the process that an operator uses, gives the name by which the audit knows the operator.

use serde::{Deserialize, Serialize};

/// Who wants something done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The name that was shown to be theirs, or that of the account on their machine.
    pub name: String,
    /// By which way: `command line of <machine>`, `console of <host>`.
    pub via: String,
}

impl Who {
    /// Whoever runs this program. The broker's credentials are what lets them; the name is
    /// what the machine says of its user, and it believes that.
    pub fn at_the_command_line() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = variable("SUDO_USER")
            .or_else(|| variable("USER"))
            .or_else(|| variable("LOGNAME"))
            .unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
        let system = rustix::system::uname();
        let machine = system.nodename().to_string_lossy();
        Self {
            name,
            via: format!("command line of {machine}"),
        }
    }

    /// Whoever was let into the console of a host.
    pub fn at_the_console(name: &str, host: &str) -> Self {
        Self {
            name: name.to_owned(),
            via: format!("console of {host}"),
        }
    }
}
