//! Takes a picture of the last minute, gives the way of events: sources, streams, plug-ins, dead letters.

use axum::response::Response;
use maud::{Markup, html};

use super::fault::Fault;
use super::layout::Place;
use super::page::Page;
use super::sampler::{Picture, Sample};
use super::words::{bytes, count, counted, duration, query, rate};

/// Pixels from one box to the next, and to the middle of a box. The style sheet has the same.
const ROW: usize = 112;
const MIDDLE: usize = 48;
const GAP: usize = 72;

/// A box of the picture.
struct Node {
    href: String,
    title: String,
    /// The figure that counts, and what it counts.
    figure: String,
    what: &'static str,
    notes: Vec<String>,
    /// What is out of the ordinary.
    flags: Vec<String>,
    /// Needs a look.
    is_bad: bool,
    line: Vec<f64>,
    /// Events a second through it.
    rate: f64,
}

pub(super) async fn show(page: Page) -> Response {
    page.show(Place::Flow, "Flow", |page| async move {
        let context = page.console.context()?;
        let picture = page.console.inner.sampler.picture(&context).await?;
        let sample = picture.newest().ok_or_else(Fault::no_broker)?;
        Ok(draw(&picture, sample))
    })
    .await
}

fn draw(picture: &Picture, sample: &Sample) -> Markup {
    let sources = sources(picture, sample);
    let streams = [events(picture, sample)];
    let plug_ins = plug_ins(picture, sample);
    let dead = dead(sample, picture);
    html! {
        h1 { "Flow" }
        (warnings(sample))
        div.flow {
            (column("Sources", "sources", &sources, "No gateway has a source; events come from elsewhere."))
            (edges(&sources, &streams))
            (column("Event store", "streams", &streams, ""))
            (edges(&streams, &plug_ins))
            (column("Plug-ins", "plug-ins", &plug_ins, "No host runs a plug-in. Put one into the folder, or deploy one."))
            (edges(&plug_ins, &dead))
            (column("Dead letters", "dead", &dead, "None. Nothing needs mending."))
        }
        p.hint {
            "Rates are those of the last ten seconds, lines those of the last minute; latency is from an event's own time to its outcome. "
            "The ledger holds " (counted(sample.ledger.messages, "message")) ", " (bytes(sample.ledger.bytes)) "."
        }
    }
}

/// What is to be known before anything else.
pub(super) fn warnings(sample: &Sample) -> Markup {
    let refused = sample.answers.iter().flat_map(|answer| {
        answer
            .refused
            .iter()
            .map(move |(what, why)| (&answer.host, what, why))
    });
    let spooled: u64 = sample
        .answers
        .iter()
        .map(|answer| answer.spool_events)
        .sum();
    html! {
        @for host in &sample.silent {
            section.notice.bad role="alert" { p { "Host " strong { (host) } " does not answer." } }
        }
        @for (host, what, why) in refused {
            section.notice.bad role="alert" { p { strong { (what) } " does not run on " (host) ": " (why) } }
        }
        @if 0 < spooled {
            section.notice.bad role="alert" { p { (counted(spooled, "event")) " stand in a gateway's spool: the broker does not take them." } }
        }
    }
}

fn sources(picture: &Picture, sample: &Sample) -> Vec<Node> {
    let names = sample.sources();
    let by_gateway = |sample: &Sample| -> u64 {
        names
            .iter()
            .map(|(kind, environment)| sample.published(kind, environment))
            .sum()
    };
    let all = picture.rate(|sample| sample.events.last);
    let own = picture.rate(by_gateway);
    let others = all.zip(own).map(|(all, own)| (all - own).max(0.0));
    let mut nodes: Vec<Node> = names
        .iter()
        .map(|(kind, environment)| {
            let of = |sample: &Sample| sample.published(kind, environment);
            let now = picture.rate(of);
            Node {
                href: format!(
                    "/events?{}",
                    query(&[("subject", &format!("d365.{}.{environment}.>", origin(kind)))])
                ),
                title: format!("{kind} · {environment}"),
                figure: rate(now),
                what: "taken",
                notes: vec![format!("{} since the hosts started", count(of(sample)))],
                flags: Vec::new(),
                is_bad: false,
                line: picture.rates(of),
                rate: now.unwrap_or(0.0),
            }
        })
        .collect();
    let rates = picture.rates(|sample| sample.events.last);
    let own = picture.rates(by_gateway);
    nodes.push(Node {
        href: "/events".to_owned(),
        title: "Past the gateway".to_owned(),
        figure: rate(others),
        what: "emitted",
        notes: vec!["by plug-ins and others".to_owned()],
        flags: Vec::new(),
        is_bad: false,
        line: rates
            .iter()
            .zip(own)
            .map(|(all, own)| (all - own).max(0.0))
            .collect(),
        rate: others.unwrap_or(0.0),
    });
    nodes
}

/// The first token after `d365.` of what a source sends.
fn origin(kind: &str) -> &str {
    if kind == "cloudevents" { "*" } else { kind }
}

fn events(picture: &Picture, sample: &Sample) -> Node {
    let now = picture.rate(|sample| sample.events.last);
    Node {
        href: "/events".to_owned(),
        title: "EVENTS".to_owned(),
        figure: rate(now),
        what: "stored",
        notes: vec![
            counted(sample.events.messages, "event"),
            bytes(sample.events.bytes),
        ],
        flags: Vec::new(),
        is_bad: false,
        line: picture.rates(|sample| sample.events.last),
        rate: now.unwrap_or(0.0),
    }
}

