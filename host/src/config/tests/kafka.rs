//! `kafka` of a `[[bridge]]`.

use std::path::Path;
use std::time::Duration;

use super::{error, parse};
use crate::config::bridge::kafka::Mechanism;
use crate::config::bridge::{Kafka, KafkaMode, KafkaTls, Peer, Sasl, Start};

const IN: &str = "[[bridge]]\nname = \"a\"\ndirection = \"in\"\nenvironment = \"lab\"\n\
                  format = \"cloudevents\"\n[bridge.kafka]\n";
const OUT: &str = "[[bridge]]\nname = \"a\"\ndirection = \"out\"\nsubjects = [\"d365.custom.>\"]\n\
                   [bridge.kafka]\n";
const BROKER: &str = "brokers = [\"contoso.servicebus.windows.net:9093\"]\ntopic = \"orders\"\n";

fn kafka(text: &str) -> Kafka {
    let config = parse(text).unwrap();
    match config.bridges.into_iter().next().unwrap().peer {
        Peer::Kafka(kafka) => kafka,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_is_read_over_tls_from_its_beginning_unless_told_otherwise() {
    let found = kafka(&format!("{IN}{BROKER}group = \"g\"\n"));
    assert_eq!(found.brokers, ["contoso.servicebus.windows.net:9093"]);
    assert_eq!(found.tls, Some(KafkaTls::default()));
    assert_eq!((found.sasl, found.start), (None, Start::Earliest));
    assert_eq!(found.session_timeout, Duration::from_secs(30));
    let more = "group = \"g\"\nstart = \"latest\"\nca = \"ca.pem\"\n\
                properties = { \"fetch.min.bytes\" = 10, \"client.rack\" = \"a\" }\n\
                sasl = { mechanism = \"PLAIN\", username = \"$ConnectionString\", password = \"${CRM_SECRET}\" }\n";
    let found = kafka(&format!("{IN}{BROKER}{more}"));
    assert_eq!(found.start, Start::Latest);
    let ca = found.tls.and_then(|tls| tls.ca);
    assert_eq!(ca.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(
        found.properties.get("fetch.min.bytes").map(String::as_str),
        Some("10")
    );
    let Some(Sasl::Password {
        mechanism,
        username,
        password,
    }) = found.sasl
    else {
        panic!("no password");
    };
    assert_eq!(
        (mechanism, username.as_str()),
        (Mechanism::Plain, "$ConnectionString")
    );
    assert_eq!(password.expose(), "hunter2");
}

#[test]
fn a_topic_is_written_to_with_a_token() {
    let token = "mode = \"structured\"\n[bridge.kafka.sasl]\nmechanism = \"OAUTHBEARER\"\n\
                 token_url = \"https://login.example/token\"\nclient_id = \"c\"\n\
                 client_secret = \"${CRM_SECRET}\"\nscope = \"s\"\n";
    let found = kafka(&format!("{OUT}{BROKER}{token}"));
    assert_eq!(found.mode, KafkaMode::Structured);
    assert!(matches!(found.sasl, Some(Sasl::Token { scope, .. }) if scope == "s"));
}

#[test]
fn what_does_not_go_together_is_told() {
    let cases = [
        (IN, "", "group"),
        (OUT, "group = \"g\"\n", "group"),
        (IN, "group = \"g\"\nmode = \"binary\"\n", "mode"),
        (
            OUT,
            "properties = { \"enable.idempotence\" = false }\n",
            "enable.idempotence",
        ),
        (OUT, "security = \"none\"\nca = \"ca.pem\"\n", "security"),
        (OUT, "cert = \"c.pem\"\n", "cert"),
        (
            OUT,
            "sasl = { mechanism = \"PLAIN\", username = \"u\" }\n",
            "mechanism",
        ),
        (
            OUT,
            "sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"written\" }\n",
            "password",
        ),
        (
            OUT,
            "security = \"none\"\nsasl = { mechanism = \"PLAIN\", username = \"u\", password = \"${CRM_SECRET}\" }\n",
            "sasl",
        ),
    ];
    for (way, more, key) in cases {
        let told = error(&format!("{way}{BROKER}{more}"));
        assert!(told.contains(key), "{more}: {told}");
    }
    let told = error(&format!("{OUT}topic = \"t\"\nbrokers = [\"no port\"]\n"));
    assert!(
        told.contains("brokers") && told.contains("no port"),
        "{told}"
    );
}
