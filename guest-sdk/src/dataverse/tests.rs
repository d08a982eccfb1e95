//! Takes rows and columns, compares the requests with what the Web API's pages show.

use percent_encoding::percent_decode_str;

use super::key::NOT_IN_KEYS;
use super::*;
use crate::d365::{Date, Decimal};
use crate::{Delivery, Failure, Outcome, http};

const ID: &str = "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";

fn account() -> Upsert {
    Upsert::new(Row::by_key("accounts", "accountnumber", "A-1"))
}

fn path_of(value: impl Into<KeyValue>) -> Result<String, Error> {
    let request = Upsert::new(Row::by_key("t", "k", value)).build()?;
    let inside = request.path.strip_prefix("/api/data/v9.2/t(k=").unwrap();
    Ok(inside.strip_suffix(')').unwrap().to_owned())
}

fn bind_of(row: Row) -> String {
    let request = account().bind("new_Other", row).build().unwrap();
    request.body["new_Other@odata.bind"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn delivery(key: &str) -> Delivery {
    Delivery {
        idempotency_key: key.to_owned(),
        ..Delivery::default()
    }
}

#[test]
fn key_values_are_spelled_by_their_type() {
    let date = Date::parse("2026-11-24T23:30:00.25-02:00").unwrap();
    assert_eq!(path_of("A-1").unwrap(), "'A-1'");
    assert_eq!(path_of(2).unwrap(), "2");
    assert_eq!(path_of(-5_000_000_000_i64).unwrap(), "-5000000000");
    assert_eq!(path_of(Decimal::new(1250, 2)).unwrap(), "12.50");
    assert_eq!(path_of(KeyValue::Day(date.clone())).unwrap(), "2026-11-25");
    assert_eq!(
        path_of(KeyValue::Instant(date)).unwrap(),
        "2026-11-25T01:30:00Z"
    );
    let id = KeyValue::Guid(format!("{{{}}}", ID.to_uppercase()));
    assert_eq!(path_of(id).unwrap(), ID);
}

#[test]
fn a_lookup_in_a_key_is_its_lookup_property() {
    let row = Row::by_key("accounts", "primarycontactid", Row::by_id("contacts", ID));
    let request = Upsert::new(row).build().unwrap();
    assert_eq!(
        request.path,
        format!("/api/data/v9.2/accounts(_primarycontactid_value={ID})")
    );
    let row = Row::by_key("new_lines", "new_Order", Row::by_id("salesorders", ID));
    assert_eq!(
        Upsert::new(row.clone()).build().unwrap().path,
        format!("/api/data/v9.2/new_lines(_new_order_value={ID})")
    );
    let created = Upsert::new(row).create_only().build().unwrap();
    assert_eq!(
        created.body["new_Order@odata.bind"],
        format!("/salesorders({ID})")
    );
    let by_number = Row::by_key("salesorders", "ordernumber", "7");
    assert!(matches!(path_of(by_number), Err(Error::KeyLookup { .. })));
}

#[test]
fn several_columns_are_separated_by_commas() {
    let keys = [
        ("example_key1", KeyValue::from(2)),
        ("example_key2", 2.into()),
    ];
    let request = Upsert::new(Row::by_columns("example_records", keys))
        .set("example_name", "2:2")
        .build()
        .unwrap();
    assert_eq!(
        request.path,
        "/api/data/v9.2/example_records(example_key1=2,example_key2=2)"
    );
    assert_eq!(request.body.to_string(), r#"{"example_name":"2:2"}"#);
}

#[test]
fn a_key_has_1_to_16_columns_and_each_once() {
    let wide = |count: usize| {
        let columns = (0..count).map(|at| (format!("c{at}"), KeyValue::from(1)));
        Upsert::new(Row::by_columns("t", columns)).build()
    };
    assert!(wide(16).is_ok());
    assert!(matches!(wide(17), Err(Error::KeySize { count: 17, .. })));
    assert!(matches!(wide(0), Err(Error::KeySize { count: 0, .. })));
    let twice = [("a", KeyValue::from(1)), ("b", 2.into()), ("a", 3.into())];
    let twice = Upsert::new(Row::by_columns("t", twice)).build();
    assert!(matches!(twice, Err(Error::KeyTwice { column, .. }) if column == "a"));
}

/// Every character either arrives or is refused by name, and none can leave its quotes.
#[test]
fn every_character_of_a_key_text_arrives_or_is_refused() {
    let some = (1..0x3000).chain(0x1f300..0x1f400);
    for character in some.filter_map(char::from_u32) {
        for text in [character.to_string(), format!("a{character}{character}b")] {
            let found = path_of(text.as_str());
            if NOT_IN_KEYS.contains(&character) {
                let refused = matches!(
                    found,
                    Err(Error::KeyCharacter { character: named, .. }) if named == character
                );
                assert!(refused, "{character:?}");
                continue;
            }
            let spelled = found.unwrap();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~'@%".contains(c);
            assert!(spelled.chars().all(plain), "{spelled}");
            let decoded = percent_decode_str(&spelled).decode_utf8().unwrap();
            assert_eq!(read_literal(&decoded).as_deref(), Some(&*text));
            let bound = bind_of(Row::by_key("t", "k", text.as_str()));
            let bound = bound
                .strip_prefix("/t(k=")
                .unwrap()
                .strip_suffix(')')
                .unwrap();
            assert_eq!(bound, decoded);
        }
    }
}

/// What a reader of OData gets of a text in quotes, if that is all there is.
fn read_literal(literal: &str) -> Option<String> {
    let inside = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let single = inside.replace("''", "");
    (!single.contains('\'')).then(|| inside.replace("''", "'"))
}

#[test]
fn quotes_and_blanks_in_a_key() {
    assert!(path_of("O'Neil & Co").is_err());
    assert_eq!(path_of("O'Neil, Jöhn").unwrap(), "'O''Neil%2C%20J%C3%B6hn'");
    assert_eq!(path_of("'").unwrap(), "''''");
    assert!(matches!(path_of(""), Err(Error::KeyEmpty { .. })));
}

#[test]
fn a_bind_takes_an_id_or_a_key_as_it_is() {
    assert_eq!(
        bind_of(Row::by_id("contacts", ID)),
        format!("/contacts({ID})")
    );
    let category = Row::by_key("new_categories", "new_name", "Men's shoes");
    assert_eq!(
        bind_of(category),
        "/new_categories(new_name='Men''s shoes')"
    );
    let request = account().unbind("parentaccountid").build().unwrap();
    assert_eq!(
        request.body.to_string(),
        r#"{"parentaccountid@odata.bind":null}"#
    );
}

#[test]
fn headers_say_whether_a_row_may_be_created_or_changed() {
    let headers = |upsert: Upsert| {
        let names = upsert.build().unwrap().headers.into_iter();
        names
            .map(|(name, value)| format!("{name}: {value}"))
            .collect::<Vec<_>>()
    };
    let always = [
        "Accept: application/json",
        "Content-Type: application/json",
        "OData-MaxVersion: 4.0",
        "OData-Version: 4.0",
    ];
    assert_eq!(headers(account()), always);
    assert_eq!(headers(account().create_only()), always);
    assert!(headers(account().update_only()).contains(&"If-Match: *".to_owned()));
    let by_id = Upsert::new(Row::by_id("accounts", ID)).create_only();
    assert_eq!(by_id.clone().build().unwrap().method, "PATCH");
    assert!(headers(by_id.clone()).contains(&"If-None-Match: *".to_owned()));
    assert_eq!(headers(by_id.create_or_update()), always);
}

#[test]
fn a_returned_column_asks_for_no_more_than_that() {
    let request = account().returning("accountid").build().unwrap();
    assert_eq!(
        request.path,
        "/api/data/v9.2/accounts(accountnumber='A-1')?$select=accountid"
    );
    assert_eq!(request.headers["Prefer"], "return=representation");
    assert!(account().returning("a&b").build().is_err());
}

#[test]
fn once_is_a_create_by_the_idempotency_key() {
    let key = "4bf5122f344554c53bde2ebb8cd2b7e3";
    let once = |attempt| {
        let delivery = Delivery {
            attempt,
            is_replay: attempt == 3,
            ..delivery(key)
        };
        Upsert::once("new_shipments", "new_idempotencykey", &delivery)
            .set("new_name", "S-1")
            .build()
            .unwrap()
    };
    let request = once(1);
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/api/data/v9.2/new_shipments");
    assert_eq!(
        request.body.to_string(),
        format!(r#"{{"new_idempotencykey":"{key}","new_name":"S-1"}}"#)
    );
    assert_eq!(once(2), request);
    assert_eq!(once(3), request);

    let kept = Upsert::once("new_shipments", "new_idempotencykey", &delivery(key));
    let kept = kept.create_or_update().build().unwrap();
    assert_eq!(kept.method, "PATCH");
    assert_eq!(
        kept.path,
        format!("/api/data/v9.2/new_shipments(new_idempotencykey='{key}')")
    );
    assert_eq!(kept.body.to_string(), "{}");
}

#[test]
fn without_an_idempotency_key_all_events_would_be_one_row() {
    let delivery = Delivery::default();
    let one = Upsert::once("new_shipments", "new_key", &delivery).build();
    let two = Upsert::once_for("new_shipments", "new_key", &delivery, 2).build();
    for refused in [one, two] {
        assert!(matches!(refused, Err(Error::KeyEmpty { .. })));
    }
}

#[test]
fn a_column_of_the_key_is_not_set_as_well() {
    let clash = account().set("accountnumber", "A-2").build();
    assert!(matches!(clash, Err(Error::KeyInBody { .. })));
    let clash = account().create_only().set("accountnumber", "A-2").build();
    assert!(matches!(clash, Err(Error::KeyInBody { .. })));
    let row = Row::by_key("new_lines", "new_order", Row::by_id("salesorders", ID));
    let clash = Upsert::new(row).bind("new_Order", Row::by_id("salesorders", ID));
    assert!(matches!(clash.build(), Err(Error::KeyInBody { .. })));
}

#[test]
fn the_last_value_of_a_column_counts() {
    let request = account().set("name", "A").set("name", Value::Null);
    assert_eq!(
        request.build().unwrap().body.to_string(),
        r#"{"name":null}"#
    );
}

#[test]
fn any_value_that_is_json_can_be_set() {
    let lines = account().set_json("new_lines", &["a", "b"]).unwrap();
    assert_eq!(
        lines.build().unwrap().body.to_string(),
        r#"{"new_lines":["a","b"]}"#
    );
    let data = std::collections::HashMap::from([((1, 2), 3)]);
    let error = account().set_json("new_lines", &data).unwrap_err();
    assert!(
        error.to_string().contains("new_lines of accounts"),
        "{error}"
    );
}

#[test]
fn a_request_can_travel_as_the_data_of_an_event() {
    let request = account().set("creditlimit", Decimal::new(500_000_001, 4));
    let text = serde_json::to_string(&request.build().unwrap()).unwrap();
    assert!(
        text.contains(r#""body":{"creditlimit":50000.0001}"#),
        "{text}"
    );
    assert!(
        text.contains(r#""headers":{"Accept":"application/json","#),
        "{text}"
    );
    assert!(text.contains(r#""method":"PATCH""#), "{text}");
}

#[test]
fn an_error_rejects_and_says_where_and_what_to_do() {
    fn handler() -> Outcome {
        Upsert::new(Row::by_key("accounts", "accountnumber", "A/1")).build()?;
        Ok(())
    }
    let Err(Failure::Reject { message }) = handler() else {
        panic!("not rejected")
    };
    assert_eq!(
        message,
        "the text for the key column accountnumber of accounts has the character '/'; Dataverse \
         finds no row by a key with any of / # < > * % & : \\ ? +, encoded or not: use a key \
         without them, or the row's id"
    );
}

#[test]
fn a_request_goes_to_the_environment_with_its_headers_and_body() {
    let request = account().set("name", "Contoso").build().expect("built");
    let sent = request.to("https://contoso.crm.dynamics.com/");
    assert_eq!(sent.method, "PATCH");
    let url = "https://contoso.crm.dynamics.com/api/data/v9.2/accounts(accountnumber='A-1')";
    assert_eq!(sent.url, url);
    assert_eq!(sent.headers.len(), request.headers.len());
    let content = sent.headers.iter().find(|(name, _)| name == "Content-Type");
    assert_eq!(
        content.map(|(_, value)| value.as_str()),
        Some("application/json")
    );
    assert_eq!(sent.body, br#"{"name":"Contoso"}"#);
}

#[test]
fn a_create_that_finds_its_row_was_done_before_and_an_update_was_not() {
    let refused = |status| {
        let answer = http::Response {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        };
        Err(http::Error::Status(Box::new(answer)))
    };
    let by_id = Upsert::new(Row::by_id("accounts", ID));
    for create in [account().create_only(), by_id.create_only()] {
        let request = create.set("name", "Contoso").build().expect("built");
        assert_eq!(
            request.done(refused(412)).map(|answer| answer.status()),
            Ok(412)
        );
        assert!(request.done(refused(400)).is_err());
    }
    let update = account().update_only().set("name", "Contoso");
    assert!(update.build().expect("built").done(refused(412)).is_err());
}
