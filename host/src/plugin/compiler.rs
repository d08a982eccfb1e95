//! Takes a component's bytes, gives its machine code: compiled by a process of its own, which is
//! ended when it takes too much time or memory.
//!
//! A compiler cannot be interrupted, and what it costs cannot be told from the bytes. The process
//! is this very program, with a verb that nobody else needs.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::engine;

/// The verb of the command line.
pub const VERB: &str = "compile-component";
/// Where this program is, also when its file was replaced meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Seconds of a core that one component may take. The interpreters of JavaScript and Python, the
/// largest that were seen, take 20 and 18 in a development build.
const MAX_SECONDS: u64 = 120;
/// Its exit status when the component is at fault.
const REFUSED: i32 = 1;
/// Bytes of memory that it may take; either interpreter takes 0.5 GB, and the allocator sets one
/// aside.
const MAX_MEMORY: u64 = 3 << 30;

/// What one component may take.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Bounds {
    /// Seconds of a core.
    #[arg(long, default_value_t = MAX_SECONDS)]
    pub seconds: u64,
    /// Bytes of memory.
    #[arg(long, default_value_t = MAX_MEMORY)]
    pub memory: u64,
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process could not be had.
    #[error("the compiler cannot be started")]
    Start(#[from] std::io::Error),
    /// The compiler said no.
    #[error("{0}")]
    Refused(String),
    /// It was ended.
    #[error(
        "it takes more than {MAX_SECONDS} s of a core, or more than {} MiB of memory, to compile \
         (the compiler ended with {status}){said}", MAX_MEMORY >> 20
    )]
    TooMuch {
        /// How it ended.
        status: ExitStatus,
        /// What it said before.
        said: String,
    },
}

/// How to start the process.
#[derive(Debug, Clone)]
pub struct Compiler {
    program: PathBuf,
}

impl Compiler {
    /// This program, which must know the verb.
    pub fn this_program() -> Self {
        Self {
            program: PathBuf::from(THIS_PROGRAM),
        }
    }

    /// Compiles. Blocks for as long as it takes.
    pub(super) fn compile(&self, component: &[u8]) -> Result<Vec<u8>, Error> {
        let mut process = Command::new(&self.program)
            .arg(VERB)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // It says nothing before it has read everything; where it ended early, its words say why.
        if let Some(mut stdin) = process.stdin.take() {
            let _ = stdin.write_all(component);
        }
        let output = process.wait_with_output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(REFUSED) => Err(Error::Refused(said)),
            // By a signal, or by a panic where it could not have a thread.
            _ => Err(Error::TooMuch {
                status: output.status,
                said: said
                    .lines()
                    .next()
                    .map_or_else(String::new, |line| format!(": {line}")),
            }),
        }
    }
}

/// What the process does: reads a component, writes its machine code, within the bounds.
///
/// # Errors
/// What the compiler says.
pub fn run(bounds: Bounds) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    bound(Resource::Cpu, bounds.seconds)?;
    bound(Resource::Data, bounds.memory)?;
    engine::step_back();
    // A component that ends the compiler is no reason to keep its memory.
    bound(Resource::Core, 0)?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component)?;
    let code = engine::precompile(&component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    std::io::stdout().write_all(&code)?;
    Ok(())
}

fn bound(what: Resource, most: u64) -> std::io::Result<()> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(what, limit)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A compiler that does this.
    fn of(folder: &std::path::Path, script: &str) -> Compiler {
        let program = folder.join("compiler");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
        Compiler { program }
    }

    #[test]
    fn what_the_process_says_is_told_and_what_ended_it_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let given = vec![7; 1 << 20];
        // As the compiler does: nothing is said before all is read.
        let all = folder.path().join("all");
        let all = all.display();
        let cat = format!("/bin/cat > {all}; exec /bin/cat {all}");
        let cat = of(folder.path(), &cat);
        assert_eq!(cat.compile(&given).expect("the same"), given);
        let refuses = of(folder.path(), "echo error: no such thing >&2; exit 1");
        let refused = refuses.compile(&given).expect_err("refused");
        assert_eq!(refused.to_string(), "error: no such thing");
        let ended = of(folder.path(), "kill -XCPU $$").compile(&given);
        let ended = ended.expect_err("ended").to_string();
        assert!(
            ended.contains("120 s") && ended.contains("3072 MiB"),
            "{ended}"
        );
        let broke = of(folder.path(), "echo no thread >&2; exit 101").compile(&given);
        let broke = broke.expect_err("broke").to_string();
        assert!(
            broke.contains("3072 MiB") && broke.ends_with(": no thread"),
            "{broke}"
        );
        let missing = Compiler {
            program: folder.path().join("nothing"),
        };
        let missing = missing.compile(&given).expect_err("missing");
        assert!(
            missing.to_string().contains("cannot be started"),
            "{missing}"
        );
    }
}
