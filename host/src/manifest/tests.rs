//! What a manifest gives, and what it says when something is wrong.

use std::time::Duration;

use super::*;

mod subscribe;

const FULL: &str = r#"
[plugin]
name = "credit-hold"
version = "1.2.0"
[subscribe]
subjects = ["d365.dataverse.*.record.account.*"]
types = ["d365.dataverse.account.update", "d365.fno.*"]
where = "EXISTS d365user AND d365depth < 3"
[delivery]
ordering = "strict"
max_in_flight = 16
partitions = 4
timeout = "250ms"
ttl = "7d"
[retry]
max_attempts = 3
initial = "2s"
factor = 1.5
max = "1m"
jitter = 0
on_exhausted = "block-key"
[limits]
memory = "64MiB"
isolation = "fresh"
[capabilities]
http = ["https://Contoso.crm.dynamics.com:443/", "http://127.0.0.1:8080"]
emit = ["d365.custom.>"]
state = true
secrets = ["crm"]
[config]
limit = "50000"
"#;

const LEAST: &str = r#"
[plugin]
name = "a"
version = "1"
[subscribe]
subjects = ["d365.dataverse.>"]
"#;

/// A manifest with these lines after its `[subscribe]`, from line 6 on.
fn with(lines: &str) -> String {
    format!(
        "[plugin]\nname = \"a\"\nversion = \"1\"\n[subscribe]\nsubjects = [\"d365.a\"]\n{lines}\n"
    )
}

fn error(text: &str) -> String {
    parse(text, "plugin.toml").expect_err(text).to_string()
}

#[test]
fn reads_every_key() {
    let manifest = parse(FULL, "plugin.toml").unwrap();
    assert_eq!(
        (manifest.name.as_str(), manifest.version.as_str()),
        ("credit-hold", "1.2.0")
    );
    assert_eq!(
        manifest.subscribe.subjects,
        ["d365.dataverse.*.record.account.*"]
    );
    assert_eq!(
        manifest.subscribe.types,
        [
            TypePattern::Exact("d365.dataverse.account.update".to_owned()),
            TypePattern::Prefix("d365.fno.".to_owned())
        ]
    );
    assert_eq!(
        manifest.subscribe.filter.as_deref(),
        Some("EXISTS d365user AND d365depth < 3")
    );
    assert_eq!(
        manifest.delivery,
        Delivery {
            ordering: Ordering::Strict,
            max_in_flight: 16,
            partitions: 4,
            timeout: Duration::from_millis(250),
            ttl: Some(Duration::from_secs(7 * 86400)),
        }
    );
    assert_eq!(
        manifest.retry,
        Retry {
            max_attempts: 3,
            initial: Duration::from_secs(2),
            factor: 1.5,
            max: Duration::from_secs(60),
            jitter: 0.0,
            on_exhausted: OnExhausted::BlockKey,
        }
    );
    assert_eq!(
        manifest.limits,
        Limits {
            memory: 64 << 20,
            isolation: Isolation::Fresh,
            state_history: None,
        }
    );
    assert_eq!(
        manifest.capabilities,
        Capabilities {
            http: vec![
                "https://contoso.crm.dynamics.com".into(),
                "http://127.0.0.1:8080".into()
            ],
            emit: vec!["d365.custom.>".into()],
            state: true,
            secrets: vec!["crm".into()],
        }
    );
    assert_eq!(
        manifest.config.get("limit").map(String::as_str),
        Some("50000")
    );
}

#[test]
fn fills_in_defaults() {
    let manifest = parse(LEAST, "plugin.toml").unwrap();
    assert_eq!(manifest.delivery, Delivery::default());
    assert_eq!(manifest.delivery.ttl, None);
    assert_eq!(manifest.retry, Retry::default());
    assert_eq!(manifest.limits.memory, 32 << 20);
    assert_eq!(manifest.capabilities, Capabilities::default());
    assert!(manifest.subscribe.types.is_empty() && manifest.config.is_empty());
    assert_eq!(
        parse(&with("[delivery]\nttl = \"none\""), "p")
            .unwrap()
            .delivery
            .ttl,
        None
    );
}

