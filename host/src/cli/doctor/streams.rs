//! Takes JetStream, finds streams that are not there, not as they should be, full, or behind.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config as StreamConfig, Info, SourceInfo};
use bytesize::ByteSize;
use futures_util::TryStreamExt as _;

use super::broker::{NEARLY_FULL, share};
use super::finding::{About, Findings};
use super::settings::differences;
use crate::broker::{self, DEADLETTER};
use crate::config::Config;
use crate::{claim_check, deployment};

/// Nothing more fits in soon, or now.
const FULL: f64 = 0.98;
/// A source that is further behind, or was not heard of for so long, does not keep up.
const MANY: u64 = 10_000;
const LONG: Duration = Duration::from_secs(30);

pub(super) async fn look(context: &Context, config: Option<&Config>, findings: &mut Findings) {
    let known = config.cloned().unwrap_or_default();
    let mut streams = findings.about("streams");
    for wanted in broker::wanted(&known) {
        let Some(info) = found(context, &wanted.name, &mut streams).await else {
            continue;
        };
        let mut is_fine = settings(&info, &wanted, config.is_some(), &mut streams);
        is_fine &= room(&info, &mut streams);
        is_fine &= copies(&info, &mut streams);
        is_fine &= sources(&info, &wanted, &mut streams);
        if is_fine {
            streams.ok(line(&info));
        }
    }
    for name in [claim_check::STREAM, deployment::STREAM] {
        if let Some(info) = found(context, name, &mut streams).await
            && copies(&info, &mut streams)
        {
            streams.ok(line(&info));
        }
    }
    dead_letters(context, &mut findings.about("dead letters")).await;
}

async fn found(context: &Context, name: &str, about: &mut About<'_>) -> Option<Info> {
    match context.get_stream(name).await {
        Ok(stream) => Some(stream.cached_info().clone()),
        Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => {
            about.fail(
                format!("{name} is not there: {error}"),
                "start `sluice run` on this broker: it makes what is missing at every start; what \
                 was in it is gone unless there is a backup",
            );
            None
        }
        Err(error) => {
            about.fail(
                format!("{name} cannot be asked for: {error}"),
                "see the log of nats-server; let this user publish to $JS.API.>",
            );
            None
        }
    }
}

fn line(info: &Info) -> String {
    let (name, state) = (&info.config.name, &info.state);
    let limit = match limit(info) {
        Some(limit) => format!(" of {}", ByteSize(limit)),
        None => String::new(),
    };
    format!(
        "{name}: {} messages, {}{limit}",
        state.messages,
        ByteSize(state.bytes)
    )
}

fn limit(info: &Info) -> Option<u64> {
    let limit = u64::try_from(info.config.max_bytes).ok();
    limit.filter(|limit| 0 < *limit)
}

fn settings(info: &Info, wanted: &StreamConfig, sizes: bool, about: &mut About<'_>) -> bool {
    let mut is_fine = true;
    for one in differences(&info.config, wanted, sizes) {
        is_fine = false;
        let what = format!(
            "{}: {} is {} and should be {}",
            wanted.name, one.setting, one.found, one.wanted
        );
        let todo = "somebody changed it by hand, or sluice.toml was changed since: restart a \
                    host, which sets it again at every start";
        if one.is_grave {
            about.fail(what, todo);
        } else {
            about.warn(what, todo);
        }
    }
    is_fine
}

fn room(info: &Info, about: &mut About<'_>) -> bool {
    let Some(limit) = limit(info) else {
        return true;
    };
    let name = &info.config.name;
    let used = share(info.state.bytes, limit);
    if used < NEARLY_FULL {
        return true;
    }
    let what = format!(
        "{name} is {:.0} % full: {} of {limit} bytes",
        used * 100.0,
        info.state.bytes
    );
    let todo = "raise events.max_bytes or lower events.max_age, and restart a host; a full stream \
                refuses events, and the gateway answers 503";
    if FULL <= used {
        about.fail(what, todo);
    } else {
        about.warn(what, todo);
    }
    false
}

fn copies(info: &Info, about: &mut About<'_>) -> bool {
    let Some(cluster) = &info.cluster else {
        return true;
    };
    let name = &info.config.name;
    let mut is_fine = true;
    // A single server names itself or nobody.
    if cluster.leader.as_ref().is_none_or(String::is_empty) && 1 < info.config.num_replicas {
        is_fine = false;
        about.fail(
            format!("{name} has no leader"),
            "see which nats-servers of the cluster are up: more than half of the copies are needed",
        );
    }
    for copy in &cluster.replicas {
        if copy.offline || !copy.current {
            is_fine = false;
            about.warn(
                format!(
                    "{name}: the copy on {} is {}, last heard of {:.1} s ago",
                    copy.name,
                    if copy.offline {
                        "offline"
                    } else {
                        "not up to date"
                    },
                    copy.active.as_secs_f64()
                ),
                "see that nats-server's log and its disk; until it has caught up, one failure \
                 less is survived",
            );
        }
    }
    is_fine
}

fn sources(info: &Info, wanted: &StreamConfig, about: &mut About<'_>) -> bool {
    let name = &info.config.name;
    let mut is_fine = true;
    for source in wanted.sources.iter().flatten() {
        let state = info.sources.iter().find(|one| one.name == source.name);
        // That it is not among the settings is told already.
        let Some(state) = state else { continue };
        if is_behind(state) {
            is_fine = false;
            about.warn(
                format!(
                    "{name} is {} messages behind {}{}",
                    state.lag,
                    state.name,
                    match state.active {
                        Some(ago) => format!(", last heard of {:.0} s ago", ago.as_secs_f64()),
                        None => ", and was never heard of".to_owned(),
                    }
                ),
                "what plug-ins emit and dead letters come this way: see the log of nats-server, \
                 and whether it is short of disk or processor",
            );
        }
    }
    is_fine
}

fn is_behind(source: &SourceInfo) -> bool {
    let is_quiet = source.active.is_none_or(|ago| LONG < ago);
    MANY < source.lag || (0 < source.lag && is_quiet)
}

/// Those that wait for somebody, by plug-in and reason.
async fn dead_letters(context: &Context, about: &mut About<'_>) {
    let counted = async {
        let stream = context.get_stream(DEADLETTER).await.ok()?;
        let subjects = stream.info_with_subjects("dead.>").await.ok()?;
        subjects.try_collect::<Vec<(String, usize)>>().await.ok()
    };
    // That the stream is not there is told already.
    let Some(mut counts) = counted.await else {
        return;
    };
    if counts.is_empty() {
        about.ok("none waits");
        return;
    }
    counts.sort();
    let mut waiting = 0;
    let mut each = Vec::new();
    for (subject, count) in &counts {
        waiting += count;
        let mut words = subject.split('.').skip(1);
        let (plugin, reason) = (words.next().unwrap_or("?"), words.next().unwrap_or("?"));
        each.push(format!("{count} of {plugin} ({reason})"));
    }
    about.warn(
        format!("{waiting} wait: {}", each.join(", ")),
        "look at them with `sluice dlq list` and `show`, mend the cause, then `sluice dlq replay` \
         or `discard` them",
    );
}
