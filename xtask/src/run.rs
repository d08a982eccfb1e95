//! Running other programs, with errors that name the command.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// The cargo that runs xtask, in folder `dir`.
pub(crate) fn cargo(dir: &Path) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program(Path::new(&cargo));
    command.current_dir(dir);
    command
}

/// A program that may call cargo in its turn.
///
/// What `cargo run` set for xtask itself is taken out: build scripts that watch these
/// variables would otherwise run again whenever cargo is called from the other side.
pub(crate) fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in env::vars_os() {
        if is_cargos_own(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn is_cargos_own(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| {
        name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || name == "LD_LIBRARY_PATH"
    })
}

/// Runs to the end with our own input and output; an exit status other than 0 is an error.
pub(crate) fn plain(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// What the program wrote to standard output; its standard error is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` did not print text", shown(command)))
}

/// Which of a program's streams to read along.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Runs to the end, passes every line of `stream` on as it comes, and gives back those
/// that `keep` asks for.
pub(crate) fn tee(
    command: &mut Command,
    stream: Stream,
    keep: impl Fn(&str) -> bool,
) -> Result<(ExitStatus, Vec<String>)> {
    match stream {
        Stream::Stdout => command.stdout(Stdio::piped()),
        Stream::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("could not start `{}`", shown(command)))?;
    let kept = match stream {
        Stream::Stdout => child
            .stdout
            .take()
            .map(|from| pass_on(from, std::io::stdout(), keep)),
        Stream::Stderr => child
            .stderr
            .take()
            .map(|from| pass_on(from, std::io::stderr(), keep)),
    };
    let status = child.wait()?;
    Ok((status, kept.transpose()?.unwrap_or_default()))
}

fn pass_on(
    from: impl Read,
    mut to: impl Write,
    keep: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        let text = String::from_utf8_lossy(&line);
        if keep(text.trim_end()) {
            kept.push(text.trim_end().to_owned());
        }
        line.clear();
    }
    Ok(kept)
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
