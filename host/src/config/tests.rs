//! What the daemon's file gives, and what it says when something is wrong.

use std::path::Path;

use super::*;

mod bridges;
mod documented;
mod kafka;
mod overrides;

fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "NATS_URL" => "nats://sluice:hunter2@broker-1:4222,tls://broker-2",
        "CONTOSO_KEY" | "ADMIN_TOKEN" | "VERA_TOKEN" | "CRM_SECRET" | "ERP_KEY" => "hunter2",
        "PROJECTIONS_URL" => "postgresql://sluice:hunter2@db-1/projections",
        "EMPTY" => "",
        "ONE" => "1",
        "YES" => "true",
        "DELAY" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, "sluice.toml", Path::new(""), &lookup)
}

fn error(text: &str) -> String {
    let error = parse(text).expect_err(text).to_string();
    assert!(!error.contains("hunter2"), "a secret in: {error}");
    error
}

fn manifest(lines: &str) -> Manifest {
    let text = format!(
        "[plugin]\nname = \"credit-hold\"\nversion = \"1\"\n[subscribe]\nsubjects = [\"d365.dataverse.>\"]\n{lines}\n"
    );
    manifest::parse(&text, "plugin.toml").unwrap()
}

#[test]
fn where_projections_are_kept_is_said_whole_and_without_a_password() {
    let url = |text: &str| format!("[projections]\nstore = \"postgresql\"\nurl = \"{text}\"");
    for (text, words) in [
        (
            "[projections]\nstore = \"mysql\"".to_owned(),
            &[
                "sluice.toml:2: [projections] store: found \"mysql\"",
                "\"sqlite\" or \"postgresql\"",
            ][..],
        ),
        (
            "[projections]\nstore = \"postgresql\"".to_owned(),
            &["[projections] url is missing", "postgresql://user"],
        ),
        (
            "[projections]\nurl = \"postgresql://db/p\"".to_owned(),
            &["[projections] url", "store = \"postgresql\""],
        ),
        (
            url("mysql://db/p"),
            &["sluice.toml:3: [projections] url", "postgresql://user"],
        ),
        (url("postgresql:///p"), &["[projections] url"]),
        (url("postgresql://db"), &["[projections] url"]),
        (
            url("postgresql://u:secret@db/p"),
            &["[projections] url", "${NAME}"],
        ),
    ] {
        let error = error(&text);
        for word in words {
            assert!(error.contains(word), "{text}: {error}");
        }
    }
    let config = parse(&url("${PROJECTIONS_URL}")).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(matches!(config.projections, Projections::Postgresql(_)));
}

