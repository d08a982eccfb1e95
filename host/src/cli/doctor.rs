//! `sluice doctor`: takes a config and a broker, says what is wrong with either and what to do.

use std::process::ExitCode;

use async_nats::jetstream::Context;

use self::finding::Findings;
use super::connect::Target;
use crate::broker::Error as BrokerError;
use crate::config::{self, Config};
use crate::host::chain;

mod broker;
mod certificates;
mod finding;
mod hosts;
mod machine;
mod plugins;
mod settings;
mod streams;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.or_daemons_file();
    let mut findings = Findings::default();
    let config = match target.file() {
        Some(file) => match Config::load(file) {
            Ok(config) => Some(config),
            Err(error) => {
                let mut about = findings.about("config");
                about.fail(chain(&error), remedy(&error));
                findings.tell(args.json)?;
                return Ok(ExitCode::from(2));
            }
        },
        None => None,
    };
    match (&config, target.file()) {
        (Some(config), Some(file)) => {
            let mut about = findings.about("config");
            about.ok(format!("{} is in order, secrets included", file.display()));
            machine::look(config, &mut findings).await;
            certificates::look(config, &mut findings);
        }
        _ => findings.about("config").note(
            "no file of a daemon was looked at, and nothing of its machine",
            "--config sluice.toml looks at both, where the daemon runs",
        ),
    }
    let known = config.clone().unwrap_or_default();
    match target.connect_by(known).await {
        Ok(context) => look(&context, config.as_ref(), &mut findings).await,
        Err(error) => {
            let todo = match error.downcast_ref::<BrokerError>() {
                Some(BrokerError::TooOld { .. }) => "install nats-server 2.12 or newer",
                Some(BrokerError::Credentials { .. }) => {
                    "make the file readable for this user, or mend nats.credentials"
                }
                Some(BrokerError::Connect { .. } | BrokerError::Stream { .. }) | None => {
                    "start nats-server, or mend the address, the credentials or the certificates \
                     in [nats]; streams, hosts and plug-ins could not be looked at"
                }
            };
            findings.about("broker").fail(format!("{error:#}"), todo);
        }
    }
    findings.tell(args.json)
}

/// What can be seen over the broker.
async fn look(context: &Context, config: Option<&Config>, findings: &mut Findings) {
    if !broker::look(context, &mut findings.about("broker")).await {
        return;
    }
    streams::look(context, config, findings).await;
    let answers = hosts::look(context, &mut findings.about("hosts")).await;
    plugins::look(context, &answers, &mut findings.about("plug-ins")).await;
    plugins::deployed(context, &mut findings.about("deployed")).await;
}

fn remedy(error: &config::Error) -> String {
    match error {
        config::Error::Read { .. } => {
            "name the daemon's file with --config, and see that this user may read it".to_owned()
        }
        config::Error::SecretFile { path, .. } => format!(
            "put the secret into the first line of {}, and make it readable for the user that \
             sluice runs as, and for nobody else",
            path.display()
        ),
        config::Error::File(_) | config::Error::Widened { .. } | config::Error::Override { .. } => {
            "mend that line; docs/config.md has every key. A variable has to be set where the \
             doctor runs, as for the daemon"
                .to_owned()
        }
    }
}
