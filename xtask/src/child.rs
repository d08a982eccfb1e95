//! A child process that never outlives xtask.

use std::fs::File;
use std::io;
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::run;

const DIE_WITH_PARENT: [&str; 3] = ["--pdeathsig", "KILL", "--"];

/// A running program, killed when dropped.
pub(crate) struct Child {
    name: String,
    process: Process,
}

impl Child {
    /// Starts what `command` says, with its standard error going to `log`.
    ///
    /// Where `setpriv` exists (Linux, util-linux) the kernel kills the child also when
    /// xtask itself is killed and cannot run any `drop`.
    pub(crate) fn start(command: &Command, log: File) -> Result<Self> {
        let program = command.get_program();
        let mut started = if can_die_with_parent() {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(DIE_WITH_PARENT).arg(program);
            setpriv
        } else {
            Command::new(program)
        };
        started.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => started.env(name, value),
                None => started.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            started.current_dir(dir);
        }
        let name = run::shown(command);
        let process = started
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start `{name}`"))?;
        Ok(Self { name, process })
    }

    /// The status, if the program has ended.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Asks with SIGTERM and waits; the program has `limit` to end by itself.
    pub(crate) fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let what = format!("the end of `{}` after SIGTERM", self.name);
        clock::poll(&what, limit, || Ok(self.process.try_wait()?))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn can_die_with_parent() -> bool {
    cfg!(target_os = "linux")
        && Command::new("setpriv")
            .args(DIE_WITH_PARENT)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}