fn plug_ins(picture: &Picture, sample: &Sample) -> Vec<Node> {
    let node = |name: String| {
        let now = picture.rate(|sample| sample.handled(&name));
        let (half, most) = picture.latency(&name);
        let lag = sample.sum(&name, |entry| entry.counts.lag);
        let paused = sample.entries(&name).any(|(_, entry)| entry.paused);
        let open = sample.sum(&name, |entry| entry.counts.circuits_open);
        let parked = sample.sum(&name, |entry| entry.counts.parked);
        let blocked = sample.sum(&name, |entry| entry.counts.blocked);
        let notes = vec![
            format!("{} behind", count(lag)),
            format!("p50 {} · p99 {}", duration(half), duration(most)),
        ];
        let mut flags = Vec::new();
        for (is_so, flag) in [
            (paused, "paused".to_owned()),
            (0 < open, "circuit open".to_owned()),
            (0 < blocked, counted(blocked, "key") + " blocked"),
            (0 < parked, counted(parked, "key") + " retrying"),
        ] {
            if is_so {
                flags.push(flag);
            }
        }
        Node {
            href: format!("/plug-ins#{name}"),
            figure: rate(now),
            what: "handled",
            notes,
            flags,
            is_bad: paused || 0 < open || 0 < blocked,
            line: picture.rates(|sample| sample.handled(&name)),
            rate: now.unwrap_or(0.0),
            title: name,
        }
    };
    sample.plug_ins().into_iter().map(node).collect()
}

fn dead(sample: &Sample, picture: &Picture) -> Vec<Node> {
    let mut names: Vec<&str> = sample
        .letters
        .keys()
        .map(|(name, _)| name.as_str())
        .collect();
    names.dedup();
    let node = |name: &str| {
        let of = |sample: &Sample| sample.letters_of(name);
        let reasons = sample
            .letters
            .iter()
            .filter(|((plugin, _), _)| plugin == name);
        Node {
            href: format!(
                "/dead-letters?{}",
                query(&[("where", &format!("plugin={name}"))])
            ),
            title: name.to_owned(),
            figure: count(of(sample)),
            what: "dead",
            notes: reasons
                .map(|((_, reason), number)| format!("{} {reason}", count(*number)))
                .take(3)
                .collect(),
            flags: Vec::new(),
            is_bad: true,
            line: picture.levels(of),
            rate: picture.rate(of).unwrap_or(0.0),
        }
    };
    names.into_iter().map(node).collect()
}

fn column(title: &str, id: &str, nodes: &[Node], nothing: &str) -> Markup {
    html! {
        section.column id={ "column-" (id) } aria-labelledby={ "title-" (id) } {
            h2 id={ "title-" (id) } { (title) }
            @if nodes.is_empty() { p.hint { (nothing) } }
            @for node in nodes {
                a.node.bad[node.is_bad] href=(node.href) id={ (id) "-" (node.title) } {
                    span.title { (node.title) }
                    span.flags { (node.flags.join(" · ")) }
                    span.figure { strong { (node.figure) } " " (node.what) }
                    (sparkline(&node.line))
                    span.notes { @for note in &node.notes { span { (note) } } }
                }
            }
        }
    }
}

/// The last minute, as a line.
pub(super) fn sparkline(values: &[f64]) -> Markup {
    let most = values.iter().copied().fold(0.0, f64::max);
    let x = |place: usize| 120.0 - (values.len().saturating_sub(1) - place) as f64 * 2.0;
    let y = |value: f64| {
        if most == 0.0 {
            23.0
        } else {
            23.0 - 21.0 * value / most
        }
    };
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(place, value)| format!("{:.0},{:.1}", x(place), y(*value)))
        .collect();
    html! {
        svg.spark viewBox="0 0 120 24" preserveAspectRatio="none" aria-hidden="true" {
            polyline points=(points.join(" ")) {}
        }
    }
}

/// Lines from every box on the left to every box on the right, as thick as what flows. A dead
/// letter comes from the plug-in of its name alone.
fn edges(from: &[Node], to: &[Node]) -> Markup {
    let rows = from.len().max(to.len());
    let height = (rows * ROW).max(ROW);
    let middle = |row: usize| row * ROW + MIDDLE;
    let ends = from.iter().enumerate().flat_map(|(one, left)| {
        to.iter()
            .enumerate()
            .map(move |(other, right)| (one, left, other, right))
    });
    let ends = ends.filter(|(_, left, _, right)| right.what != "dead" || left.title == right.title);
    html! {
        svg.edges width=(GAP) height=(height) viewBox={ "0 0 " (GAP) " " (height) } aria-hidden="true" {
            @for (one, left, other, right) in ends {
                @let flow = if from.len() == 1 { right.rate } else { left.rate };
                @let d = format!("M0 {} C{} {}, {} {}, {GAP} {}", middle(one), GAP / 2, middle(one), GAP / 2, middle(other), middle(other));
                @let width = format!("{:.1}", 1.5 + (1.0 + flow).ln());
                path.still[flow < 0.05].bad[right.what == "dead"] d=(d) stroke-width=(width) {}
            }
        }
    }
}