#[test]
fn errors_name_file_line_key_found_and_allowed() {
    assert_eq!(
        error(&with("[delivery]\nmax_inflight = 3")),
        "plugin.toml:7: unknown key \"max_inflight\" in [delivery]; allowed: ordering, max_in_flight, partitions, timeout, ttl"
    );
    assert_eq!(
        error(&with("[retries]\nmax = 1")),
        "plugin.toml:6: unknown key \"retries\" at the top level; allowed: plugin, subscribe, delivery, retry, limits, capabilities, config, saga, projection, reads"
    );
    assert_eq!(
        error(&with("[delivery]\n\ntimeout = \"2 parsecs\"")),
        "plugin.toml:8: [delivery] timeout: found \"2 parsecs\", expected a duration such as \"5s\", from 1ms to 10m"
    );
    assert_eq!(
        error(&with(
            "[capabilities]\nemit = [\n  \"d365.custom.>\",\n  \"orders.>\",\n]"
        )),
        format!(
            "plugin.toml:9: [capabilities] emit: found \"orders.>\", expected {}",
            subject::EMIT
        )
    );
    assert_eq!(
        error(&with("[capabilities]\nemit = \"d365.custom.>\"")),
        "plugin.toml:7: [capabilities] emit: found \"d365.custom.>\", expected a list of strings"
    );
    assert_eq!(
        error("delivery = 3"),
        "plugin.toml:1: delivery: found 3, expected a table"
    );
    assert_eq!(
        error("[plugin]\nversion = \"1\""),
        "plugin.toml: [plugin] name is missing; expected 1 to 63 lower-case letters, digits and -"
    );
    assert!(error("[plugin").starts_with("plugin.toml:1: not valid TOML: "));
    assert!(
        error("[plugin]\nname = \"a\"\nname = \"b\"")
            .starts_with("plugin.toml:3: not valid TOML: duplicate key")
    );
}

#[test]
fn every_bad_value_is_refused_at_its_line() {
    // (lines after [subscribe], the last of which is the bad one, part of the error)
    for (lines, part) in [
        ("types = [\"\"]", "[subscribe] types"),
        ("types = [\"a*b\"]", "[subscribe] types"),
        ("types = [\"a b\"]", "[subscribe] types"),
        ("types = [5]", "found 5"),
        ("where = \"\"", "[subscribe] where"),
        (
            "[delivery]\nordering = \"fifo\"",
            "\"key\" or \"none\" or \"strict\"",
        ),
        ("[delivery]\nmax_in_flight = 0", "from 1 to 10000"),
        ("[delivery]\nmax_in_flight = 10001", "from 1 to 10000"),
        (
            "[delivery]\nmax_in_flight = \"16\"",
            "found \"16\", expected a whole number",
        ),
        (
            "[delivery]\nmax_in_flight = 1.5",
            "found 1.5, expected a whole number",
        ),
        ("[delivery]\npartitions = 3", "1, 2, 4, 8 or 16"),
        ("[delivery]\npartitions = 32", "[delivery] partitions"),
        ("[delivery]\ntimeout = \"0s\"", "from 1ms to 10m"),
        ("[delivery]\ntimeout = \"11m\"", "from 1ms to 10m"),
        ("[delivery]\ntimeout = 5", "found 5, expected a duration"),
        ("[delivery]\ntimeout = \"5\"", "expected a duration"),
        ("[delivery]\nttl = \"never\"", "or \"none\""),
        ("[retry]\nmax_attempts = 0", "from 1 to"),
        ("[retry]\nmax_attempts = -1", "from 1 to"),
        ("[retry]\nfactor = 0.5", "from 1.0 to 100.0"),
        ("[retry]\nfactor = nan", "from 1.0 to 100.0"),
        ("[retry]\njitter = 1.1", "from 0.0 to 1.0"),
        ("[retry]\njitter = -0.1", "from 0.0 to 1.0"),
        (
            "[retry]\non_exhausted = \"drop\"",
            "\"dead-letter\" or \"block-key\"",
        ),
        (
            "[delivery]\nordering = \"none\"\n[retry]\non_exhausted = \"block-key\"",
            "delivery.ordering is \"none\"",
        ),
        (
            "[retry]\ninitial = \"1h\"\nmax = \"1m\"",
            "less than initial",
        ),
        ("[limits]\nmemory = \"1KiB\"", "from 64.0 KiB to 4.0 GiB"),
        ("[limits]\nmemory = \"5GiB\"", "from 64.0 KiB to 4.0 GiB"),
        (
            "[limits]\nmemory = 33554432",
            "expected a size such as \"32MiB\"",
        ),
        (
            "[limits]\nmemory = \"32 potatoes\"",
            "expected a size such as \"32MiB\"",
        ),
        ("[limits]\nisolation = \"cold\"", "\"warm\" or \"fresh\""),
        ("[capabilities]\nstate = \"yes\"", "expected true or false"),
        ("[capabilities]\nstate = \"true\"", "expected true or false"),
        (
            "[capabilities]\nhttp = [\"contoso.com\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"ftp://contoso.com\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"https://contoso.com/api/../x\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"https://*.contoso.com\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"https://me@contoso.com\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"https://contoso.com?x\"]",
            "expected an origin",
        ),
        (
            "[capabilities]\nhttp = [\"https://a.com\", \"https://A.com:443\"]",
            "each entry once",
        ),
        (
            "[capabilities]\nemit = [\"d365.a.b.c.d.e.f\"]",
            "at most 6 tokens",
        ),
        ("[capabilities]\nemit = [\">\"]", "starts with d365."),
        (
            "[capabilities]\nemit = [\"d365.replay.other\"]",
            "not d365.replay.",
        ),
        (
            "[capabilities]\nsecrets = [\"a b\"]",
            "[capabilities] secrets",
        ),
        (
            "[config]\nlimit = 5",
            "[config] limit: found 5, expected a string",
        ),
    ] {
        let error = error(&with(lines));
        let line = 5 + lines.lines().count();
        assert!(
            error.starts_with(&format!("plugin.toml:{line}: ")),
            "{lines}: {error}"
        );
        assert!(error.contains(part), "{lines}: {error}");
    }
}

