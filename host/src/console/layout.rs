//! Takes the middle of a page, gives the page around it.

use maud::{DOCTYPE, Markup, html};

use crate::admin::Person;
use crate::config::Role;

/// Where in the console a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Flow,
    PlugIns,
    Events,
    DeadLetters,
    Sagas,
    Schemas,
    Hosts,
    Audit,
    None,
}

const PLACES: [(Place, &str, &str); 8] = [
    (Place::Flow, "/", "Flow"),
    (Place::PlugIns, "/plug-ins", "Plug-ins"),
    (Place::Events, "/events", "Events"),
    (Place::DeadLetters, "/dead-letters", "Dead letters"),
    (Place::Sagas, "/sagas", "Sagas"),
    (Place::Schemas, "/schemas", "Schemas"),
    (Place::Hosts, "/hosts", "Hosts"),
    (Place::Audit, "/audit", "Audit"),
];

/// The whole page. `person` is who looks at it, and whether they can leave.
pub(super) fn layout(
    host: &str,
    person: Option<(&Person, bool)>,
    place: Place,
    title: &str,
    middle: &Markup,
    is_live: bool,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Sluicegate" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" { (gate()) span { "Sluicegate" } }
                    @if person.is_some() {
                        nav aria-label="Pages" {
                            @for (this, href, name) in PLACES {
                                a href=(href) aria-current=[(this == place).then_some("page")] { (name) }
                            }
                        }
                    }
                    @if let Some((person, can_leave)) = person {
                        div.person {
                            span { (person.name) " · " (role(person.role)) }
                            @if can_leave {
                                form method="post" action="/logout" { button.quiet { "Sign out" } }
                            }
                        }
                    }
                }
                main #main data-live[is_live] tabindex="-1" { (middle) }
                footer {
                    span { "Host " strong { (host) } " · sluice " (env!("CARGO_PKG_VERSION")) }
                    @if is_live { span #pulse role="status" { "Live" } }
                }
            }
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
    }
}

/// The mark: a gate half up, and what flows under it.
fn gate() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path.frame d="M4 3v18M20 3v18" {}
            path.gate d="M4 5h16v7H4z" {}
            path.water d="M4 17c2-1.5 4-1.5 6 0s4 1.5 6 0 3-1.5 4-1" {}
        }
    }
}
