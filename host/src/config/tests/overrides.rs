//! The operator's word over the manifest's.

use std::time::Duration;

use super::{manifest, parse};
use crate::manifest::{Isolation, Manifest, Ordering};

#[test]
fn overrides_replace_and_what_they_do_not_name_stays() {
    let config = parse(
        "[plugin.credit-hold]\nordering = \"none\"\ntimeout = \"1s\"\nmax_attempts = 2\nisolation = \"fresh\"\nconfig = { limit = \"1\", more = \"2\" }",
    )
    .unwrap();
    let before = manifest("[delivery]\nmax_in_flight = 7\n[config]\nlimit = \"9\"\nkept = \"3\"");
    let after = config.apply(before.clone()).unwrap();
    assert_eq!(after.delivery.ordering, Ordering::None);
    assert_eq!(
        (after.delivery.max_in_flight, after.delivery.timeout),
        (7, Duration::from_secs(1))
    );
    assert_eq!(after.retry.max_attempts, 2);
    assert_eq!(after.retry.initial, before.retry.initial);
    assert_eq!(after.limits.isolation, Isolation::Fresh);
    let values: Vec<_> = after
        .config
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(values, ["kept=3", "limit=1", "more=2"]);

    let other = Manifest {
        name: "other".to_owned(),
        ..before
    };
    assert_eq!(config.apply(other.clone()).unwrap(), other);
    assert!(
        config.overrides_for("credit-hold").is_some() && config.overrides_for("other").is_none()
    );
}

#[test]
fn capabilities_only_narrow() {
    let asked = manifest(
        "[capabilities]\nhttp = [\"https://a.example\", \"https://b.example\"]\nemit = [\"d365.custom.>\", \"d365.fno.*.business\"]\nstate = true\nsecrets = [\"crm\"]",
    );
    for (narrowing, is_allowed) in [
        ("http = []", true),
        ("http = [\"https://A.example:443/\"]", true),
        ("http = [\"https://c.example\"]", false),
        ("http = [\"http://a.example\"]", false),
        ("http = [\"https://a.example:8443\"]", false),
        ("emit = [\"d365.custom.contoso.*\"]", true),
        ("emit = [\"d365.custom.>\"]", true),
        ("emit = [\"d365.fno.contoso.business\"]", true),
        ("emit = [\"d365.>\"]", false),
        ("emit = [\"d365.fno.contoso.*\"]", false),
        ("emit = [\"d365.custom.a\", \"d365.dataverse.a\"]", false),
        ("state = false", true),
        ("state = true", true),
        ("secrets = []", true),
        ("secrets = [\"erp\"]", false),
    ] {
        let config = parse(&format!("[plugin.credit-hold]\n{narrowing}")).unwrap();
        assert_eq!(
            config.apply(asked.clone()).is_ok(),
            is_allowed,
            "{narrowing}"
        );
    }
    let config = parse("[plugin.credit-hold]\n\nstate = true").unwrap();
    assert_eq!(
        config.apply(manifest("")).unwrap_err().to_string(),
        "sluice.toml:3: [plugin.credit-hold] state: found \"true\", which the manifest does not ask for; expected some of [], since this file may narrow a capability but not widen it"
    );
}

#[test]
fn overrides_must_go_with_the_manifest() {
    let config = parse("\n[plugin.credit-hold]\npartitions = 4").unwrap();
    let error = config.apply(manifest("")).unwrap_err().to_string();
    assert!(error.starts_with("sluice.toml:2: [plugin.credit-hold] with the plug-in's manifest: subjects: \"d365.dataverse.>\""), "{error}");
    let config = parse("[plugin.credit-hold]\ninitial = \"1h\"").unwrap();
    let error = config.apply(manifest("")).unwrap_err().to_string();
    assert!(
        error.contains("max: found 5m, which is less than initial = 1h"),
        "{error}"
    );
}
