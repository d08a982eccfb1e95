//! What a `[[bridge]]` gives, and what is wrong with one.

use super::{error, parse};
use crate::config::bridge::{Direction, Peer};

const OUT: &str = "[[bridge]]\nname = \"b\"\ndirection = \"out\"\nsubjects = [\"d365.>\"]\n";

#[test]
fn what_is_not_said_has_a_default() {
    let text = format!("{OUT}http = {{ url = \"https://x.example/api?v=1\" }}");
    let config = parse(&text).unwrap();
    let [bridge] = config.bridges.as_slice() else {
        panic!("one bridge");
    };
    assert!(matches!(&bridge.direction, Direction::Out(out) if out.types.is_empty()));
    let Peer::Http(http) = &bridge.peer else {
        panic!("over HTTP");
    };
    assert_eq!((http.batch_events, http.batch_bytes), (100, 512 << 10));
    assert_eq!((&http.secret, &http.handshake), (&None, &None));
}

#[test]
fn each_mistake_is_named() {
    let with = |lines: &str| format!("{OUT}{lines}");
    for (text, part) in [
        (OUT.to_owned(), "[[bridge]] http is missing"),
        (OUT.replace("\"b\"", "\"B\""), "[[bridge]] name"),
        (OUT.replace("\"b\"", "\"out\""), "subjects of the ledger"),
        (OUT.replace("out", "up"), "\"in\" or \"out\""),
        (with("http = { url = \"ftp://x\" }"), "[[bridge]] http url"),
        (with("format = \"fno\""), "expected only with \"in\""),
        (
            with("http = { url = \"https://x.example\", secret = \"s\" }"),
            "no [secret.s]",
        ),
        (
            with(
                "http = { url = \"https://x.example\", secret = \"s\" }\n[secret.s]\n\
                 origin = \"https://y.example\"\nbearer = \"${CRM_SECRET}\"",
            ),
            "the url leads elsewhere",
        ),
        (
            "[[bridge]]\nname = \"b\"\ndirection = \"in\"\nenvironment = \"e\"\nformat = \"fno\"\n\
             http = { url = \"https://x.example\" }"
                .to_owned(),
            "[[gateway.source]]",
        ),
        (
            with(&format!(
                "http = {{ url = \"https://x.example\" }}\n{OUT}http = {{ url = \"https://x.example\" }}"
            )),
            "second bridge",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(part), "{error}\nfor {text}\nhas no {part:?}");
    }
}
