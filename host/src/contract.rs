//! Takes `wit/`, gives the contract between host and plug-in: as a package, and as a page to read.

mod reference;

use wit_component::metadata::Bindgen;
use wit_parser::{PackageId, Resolve};

pub use reference::reference;

/// What every name of the contract begins with.
const PREFIX: &str = "sluicegate:plugin/";
/// The version that `wit/` has.
pub const VERSION: &str = "0.1.0";
/// What a plug-in with a grant of `http` may import beside it.
pub const HTTP: &str = "wasi:http/outgoing-handler@0.2.12";
/// The versions that this host serves: `0.1.` and any number. Before 1.0 the second number is
/// what semantic versioning calls a major one.
const SERVED: &str = "0.1";

/// All of `wit/` as one file; the one with the package's name comes first.
const WIT: &str = concat!(
    include_str!("../../wit/types.wit"),
    include_str!("../../wit/host.wit"),
    include_str!("../../wit/consumer.wit"),
    include_str!("../../wit/migration.wit"),
    include_str!("../../wit/saga.wit"),
    include_str!("../../wit/projection.wit"),
    include_str!("../../wit/world.wit"),
);

/// What `wasi:http` consists of, in the order in which each needs the ones before it.
const WASI: [&str; 3] = [
    include_str!("../../wit/deps/io.wit"),
    include_str!("../../wit/deps/clocks.wit"),
    include_str!("../../wit/deps/http.wit"),
];

/// The contract, and what of WASI a plug-in may have beside it.
///
/// # Errors
/// When `wit/` is no WIT, which the tests see.
pub fn resolve() -> Result<(Resolve, PackageId), String> {
    let mut resolve = Bindgen::default().resolve;
    let read = |resolve: &mut Resolve, wit| {
        resolve
            .push_str("wit", wit)
            .map_err(|error| format!("{error:#}"))
    };
    for wit in WASI {
        read(&mut resolve, wit)?;
    }
    let package = read(&mut resolve, WIT)?;
    Ok((resolve, package))
}

/// Whether this names an interface of the contract, in a version that this host serves.
pub fn is_served(name: &str, interface: &str) -> bool {
    let version = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix(interface))
        .and_then(|rest| rest.strip_prefix('@'));
    version.is_some_and(serves)
}

/// The version of the contract that a name has and this host does not serve.
pub fn other_version(name: &str) -> Option<&str> {
    let (_, version) = name.strip_prefix(PREFIX)?.split_once('@')?;
    (!serves(version)).then_some(version)
}

/// What to do about a plug-in that was built against another version.
pub fn remedy(version: &str) -> String {
    format!(
        "it was built against sluicegate:plugin@{version}, and this host serves {SERVED}: build it \
         against the contract that `sluice wit` gives, or run it on a host that serves {version}"
    )
}

/// By semantic versioning; a later one that adds something is found out when it is linked.
fn serves(version: &str) -> bool {
    let rest = version.strip_prefix(SERVED);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use wit_parser::WorldId;

    use super::*;

    /// The contract as it was released. It is never edited: plug-ins were built against it.
    const RELEASED: &str = include_str!("contract/0.1.0.wit");
    const WORLDS: [&str; 2] = ["consumer-plugin", "migrating-plugin"];

    /// Whether a plug-in that was built against the released contract is served by this one.
    fn check(now: &str) -> Result<(), String> {
        // Two packages of one name need versions that differ; what they are is not compared.
        let before = RELEASED.replace("sluicegate:plugin@0.1.0", "sluicegate:plugin@0.0.1");
        for world in WORLDS {
            let mut resolve = Resolve::default();
            let mut world_of = |wit: &str| -> Result<WorldId, String> {
                let read = |error| format!("{error:#}");
                let package = resolve.push_str("wit", wit).map_err(read)?;
                resolve.select_world(&[package], Some(world)).map_err(read)
            };
            let (before, now) = (world_of(&before)?, world_of(now)?);
            wit_component::semver_check(resolve, before, now)
                .map_err(|error| format!("{world}: {error:#}"))?;
        }
        Ok(())
    }

    #[test]
    fn what_was_built_against_the_released_contract_is_served() {
        check(WIT).unwrap();
    }

    #[test]
    fn a_change_that_would_break_plug_ins_is_found() {
        for (from, to) in [
            ("delete: func(key: string);", ""),
            (
                "get: func(key: string) -> option<list<u8>>;",
                "get: func(key: string) -> list<u8>;",
            ),
            (
                "traceparent: option<string>,",
                "traceparent: option<string>, tenant: string,",
            ),
            ("reject(string),", "reject(string), expired,"),
            ("enum level { trace,", "enum level {"),
            (
                "    export consumer;",
                "    export consumer;\n    export extra: func();",
            ),
        ] {
            assert!(WIT.contains(from), "{from}");
            assert!(check(&WIT.replace(from, to)).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn an_interface_more_breaks_nothing() {
        let more = WIT.replace(
            "    import outbox;",
            "    import outbox;\n    import clock;",
        );
        let more = more + "interface clock { now: func() -> u64; }";
        check(&more).unwrap();
    }

    #[test]
    fn the_version_is_that_of_the_files() {
        assert!(WIT.contains(&format!("package sluicegate:plugin@{VERSION};")));
        assert!(serves(VERSION));
    }

    #[test]
    fn versions_are_told_apart() {
        assert!(is_served("sluicegate:plugin/consumer@0.1.0", "consumer"));
        assert!(is_served("sluicegate:plugin/consumer@0.1.7", "consumer"));
        for other in ["0.2.0", "0.10.0", "1.1.0"] {
            let name = format!("sluicegate:plugin/consumer@{other}");
            assert!(!is_served(&name, "consumer"), "{other}");
            assert_eq!(other_version(&name), Some(other));
        }
        assert!(!is_served("sluicegate:plugin/consumers@0.1.0", "consumer"));
        assert_eq!(other_version("sluicegate:plugin/log@0.1.3"), None);
        assert_eq!(other_version("wasi:io/streams@0.2.12"), None);
    }
}
