//! Takes a program, gives a child that cannot outlive the test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// A running child; dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// The exit status, when it has ended.
    ///
    /// # Errors
    /// When the child cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking for the end of {}", self.name))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(mut self) {
        self.kill_and_reap();
    }

    /// SIGTERM, without waiting.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGINT, as Ctrl-C sends it.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// SIGSTOP: the process stays, with all its connections, and does nothing any more.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("sending {signal:?} to {}", self.name))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When it still runs after `seconds`.
    pub async fn wait(&mut self, seconds: u64) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        until(&what, seconds, async || match self.ended()? {
            Some(status) => Ok(status),
            None => bail!("still running"),
        })
        .await
    }

    fn kill_and_reap(&mut self) {
        // Either fails only when the child is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

/// A command whose process dies with the test, even when the test is killed.
///
/// Through `setpriv --pdeathsig KILL` where there is one; it replaces itself by the program,
/// so the child's id is the program's.
pub fn command(program: &Path) -> Command {
    if !tied_by_setpriv() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn tied_by_setpriv() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let mut probe = Command::new("setpriv");
        probe
            .args(["--pdeathsig", "KILL", "--", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    })
}
