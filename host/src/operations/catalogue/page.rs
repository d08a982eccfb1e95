//! Takes a catalogue, gives it as one page to read, without anything from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sluicegate_schema::{Content, Members, Shape};

use super::{Catalogue, Entry, Plugin};
use crate::schemas::registry::Version;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
code { font-size: .93em; overflow-wrap: anywhere; }
section { margin-top: 2.5rem; }
.quiet { opacity: .75; }
.number { text-align: right; }
";

/// The page; `written` is when, RFC 3339.
pub fn page(catalogue: &Catalogue, (title, written): (&str, &str)) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p.quiet {
                    (catalogue.events.len()) " types of events, " (catalogue.plugins.len())
                    " plug-ins and bridges; written " (written) " from what is in the event store, \
                    in the registry of schemas and on the hosts."
                }
                (overview(catalogue))
                (plugins(catalogue))
                @for (event_type, entry) in &catalogue.events {
                    (section(catalogue, event_type, entry))
                }
            }
        }
    };
    page.into_string()
}

fn overview(catalogue: &Catalogue) -> Markup {
    html! {
        h2 { "Events" }
        table {
            thead { tr {
                th { "Type" } th.number { "In the store" } th { "Schema" } th { "Plug-ins that get it" }
            } }
            tbody {
                @for (event_type, entry) in &catalogue.events {
                    tr {
                        td { a href={ "#" (event_type) } { code { (event_type) } } }
                        td.number { (stored(entry)) }
                        td { (newest(entry)) }
                        td { (list(entry.consumers.iter())) }
                    }
                }
            }
        }
    }
}

fn stored(entry: &Entry) -> u64 {
    entry.channels.values().map(|channel| channel.events).sum()
}

fn newest(entry: &Entry) -> String {
    match entry.versions.keys().next_back() {
        Some(version) => format!("version {version}"),
        None => "none".to_owned(),
    }
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    match names.len() {
        0 => "nobody".to_owned(),
        _ => names.cloned().collect::<Vec<_>>().join(", "),
    }
}

fn plugins(catalogue: &Catalogue) -> Markup {
    html! {
        h2 { "Plug-ins and bridges" }
        table {
            thead { tr { th { "Name" } th { "Version" } th { "Hears" } th { "May emit" } th { "Hosts" } } }
            tbody {
                @for (name, plugin) in &catalogue.plugins { (row(name, plugin)) }
            }
        }
    }
}

fn row(name: &str, plugin: &Plugin) -> Markup {
    html! {
        tr {
            td { (name) }
            td { (plugin.version) }
            td {
                @for subject in &plugin.subjects { code { (subject) } br; }
                @for event_type in &plugin.types { "only " code { (event_type) } br; }
            }
            td { @for subject in &plugin.emit { code { (subject) } br; } }
            td { (list(plugin.hosts.iter())) }
        }
    }
}

fn section(catalogue: &Catalogue, event_type: &str, entry: &Entry) -> Markup {
    let named = |name: &String| {
        let version = catalogue
            .plugins
            .get(name)
            .map(|plugin| plugin.version.clone());
        format!("{name} {}", version.unwrap_or_default())
    };
    let consumers: Vec<String> = entry.consumers.iter().map(named).collect();
    let emitters: Vec<String> = entry.emitters.iter().map(named).collect();
    html! {
        section id=(event_type) {
            h2 { code { (event_type) } }
            @if entry.channels.is_empty() {
                p { "Nothing of it is in the event store: it was never sent, or has left." }
            } @else {
                table {
                    thead { tr { th { "Subject" } th.number { "Events" } th { "Sent by" } } }
                    tbody {
                        @for (place, channel) in &entry.channels {
                            tr {
                                td { code { (place) } }
                                td.number { (channel.events) }
                                td { (list(channel.sources.iter())) }
                            }
                        }
                    }
                }
            }
            p { "Plug-ins that get it: " (list(consumers.iter())) "." }
            p { "Plug-ins that may emit it: " (list(emitters.iter())) "." }
            @for version in entry.versions.values().rev() { (schema(version)) }
        }
    }
}

fn schema(version: &Version) -> Markup {
    html! {
        h3 { "Version " (version.version) }
        p.quiet { (version.origin) ", " (version.since) ", of " (version.seen) " bodies" }
        @match version.shape() {
            Err(error) => p { (error) },
            Ok(shape) => {
                table {
                    thead { tr { th { "Member" } th { "Kind" } th { "Always there" } } }
                    tbody { (members(&shape, "")) }
                }
            }
        }
    }
}

/// Each member below a place, and those below it.
fn members(shape: &Shape, path: &str) -> Markup {
    let below = |members: &Members| {
        html! {
            @for (name, member) in &members.named {
                @let path = format!("{path}/{name}");
                tr {
                    td { code { (path) } }
                    td { (kind(&member.shape)) }
                    td { @if member.required { "yes" } }
                }
                (self::members(&member.shape, &path))
            }
        }
    };
    html! {
        (below(&shape.members))
        @match &shape.content {
            Content::Pairs(pairs) => (below(pairs)),
            Content::Items(items) => (self::members(items, &format!("{path}/*"))),
            Content::Nothing | Content::Any => {},
        }
    }
}

fn kind(shape: &Shape) -> String {
    let names: Vec<&str> = shape.kinds.names().collect();
    let tags: Vec<&str> = shape.tags.iter().map(String::as_str).collect();
    match tags.as_slice() {
        [] => names.join(" or "),
        tags => format!("{} ({})", names.join(" or "), tags.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::catalogue;
    use super::*;

    #[test]
    fn what_is_known_stands_on_it_and_nothing_is_markup_that_came_from_outside() {
        let mut catalogue = catalogue();
        let odd = "<script>alert(1)</script>".to_owned();
        catalogue.events.insert(odd.clone(), Entry::default());
        let page = page(&catalogue, ("Events of <Contoso>", "2026-11-30T12:00:00Z"));
        for part in [
            "Events of &lt;Contoso&gt;",
            "d365.dataverse.account.update",
            "credit-hold 1.0.0",
            "/Depth",
            "it was never sent",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
        assert!(!page.contains(&odd), "a type became markup");
    }
}
