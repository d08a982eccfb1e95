//! docs/config.md says what the code does.

use std::path::Path;

use super::{error, manifest, parse};
use crate::config::{
    Auth, Config, Credential, GatewaySource, Place, Projections, Proof, Role, Secret, SourceKind,
};
use crate::manifest::{Delivery, Limits, Retry, parse as parse_manifest};

/// The fenced TOML blocks of docs/config.md, in their order.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let [defaults, _, _] = documented().try_into().unwrap();
    assert_eq!(parse(&defaults).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_documented_options_are_read() {
    let [_, options, _] = documented().try_into().unwrap();
    let config = parse(&options).unwrap();
    assert_eq!(
        config.nats.server.to_string(),
        "nats://broker-1:4222,tls://broker-2:4222"
    );
    assert_eq!(
        config.nats.credentials.as_deref(),
        Some(Path::new("nats.creds"))
    );
    assert_eq!(
        config.nats.tls.key.as_deref(),
        Some(Path::new("client-key.pem"))
    );
    assert_eq!(
        config
            .events
            .sources
            .first()
            .map(|source| source.stream.as_str()),
        Some("ACME")
    );
    let key = Secret::new("hunter2".to_owned());
    let source = |environment: &str, kind, auth| GatewaySource {
        environment: environment.to_owned(),
        kind,
        auth,
        max_in_flight: 512,
        subscriptions: None,
        origins: None,
    };
    let by = |place| Auth::Key {
        place,
        key: key.clone(),
    };
    let query = || by(Place::Query("code".to_owned()));
    let header = by(Place::Header("x-key".to_owned()));
    let event_grid = GatewaySource {
        subscriptions: Some(vec!["contoso-orders".to_owned()]),
        origins: Some(vec!["eventgrid.azure.net".to_owned()]),
        ..source("contoso", SourceKind::EventGrid, query())
    };
    assert_eq!(
        config.gateway.sources,
        [
            source("contoso", SourceKind::Dataverse, query()),
            source("contoso", SourceKind::Fno, header),
            event_grid,
            source("lab", SourceKind::CloudEvents, Auth::None),
        ]
    );
    assert_eq!(config.http.private, ["crm.corp.local"]);
    let crm = &config.secrets["crm"];
    assert_eq!(crm.origin.to_string(), "https://contoso.crm.dynamics.com");
    let Credential::ClientCredentials { scope, .. } = &crm.credential else {
        panic!("{crm:?}");
    };
    assert_eq!(scope, "https://contoso.crm.dynamics.com/.default");
    let erp = Credential::Header {
        name: "x-api-key".to_owned(),
        value: key.clone(),
    };
    assert_eq!(config.secrets["erp"].credential, erp);
    let tls = config.gateway.tls.as_ref().unwrap();
    assert_eq!(tls.key, Path::new("gateway-key.pem"));
    assert_eq!(config.admin.token, Some(key.clone()));
    assert!(config.admin.tls.as_ref().unwrap().client_ca.is_some());
    assert_eq!(config.admin.mask.len(), 1);
    let [vera, carl] = config.admin.users.as_slice() else {
        panic!("{:?}", config.admin.users);
    };
    assert_eq!((vera.role, &vera.proof), (Role::Viewer, &Proof::Token(key)));
    let certificate = Proof::Certificate("carl@contoso".to_owned());
    assert_eq!((carl.role, &carl.proof), (Role::Operator, &certificate));
    assert_eq!(
        config.telemetry.otlp.as_deref(),
        Some("http://127.0.0.1:4317")
    );
    assert_eq!(config.telemetry.sample, 0.1);
    let Projections::Postgresql(postgresql) = &config.projections else {
        panic!("{:?}", config.projections);
    };
    assert_eq!(postgresql.config.get_dbname(), Some("projections"));
    assert_eq!(postgresql.ca.as_deref(), Some(Path::new("db-ca.pem")));
    let applied = config
        .apply(manifest("[capabilities]\nemit = [\"d365.custom.>\"]"))
        .unwrap();
    assert_eq!(applied.delivery.max_in_flight, 16);
    assert_eq!(applied.limits.memory, 64 << 20);
    assert_eq!(applied.capabilities.emit, ["d365.custom.contoso.>"]);
    assert_eq!(applied.config.get("limit").map(String::as_str), Some("1"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_documented_manifest_shows_the_defaults() {
    let [_, _, example] = documented().try_into().unwrap();
    let manifest = parse_manifest(&example, "plugin.toml").unwrap();
    assert_eq!(manifest.delivery, Delivery::default());
    assert_eq!(manifest.retry, Retry::default());
    assert_eq!(manifest.limits, Limits::default());
}

#[test]
fn every_known_key_is_documented() {
    let all = documented().concat();
    for table in [
        "nats",
        "nats.tls",
        "host",
        "events",
        "ledger",
        "gateway",
        "admin",
        "telemetry",
        "projections",
        "plugin.x",
    ] {
        let error = error(&format!("[{table}]\nzzz = 1"));
        let (start, keys) = error.split_once("; allowed: ").unwrap();
        assert_eq!(
            start,
            format!("sluice.toml:2: unknown key \"zzz\" in [{table}]")
        );
        for key in keys
            .split(", ")
            .filter(|key| !matches!(*key, "token_file" | "source" | "user"))
        {
            assert!(
                all.contains(&format!("{key} = ")) || all.contains(&format!("[{key}]")),
                "[{table}] {key}"
            );
        }
    }
}
