//! Promise: from an empty folder to a tested plug-in in a few commands, in each language, and a
//! mistake is said where it was made. Where the tools of a language cannot be had, its test says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluicegate_tests::broker::free_port;
use sluicegate_tests::process::command;
use sluicegate_tests::sluice::sluice;
use sluicegate_tests::{environment, within};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Compiles an interpreter, or the SDK, on a busy machine and unoptimised.
const LIMIT: Duration = Duration::from_secs(150);

struct New {
    _folder: TempDir,
    dir: PathBuf,
}

impl New {
    async fn made(language: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("sluice-new-")?;
        let dir = folder.path().join("limit-watch");
        let shown = dir.to_string_lossy().into_owned();
        let arguments = ["new", "limit-watch", "--lang", language, "--dir", &shown];
        let said = sluice(&arguments).await?.ok()?;
        ensure!(said.stdout.contains("sluice build"), "{}", said.stdout);
        Ok(Self {
            _folder: folder,
            dir,
        })
    }

    fn change(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let file = self.dir.join(file);
        let text = fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{} has no {from}", file.display());
        Ok(fs::write(&file, text.replace(from, to))?)
    }

    /// Runs a program in the folder: what it said, and whether it succeeded.
    async fn run(&self, program: &Path, arguments: &[&str]) -> Result<(bool, String)> {
        let mut command = tokio::process::Command::from(command(program));
        command.args(arguments).current_dir(&self.dir);
        // The plug-ins' own target folder: their dependencies are compiled there already.
        command.env("CARGO_TARGET_DIR", environment::plugin_target()?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(LIMIT, command.output())
            .await
            .with_context(|| format!("{} {arguments:?} does not end", program.display()))??;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }

    async fn succeeds(&self, program: &Path, arguments: &[&str]) -> Result<String> {
        let (succeeded, said) = self.run(program, arguments).await?;
        ensure!(succeeded, "{} {arguments:?}:\n{said}", program.display());
        Ok(said)
    }

    async fn fails(&self, arguments: &[&str], parts: &[&str]) -> Result<()> {
        let (succeeded, said) = self.run(&environment::sluice()?, arguments).await?;
        ensure!(!succeeded, "{arguments:?} succeeded:\n{said}");
        for part in parts {
            ensure!(
                said.contains(part),
                "{arguments:?} does not say {part:?}:\n{said}"
            );
        }
        Ok(())
    }

    /// A plug-in begins with the memory that its events need: to grow it, and to take that back
    /// for the next event, is most of what a new instance would cost.
    async fn grows_no_memory(&self) -> Result<()> {
        let manifest = fs::read_to_string(self.dir.join("plugin.toml"))?;
        let sluice = environment::sluice()?;
        let limit = async |memory: &str| {
            let text = format!("{manifest}\n[limits]\nmemory = {memory:?}\n");
            fs::write(self.dir.join("plugin.toml"), text)?;
            self.succeeds(&sluice, &["build"]).await
        };
        limit("64KiB").await?;
        let (_, said) = self.run(&sluice, &EXPECTING).await?;
        let bytes = said.split("begins with ").nth(1);
        let bytes = bytes
            .and_then(|rest| rest.split(' ').next())
            .context(said.clone())?;
        limit(&format!("{bytes}B")).await?;
        self.succeeds(&sluice, &EXPECTING).await?;
        fs::write(self.dir.join("plugin.toml"), &manifest)?;
        Ok(())
    }

    async fn build_and_test(&self) -> Result<()> {
        let sluice = environment::sluice()?;
        self.succeeds(&sluice, &["build"]).await?;
        let said = self.succeeds(&sluice, &EXPECTING).await?;
        ensure!(said.contains("d365.custom.limit-watch.raised"), "{said}");
        Ok(())
    }
}

const EXPECTING: [&str; 8] = [
    "test",
    "limit-watch.wasm",
    "--environment=contoso",
    "--event",
    "events/1-within.json",
    "events/2-raised.json",
    "--expect",
    "expected.json",
];

#[test]
fn a_new_rust_plug_in_builds_tests_and_does_what_is_expected() -> Result<()> {
    within(170, async {
        let new = New::made("rust").await?;
        // The versions that were fetched for the plug-ins of this repository.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/Cargo.lock");
        fs::copy(lock, new.dir.join("Cargo.lock"))?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let said = new
            .succeeds(Path::new(&cargo), &["test", "--quiet"])
            .await?;
        ensure!(said.contains("3 passed"), "{said}");
        new.build_and_test().await?;
        new.grows_no_memory().await?;

        // What is not as expected is shown, and accepted when that is asked for.
        new.change("expected.json", "50000.0001", "50000.0002")?;
        let difference = "event 2, emitted[0].event.data.limit\n  - 50000.0002\n  + 50000.0001";
        new.fails(&EXPECTING, &[difference, "1 of 2 events"])
            .await?;
        let accept = [&EXPECTING[..], &["--accept"]].concat();
        let sluice = environment::sluice()?;
        new.succeeds(&sluice, &accept).await?;
        new.succeeds(&sluice, &EXPECTING).await?;

        new.change("src/lib.rs", "account: Record<Account>", "account: Account")?;
        new.fails(
            &["build"],
            &["a handler cannot have a `Account` as a parameter"],
        )
        .await
    })
}

#[test]
fn a_new_python_plug_in_builds_tests_and_does_what_is_expected() -> Result<()> {
    if environment::language_guest("python")?.is_none() {
        return Ok(());
    }
    within(170, async {
        let new = New::made("python").await?;
        let said = new
            .succeeds(Path::new("python3"), &["-m", "unittest"])
            .await?;
        ensure!(
            said.contains("Ran 3 tests") && said.contains("OK"),
            "{said}"
        );
        new.build_and_test().await?;
        new.change("plugin.py", "@consumer", "def broken(:\n@consumer")?;
        new.fails(&["build"], &["plugin.py", "line 8", "SyntaxError"])
            .await
    })
}

#[test]
fn a_new_javascript_plug_in_builds_tests_and_does_what_is_expected() -> Result<()> {
    if environment::language_guest("javascript")?.is_none() {
        return Ok(());
    }
    within(170, async {
        let new = New::made("javascript").await?;
        let test = ["--import", "./sluicegate/testing.js", "--test"];
        let said = new.succeeds(Path::new("node"), &test).await?;
        ensure!(said.contains("pass 3"), "{said}");
        new.build_and_test().await?;
        new.change("plugin.toml", "state = true\n", "")?;
        let wanted = "`state = true` under [capabilities] in plugin.toml";
        new.fails(&["build"], &["imports state", wanted]).await?;
        let fetching = "fetch('x');\nexport const consumer";
        new.change("plugin.js", "export const consumer", fetching)?;
        let wanted = ["plugin.js sends requests", "`http = ["];
        new.fails(&["build"], &wanted).await?;
        let broken = "export konst consumer";
        new.change("plugin.js", "export const consumer", broken)?;
        new.fails(&["build"], &["plugin.js:8", "SyntaxError"]).await
    })
}

#[test]
fn a_new_typescript_plug_in_builds_tests_and_does_what_is_expected() -> Result<()> {
    let Some(tool) = std::env::var_os("SLUICE_COMPONENTIZE_JS") else {
        eprintln!("SKIPPED: the tools for TypeScript are not there");
        return Ok(());
    };
    within(170, async {
        let new = New::made("typescript").await?;
        // What `npm ci` would install.
        let mut folders = Path::new(&tool).ancestors();
        let modules = folders.find(|folder| folder.ends_with("node_modules"));
        let modules = modules.context("no node_modules")?;
        std::os::unix::fs::symlink(modules, new.dir.join("node_modules"))?;
        let said = new.succeeds(Path::new("npm"), &["test"]).await?;
        ensure!(said.contains("pass 3"), "{said}");
        new.build_and_test().await?;
        new.change(
            "plugin.ts",
            "export const consumer",
            "export konst consumer",
        )?;
        new.fails(&["build"], &["plugin.ts:19", "ERROR"]).await
    })
}

/// Answers every request: `/busy` with 429, anything else with what was asked.
async fn answering() -> Result<(u16, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            let mut part = [0; 4096];
            // A test's request has its head and its body in a few packets, and ends with }.
            while !asked.ends_with(b"}") {
                match stream.read(&mut part).await {
                    Ok(size) if 0 < size => asked.extend(part.iter().take(size)),
                    _ => break,
                }
            }
            let asked = String::from_utf8_lossy(&asked);
            let (head, body) = asked.split_once("\r\n\r\n").unwrap_or_default();
            let status = match head.contains(" /busy ") {
                true => "429 Too Many Requests\r\nretry-after: 7",
                false => "200 OK",
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok((port, serving))
}

/// A request that is answered, and one that is answered 429, by the SDK of a language.
fn sends_requests(language: &str, source: &str, text: &str) -> Result<()> {
    if environment::language_guest(language)?.is_none() {
        return Ok(());
    }
    within(170, async {
        let (port, _serving) = answering().await?;
        let new = New::made(language).await?;
        let dead = free_port()?;
        let text = text.replace("DEAD", &dead.to_string());
        let text = text.replace("PORT", &port.to_string());
        fs::write(new.dir.join(source), text)?;
        let origins = [port, dead].map(|port| format!("http://127.0.0.1:{port}"));
        let grant = format!("http = {origins:?}\nstate = true");
        new.change("plugin.toml", "state = true", &grant)?;
        let sluice = environment::sluice()?;
        new.succeeds(&sluice, &["build"]).await?;
        let event = ["--environment=contoso", "--event", "events/2-raised.json"];
        let arguments = [&["test", "limit-watch.wasm"][..], &event].concat();
        let wanted = [
            "log info: 200 50000.0001",
            "log info: refused: ",
            "log info: unanswered: 20 of 20",
            "capabilities.http does not allow it",
            "retry after 7s: POST",
            "answered 429",
        ];
        new.fails(&arguments, &wanted).await
    })
}

#[test]
fn a_python_plug_in_sends_requests() -> Result<()> {
    let text = r#"
from decimal import Decimal
from sluicegate import Reject, Retry, consumer, http, log

@consumer
def handle(event, delivery):
    answer = http.post("http://127.0.0.1:PORT/x", json={"limit": Decimal("50000.0001")})
    log.info(f"{answer.status} {answer.json()['limit']}")
    try:
        http.post("http://127.0.0.1:1/x", json={})
    except Reject as error:
        log.info(f"refused: {error}")
    unanswered = 0
    for _ in range(20):
        try:
            http.post("http://127.0.0.1:DEAD/x", json={})
        except Retry:
            unanswered += 1
    log.info(f"unanswered: {unanswered} of 20")
    http.post("http://127.0.0.1:PORT/busy", json={})
"#;
    sends_requests("python", "plugin.py", text)
}

#[test]
fn a_javascript_plug_in_sends_requests() -> Result<()> {
    let text = r#"
import { Amount, Retry, handler, log } from './sluicegate/index.js';
import { send } from './sluicegate/http.js';

export const consumer = handler(async () => {
  const limit = new Amount('50000.0001');
  const answer = await send('http://127.0.0.1:PORT/x', { method: 'POST', json: { limit } });
  log.info(`${answer.status} ${answer.json().limit}`);
  await send('http://127.0.0.1:1/x', { method: 'POST', json: {} }).catch((error) =>
    log.info(`refused: ${error.message}`),
  );
  let unanswered = 0;
  for (let i = 0; i < 20; i += 1) {
    await send('http://127.0.0.1:DEAD/x', { method: 'POST', json: {} }).catch((error) => {
      unanswered += error instanceof Retry;
    });
  }
  log.info(`unanswered: ${unanswered} of 20`);
  await send('http://127.0.0.1:PORT/busy', { method: 'POST', json: {} });
});
"#;
    sends_requests("javascript", "plugin.js", text)
}

/// What docs/handling-failure.md says of each way to end, by the host that the SDK plays.
#[test]
fn an_exception_means_what_the_guide_says() -> Result<()> {
    within(60, async {
        let python = New::made("python").await?;
        let text = r#"
from sluicegate import Reject, Retry, testing

def raises(error):
    def handle(event, delivery):
        raise error
    called = testing.Host().call(handle, testing.record("account"))
    return called.outcome, called.retry_after, called.message

print(raises(Reject("no number")))
print(raises(Retry("busy", after=7)))
print(raises(TimeoutError("slow")))
print(raises(KeyError("number")))
"#;
        fs::write(python.dir.join("tries.py"), text)?;
        let said = python.succeeds(Path::new("python3"), &["tries.py"]).await?;
        let wanted = r#"('reject', None, 'no number')
('retry', 7, 'busy')
('retry', None, 'TimeoutError: slow (tries.py:6)')
('reject', None, "KeyError: 'number' (tries.py:6)")
"#;
        ensure!(said == wanted, "{said}");

        if environment::language_guest("javascript")?.is_none() {
            return Ok(());
        }
        let javascript = New::made("javascript").await?;
        let text = r#"
import { Reject, Retry, handler } from './sluicegate/index.js';
import { Host, record } from './sluicegate/testing.js';

for (const error of [new Reject('no number'), new Retry('busy', { afterMs: 7000 }), new RangeError('far')]) {
  const throwing = handler(() => { throw error; });
  const { outcome, retryAfterMs, message } = await new Host().call(throwing, record('account'));
  console.log(outcome, retryAfterMs, message);
}
"#;
        fs::write(javascript.dir.join("tries.js"), text)?;
        let arguments = ["--import", "./sluicegate/testing.js", "tries.js"];
        let said = javascript.succeeds(Path::new("node"), &arguments).await?;
        let wanted = "reject undefined no number\nretry 7000 busy\n\
                      reject undefined RangeError: far (tries.js:5)\n";
        ensure!(said == wanted, "{said}");
        Ok(())
    })
}

#[test]
fn what_cannot_be_made_is_said() -> Result<()> {
    within(30, async {
        let new = New::made("python").await?;
        let dir = new.dir.to_string_lossy().into_owned();
        let again = sluice(&["new", "limit-watch", "--dir", &dir]).await?;
        again.refused(1, &["is there already", "--dir"])?;
        let named = sluice(&["new", "Limit Watch"]).await?;
        named.refused(
            1,
            &[
                "\"Limit Watch\" is no name of a plug-in",
                "lower-case letters, digits and -",
            ],
        )?;
        let number = sluice(&["new", "365-watch"]).await?;
        number.refused(1, &["begins with a letter"])?;
        let language = sluice(&["new", "x", "--lang", "cobol"]).await?;
        language.refused(2, &["rust, python, javascript, typescript"])?;
        fs::remove_file(new.dir.join("plugin.py"))?;
        let build = sluice(&["build", &dir]).await?;
        build.refused(
            1,
            &[
                "no Cargo.toml, plugin.py, plugin.js or plugin.ts",
                "sluice new",
            ],
        )?;
        Ok(())
    })
}