#[test]
fn names_and_versions() {
    let named = |name: &str, version: &str| {
        let text = format!(
            "[plugin]\nname = {name:?}\nversion = {version:?}\n[subscribe]\nsubjects = [\"d365.a\"]\n"
        );
        parse(&text, "plugin.toml").map_err(|error| error.to_string())
    };
    let longest = "a".repeat(63);
    for (name, version) in [("a", "1"), (&*longest, "2.0.0-rc.1+5"), ("0-9", "v1")] {
        assert!(named(name, version).is_ok(), "{name} {version}");
    }
    let too_long = "a".repeat(64);
    for name in [
        "", "A", "a_b", "a.b", "ä", "out", "dead", "gateway", &too_long,
    ] {
        assert!(
            named(name, "1").unwrap_err().contains(":2: [plugin] name"),
            "{name}"
        );
    }
    for version in ["", "1 2", "1/2", "ü", &too_long] {
        assert!(
            named("a", version)
                .unwrap_err()
                .contains(":3: [plugin] version"),
            "{version}"
        );
    }
}

#[test]
fn types_match_exactly_or_by_their_start() {
    let exact = TypePattern::parse("d365.fno.a").unwrap();
    assert!(exact.matches("d365.fno.a") && !exact.matches("d365.fno.ab"));
    let prefix = TypePattern::parse("d365.fno.*").unwrap();
    assert!(prefix.matches("d365.fno.a") && !prefix.matches("d365.fn"));
    assert!(TypePattern::parse("*").unwrap().matches("anything"));
}

#[test]
fn what_is_read_is_a_type_with_members_and_each_type_once() {
    let start = "[plugin]\nname = \"a\"\nversion = \"1\"\n[subscribe]\nsubjects = [\"d365.a.>\"]\n";
    let parsed = |more: &str| parse(&format!("{start}{more}"), "plugin.toml");
    let one = "[[reads]]\ntype = \"d365.a\"\nversion = 2\nmembers = [\"/x/y\"]\n";
    let manifest = parsed(one).unwrap();
    let [reads] = manifest.reads.as_slice() else {
        panic!("{:?}", manifest.reads);
    };
    assert_eq!(
        (reads.event_type.as_str(), reads.version),
        ("d365.a", Some(2))
    );
    for (path, concerns) in [
        ("/x", true),
        ("/x/y/z", true),
        ("/x/yy", false),
        ("/z", false),
    ] {
        assert_eq!(reads.concerns(path), concerns, "{path}");
    }
    assert!(parsed("").unwrap().reads.is_empty());
    let twice = format!("{one}{one}");
    for (more, part) in [
        ("[[reads]]\nmembers = []\n", "[[reads]] type is missing"),
        (
            "[[reads]]\ntype = \"a*\"\n",
            "plugin.toml:7: [[reads]] type",
        ),
        (
            "[[reads]]\ntype = \"a\"\nmembers = [\"x\"]\n",
            "plugin.toml:8: [[reads]] members",
        ),
        (
            "[[reads]]\ntype = \"a\"\nversion = 0\n",
            "plugin.toml:8: [[reads]] version",
        ),
        (
            "[[reads]]\ntype = \"a\"\nmember = []\n",
            "unknown key \"member\" in [[reads]]",
        ),
        (twice.as_str(), "twice"),
    ] {
        let error = parsed(more).unwrap_err().to_string();
        assert!(error.contains(part), "{more}: {error}");
    }
}
