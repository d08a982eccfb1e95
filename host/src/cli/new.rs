//! `sluice new`: takes a name and a language, gives a folder that builds, tests and deploys.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::embedded::{self, D365, D365_MANIFEST, SAGA, SAGA_MANIFEST, SDK, TEMPLATES, WIT};
use super::output::line;
use crate::manifest;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plug-in's name: 1 to 63 of a-z, 0-9 and -.
    name: String,
    /// What it is to be written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
    /// Where the folder goes; ./<NAME> when not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The folder guest-sdk of a checkout, to be used instead of a copy (Rust).
    #[arg(long)]
    sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    Python,
    #[value(alias = "js")]
    Javascript,
    #[value(alias = "ts")]
    Typescript,
}

const NODE_STEPS: &str = "      - uses: actions/setup-node@v4\n        with:\n          \
                          node-version: \"20\"\n      - run: npm ci --ignore-scripts\n      \
                          - run: npm test";

/// What is different in each language's folder.
struct Words {
    /// Its templates.
    templates: &'static [&'static str],
    /// Its SDK, where that is no crate.
    sdk: Option<&'static str>,
    source: &'static str,
    test: &'static str,
    steps: &'static str,
}

impl Language {
    fn words(self) -> Words {
        match self {
            Self::Rust => Words {
                templates: &["common", "rust"],
                sdk: None,
                source: "src/lib.rs",
                test: "cargo test",
                steps: "      - run: rustup target add wasm32-unknown-unknown\n      - run: cargo test",
            },
            Self::Python => Words {
                templates: &["common", "python"],
                sdk: Some("python"),
                source: "plugin.py",
                test: "python3 -m unittest",
                steps: "      - uses: actions/setup-python@v5\n        with:\n          \
                        python-version: \"3.12\"\n      - run: python3 -m unittest",
            },
            Self::Javascript => Words {
                templates: &["common", "node", "javascript"],
                sdk: Some("javascript"),
                source: "plugin.js",
                test: "npm test",
                steps: NODE_STEPS,
            },
            Self::Typescript => Words {
                templates: &["common", "node", "typescript"],
                sdk: Some("javascript"),
                source: "plugin.ts",
                // It is bundled by a package of its own.
                test: "npm ci --ignore-scripts && npm test",
                steps: NODE_STEPS,
            },
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    check_name(args)?;
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let is_taken = dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || dir.is_file() {
        bail!(
            "{} is there already; choose another name, or another place with --dir",
            dir.display()
        );
    }
    let sdk = match &args.sdk {
        Some(_) if args.lang != Language::Rust => bail!("--sdk is for --lang rust"),
        Some(sdk) => checkout(sdk)?.display().to_string(),
        None => "sluicegate/guest-sdk".to_owned(),
    };
    let words = args.lang.words();
    for folder in words.templates {
        let folder = TEMPLATES.get_dir(folder).context("no such template")?;
        let filled = |text: &str| filled(text, &args.name, &words, &sdk);
        write(folder, &dir, words.source, &filled)?;
    }
    match words.sdk {
        None if args.sdk.is_none() => vendor(&dir.join("sluicegate"))?,
        None => {}
        Some(language) => {
            let of_language = SDK.get_dir(format!("{language}/sluicegate"));
            let of_language = of_language.context("no such SDK")?;
            embedded::unpack(of_language, &[], &dir.join("sluicegate"))?;
        }
    }
    line!(
        "{}: a plug-in that {} and events/ show.\n\n  cd {}\n  {}\n  sluice build\n  \
         sluice test {}.wasm --environment contoso --event events/*.json --expect expected.json",
        dir.display(),
        words.source,
        dir.display(),
        words.test,
        args.name,
    );
    Ok(ExitCode::SUCCESS)
}

fn check_name(args: &Args) -> anyhow::Result<()> {
    let name = &args.name;
    let template = TEMPLATES.get_file("common/plugin.toml");
    let template = template.and_then(include_dir::File::contents_utf8);
    let manifest = template
        .context("no such template")?
        .replace("{{name}}", name);
    manifest::parse(&manifest, "plugin.toml")
        .with_context(|| format!("{name:?} is no name of a plug-in"))?;
    if args.lang == Language::Rust && !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        bail!("{name:?} is no name of a Rust package, which begins with a letter");
    }
    Ok(())
}

/// The folder of the SDK, as it stands in a manifest wherever that lies.
fn checkout(sdk: &Path) -> anyhow::Result<PathBuf> {
    let shown = sdk.display();
    let found = sdk
        .canonicalize()
        .with_context(|| format!("--sdk {shown} cannot be read"))?;
    if !found.join("Cargo.toml").is_file() || !found.join("macros").is_dir() {
        bail!("--sdk {shown} is not the folder guest-sdk of a checkout of Sluicegate");
    }
    Ok(found)
}

/// The template's files, filled in. Those that would be hidden, or mean something where they
/// stand in this repository, have other names there.
fn write(
    from: &include_dir::Dir<'_>,
    dir: &Path,
    source: &str,
    filled: &dyn Fn(&str) -> String,
) -> anyhow::Result<()> {
    let root = from.path().components().count();
    let mut open = vec![from];
    while let Some(folder) = open.pop() {
        open.extend(
            folder
                .dirs()
                .filter(|dir| !dir.path().ends_with("__pycache__")),
        );
        for file in folder.files() {
            let inside: PathBuf = file.path().components().skip(root).collect();
            let to = match inside.to_str() {
                Some("gitignore") => dir.join(".gitignore"),
                Some("npmrc") => dir.join(".npmrc"),
                Some("plugin.test.js") => dir.join(source.replace("plugin.", "plugin.test.")),
                Some("plugin.yml") => dir.join(".github/workflows/plugin.yml"),
                _ => dir.join(inside),
            };
            match file.contents_utf8() {
                Some(text) => embedded::write(&to, filled(text).as_bytes())?,
                None => embedded::write(&to, file.contents())?,
            }
        }
    }
    Ok(())
}

fn filled(text: &str, name: &str, words: &Words, sdk: &str) -> String {
    let build = "sluice build".len();
    let deploy = format!("sluice deploy {name}.wasm").len();
    let widest = words.test.len().max(build).max(deploy);
    let pad = |length: usize| " ".repeat(widest - length);
    let test = format!("{}{}", words.test, pad(words.test.len()));
    text.replace("{{name}}", name)
        .replace("{{sdk}}", sdk)
        .replace("{{source}}", words.source)
        .replace("{{steps}}", words.steps)
        .replace("{{test}}", &test)
        .replace("{{pad}}", &pad(build))
        .replace("{{pad2}}", &pad(deploy))
}

/// The Rust SDK and what it stands on, as a workspace of its own.
fn vendor(to: &Path) -> anyhow::Result<()> {
    let workspace = TEMPLATES
        .get_file("rust-sdk.toml")
        .context("no such template")?;
    embedded::write(&to.join("Cargo.toml"), workspace.contents())?;
    let without = ["python", "javascript", "tests"];
    embedded::unpack(&SDK, &without, &to.join("guest-sdk"))?;
    embedded::unpack(&D365, &[], &to.join("d365/src"))?;
    embedded::write(&to.join("d365/Cargo.toml"), D365_MANIFEST.as_bytes())?;
    embedded::unpack(&SAGA, &[], &to.join("saga/src"))?;
    embedded::write(&to.join("saga/Cargo.toml"), SAGA_MANIFEST.as_bytes())?;
    embedded::unpack(&WIT, &[], &to.join("wit"))
}