#[test]
fn errors_name_file_line_key_found_and_allowed() {
    for (text, expected) in [
        (
            "[ledger]\n\ncommit_delay = \"2 parsecs\"",
            "sluice.toml:3: [ledger] commit_delay: found \"2 parsecs\", expected a duration such as \"2ms\", from 0s to 1s",
        ),
        (
            "[ledgers]\nmode = \"on\"",
            "sluice.toml:1: unknown key \"ledgers\" at the top level; allowed: nats, host, events, ledger, gateway, admin, telemetry, http, projections, schemas, secret, plugins, bridge, plugin",
        ),
        (
            "[host]\nname = \"${MISSING}\"",
            "sluice.toml:2: [host] name: environment variable MISSING is not set; set it, or write the value here",
        ),
        (
            "[[gateway.source]]\nenvironment = \"a\"\nkind = \"fno\"\nauth = { query = \"code\", key = \"${NOPE}\" }",
            "sluice.toml:4: [gateway.source.auth] key: environment variable NOPE is not set; set it, or write the value here",
        ),
        (
            "[[gateway.source]]\nenvironment = \"a\"\nkinds = \"fno\"",
            "sluice.toml:3: unknown key \"kinds\" in [[gateway.source]]; allowed: environment, kind, auth, max_in_flight, subscriptions, origins",
        ),
        (
            "[plugin.a]\nmax_inflight = 1",
            "sluice.toml:2: unknown key \"max_inflight\" in [plugin.a]; allowed: ordering, max_in_flight, partitions, timeout, ttl, max_attempts, initial, factor, max, jitter, on_exhausted, memory, isolation, state_history, http, emit, state, secrets, digest, config",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn every_bad_value_is_refused_at_its_line() {
    // (text whose last line is the bad one, part of the error)
    for (text, part) in [
        ("[nats]\nurl = \"\"", "[nats] url: found \"\""),
        (
            "[nats]\nurl = \"http://a\"",
            "expected \"embedded\" or addresses",
        ),
        (
            "[nats]\nurl = \"http://me:hunter2@a\"",
            "found \"http://***@a\"",
        ),
        (
            "[nats]\nurl = \"nats://me:hunter2@a\"",
            "a user or a password in the file",
        ),
        ("[nats]\nurl = 4222", "found 4222"),
        ("[nats]\nreplicas = 2", "1, 3 or 5"),
        ("[nats]\nreplicas = 7", "from 1 to 5"),
        (
            "[nats]\ntls = { cert = \"a.pem\" }",
            "expected both or none",
        ),
        ("[nats]\ncredentials = \"\"", "expected a path"),
        ("[host]\nname = \"a b\"", "1 to 63 letters"),
        ("[host]\nname = \"host.1\"", "1 to 63 letters"),
        ("[host]\ndata_dir = \"\"", "expected a path"),
        ("[host]\nshutdown_grace = \"2d\"", "from 0s to 1day"),
        (
            "[events]\nmax_bytes = \"10\"",
            "expected a size such as \"10GiB\"",
        ),
        (
            "[events]\nmax_bytes = 10",
            "expected a size such as \"10GiB\"",
        ),
        (
            "[events]\nmax_age = \"0s\"",
            "expected a duration such as \"30d\"",
        ),
        (
            "[events]\nmax_age = \"5m\"\ndedup_window = \"10m\"",
            "longer than max_age",
        ),
        (
            "[events]\nmax_age = \"1d\"\nkeep = { record = \"2d\" }",
            "longer than max_age",
        ),
        (
            "[events]\nkeep = { account = \"2d\" }",
            "unknown key \"account\"",
        ),
        (
            "[events]\nsources = [{ stream = \"A\", filter = \"a.>\" }]",
            "to is missing",
        ),
        (
            "[events]\nsources = [{ stream = \"A B\", filter = \"a.>\", to = \"d365.a\" }]",
            "the name of a stream",
        ),
        (
            "[events]\nsources = [{ stream = \"A\", filter = \"a.>.b\", to = \"d365.a\" }]",
            "[[events.sources]] filter",
        ),
        (
            "[events]\nsources = [{ stream = \"A\", filter = \"a.>\", to = \"acme.a\" }]",
            "starts with d365.",
        ),
        ("[events]\nsources = \"A\"", "found \"A\", expected a list"),
        ("[ledger]\nmode = \"auto\"", "\"on\" or \"off\""),
        ("[ledger]\ncommit_events = 0", "from 1 to 1000"),
        ("[ledger]\ncommit_events = 1001", "from 1 to 1000"),
        ("[ledger]\ncommit_events = \"many\"", "from 1 to 1000"),
        (
            "[ledger]\ncommit_delay = \"${DELAY}\"",
            "found \"${DELAY}\", expected a duration",
        ),
        ("[gateway]\nlisten = \"8365\"", "an IP address with a port"),
        (
            "[gateway]\nlisten = \"localhost:8365\"",
            "an IP address with a port",
        ),
        ("[gateway]\nspool = \"no\"", "true or false"),
        ("[admin]\nlisten = \"0.0.0.0:9365\"", "no token"),
        ("[admin]\ntoken = \"hunter2\"", "written out in the file"),
        (
            "[admin]\ntoken = \"$${hunter2}\"",
            "written out in the file",
        ),
        ("[admin]\nmask = [\"secret\"]", "a JSON pointer"),
        (
            "[admin]\nuser = [{ name = \"v\", token = \"${VERA_TOKEN}\" }]",
            "role",
        ),
        (
            "[admin]\nuser = [{ name = \"v\", role = \"king\", token = \"${VERA_TOKEN}\" }]",
            "\"viewer\" or \"operator\"",
        ),
        (
            "[admin]\nuser = [{ name = \"v\", role = \"viewer\" }]",
            "both or none of token and certificate",
        ),
        (
            "[admin]\nuser = [{ name = \"v\", role = \"viewer\", certificate = \"v\" }]",
            "client_ca",
        ),
        (
            "[admin]\nuser = [{ name = \"operator\", role = \"viewer\", token = \"${VERA_TOKEN}\" }]",
            "a name that is taken",
        ),
        ("[admin]\ntls = { cert = \"c\" }", "both cert and key"),
        ("[admin]\ntoken = 5", "written out in the file"),
        ("[admin]\ntoken = \"${EMPTY}\"", "the variable is empty"),
        (
            "[admin]\ntoken = \"${ADMIN_TOKEN}\"\ntoken_file = \"t\"",
            "together with token",
        ),
        ("[admin]\ntoken_file = \"no-such-file\"", "cannot be read"),
        ("[telemetry]\nlog = \"xml\"", "\"text\" or \"json\""),
        (
            "[telemetry]\notlp = \"127.0.0.1:4317\"",
            "an address such as",
        ),
        ("[telemetry]\nsample = 1.5", "from 0.0 to 1.0"),
        (
            "[plugin.a]\npartitions = 3",
            "[plugin.a] partitions: found 3",
        ),
        (
            "[plugin.a]\nhttp = [\"contoso\"]",
            "[plugin.a] http: found \"contoso\"",
        ),
        (
            "[plugin.a]\nconfig = { limit = 1 }",
            "[plugin.a] limit: found 1, expected a string",
        ),
        ("[plugin]\na = 1", "found 1, expected a table"),
        ("nats = \"a\"", "nats: found \"a\", expected a table"),
        ("[nats\n", "not valid TOML"),
    ] {
        let error = error(text);
        let line = text.lines().count();
        let is_placed = error.starts_with(&format!("sluice.toml:{line}: "));
        assert!(is_placed || error.contains("is missing"), "{text}: {error}");
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn event_grid_names_whom_it_answers() {
    let start = "[[gateway.source]]\nenvironment = \"a\"\nauth = \"none-i-am-sure\"\n";
    let lists = "subscriptions = [\"orders\"]\norigins = [\"eventgrid.azure.net\"]\n";
    let config = parse(&format!("{start}kind = \"eventgrid\"\n{lists}")).unwrap();
    let source = &config.gateway.sources[0];
    assert_eq!(
        source.subscriptions.as_deref(),
        Some(&["orders".to_owned()][..])
    );
    assert_eq!(source.max_in_flight, 512);
    let error = error(&format!("{start}kind = \"fno\"\n{lists}"));
    assert!(
        error.contains(":5: [[gateway.source]] subscriptions: found in a source of another kind"),
        "{error}"
    );
}

#[test]
fn gateway_sources_need_all_their_keys() {
    let start = "[[gateway.source]]\nenvironment = \"a\"\nkind = \"fno\"\n";
    for (auth, part) in [
        ("", "[[gateway.source]] auth is missing"),
        (
            "auth = \"none\"",
            ":4: [[gateway.source]] auth: found \"none\"",
        ),
        ("auth = 5", ":4: [[gateway.source]] auth: found 5"),
        ("auth = { query = \"code\" }", "auth.key is missing"),
        (
            "auth = { key = \"${CONTOSO_KEY}\" }",
            ":4: [[gateway.source]] auth: found both or none",
        ),
        (
            "auth = { query = \"a\", header = \"b\", key = \"${CONTOSO_KEY}\" }",
            "found both or none",
        ),
        (
            "auth = { query = \"code\", key = \"hunter2\" }",
            ":4: [[gateway.source]] auth.key: found a secret",
        ),
        (
            "auth = { query = \"a b\", key = \"${CONTOSO_KEY}\" }",
            ":4: [[gateway.source]] auth.query",
        ),
        (
            "auth = { querry = \"a\" }",
            ":4: unknown key \"querry\" in [gateway.source.auth]; allowed: query, header, key, key_file",
        ),
    ] {
        let error = error(&format!("{start}{auth}"));
        assert!(error.contains(part), "{auth}: {error}");
    }
    let twice = format!("{start}auth = \"none-i-am-sure\"\n{start}auth = \"none-i-am-sure\"");
    assert!(error(&twice).contains(":5: [[gateway.source]] environment: found a second source"));
    assert!(
        error("[[gateway.source]]\nkind = \"fno\"\nauth = \"none-i-am-sure\"")
            .contains("environment is missing")
    );
    assert!(
        error("[[gateway.source]]\nenvironment = \"a\"\nauth = \"none-i-am-sure\"")
            .contains("kind is missing")
    );
}

#[test]
fn numbers_and_switches_may_come_from_the_environment() {
    let config = parse("[nats]\nreplicas = \"${ONE}\"\n[gateway]\nspool = \"${YES}\"\n").unwrap();
    assert_eq!((config.nats.replicas, config.gateway.spool), (1, true));
}

#[test]
fn the_broker_remembers_ids_no_longer_than_it_keeps_events() {
    let window = |text| parse(text).unwrap().events.dedup_window;
    assert_eq!(
        window("[events]\nmax_age = \"5m\""),
        Duration::from_secs(300)
    );
    assert_eq!(
        window("[events]\nmax_age = \"1h\""),
        Duration::from_secs(600)
    );
}

#[test]
fn a_file_is_read_from_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(folder.path().join("token"), "hunter2\nnot this\n").unwrap();
    std::fs::write(
        &file,
        "[host]\ndata_dir = \"/var/lib/sluice\"\n[admin]\ntoken_file = \"token\"",
    )
    .unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.host.data_dir, Path::new("/var/lib/sluice"));
    assert_eq!(config.host.plugins_dir, folder.path().join("plugins"));
    assert_eq!(config.admin.token.unwrap().expose(), "hunter2");

    let missing = Config::load(&folder.path().join("none.toml")).unwrap_err();
    assert!(
        missing.to_string().contains("none.toml: cannot be read"),
        "{missing}"
    );
    std::fs::write(&file, "[host]\nname = 5").unwrap();
    let bad = Config::load(&file).unwrap_err().to_string();
    assert!(bad.contains("sluice.toml:2: [host] name: found 5"), "{bad}");
}

#[test]
fn embedded_is_a_server() {
    let config = parse("[nats]\nurl = \"embedded\"").unwrap();
    assert_eq!(config.nats.server, Server::Embedded);
    assert_eq!(
        Server::parse("localhost").unwrap().to_string(),
        "nats://localhost:4222"
    );
    assert_eq!(
        Server::parse("nats://[::1]:4333").unwrap().to_string(),
        "nats://[::1]:4333"
    );
    assert_eq!(Server::parse("nats://a,,nats://b"), None);
}

#[test]
fn a_secret_says_where_it_goes_and_what_it_is() {
    for (lines, told) in [
        ("bearer = \"${ERP_KEY}\"", "origin"),
        (
            "origin = \"http://erp.contoso.com\"\nbearer = \"${ERP_KEY}\"",
            "without TLS",
        ),
        ("origin = \"https://a.com\"", "expected one of these"),
        (
            "origin = \"https://a.com\"\nbearer = \"${ERP_KEY}\"\nheader = \"x\"",
            "expected one of these",
        ),
        (
            "origin = \"https://a.com\"\ntoken_url = \"https://b.com\"\nclient_id = \"c\"",
            "expected one of these",
        ),
        (
            "origin = \"https://a.com\"\nbearer = \"written out\"",
            "written out in the file",
        ),
        (
            "origin = \"https://a.com\"\ntoken_url = \"http://b.com\"\nclient_id = \"c\"\nclient_secret = \"${ERP_KEY}\"",
            "token_url",
        ),
    ] {
        let error = error(&format!("[secret.erp]\n{lines}\n"));
        assert!(
            error.contains("[secret.erp]") && error.contains(told),
            "{lines}: {error}"
        );
    }
    let local = "[secret.erp]\norigin = \"http://localhost:8080\"\nbearer = \"${ERP_KEY}\"\n";
    assert!(parse(local).is_ok());
}
