//! Bodies that are none: an error that says why, never a panic.

use sluicegate_d365::{BusinessEvent, Error, RemoteExecutionContext, map};

fn refused(body: &str) -> String {
    map("contoso", body.as_bytes()).expect_err(body).to_string()
}

#[test]
fn what_is_not_json_is_refused() {
    for body in ["", " ", "hello", "{", "{}{}", "\u{0}"] {
        assert!(refused(body).contains("is not JSON"), "{body}");
    }
    let invalid = map("contoso", b"{\"MessageName\":\"\xff\"}").unwrap_err();
    assert!(matches!(invalid, Error::Json(_)), "{invalid}");
}

#[test]
fn a_hundred_thousand_levels_are_an_error() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"{"ParentContext":"#, "}")] {
        let depth = 100_000;
        let deep = format!("{}null{}", open.repeat(depth), close.repeat(depth));
        assert!(
            refused(&deep).contains("nested at most 127 levels"),
            "{open}"
        );
        let inside = format!(
            r#"{{"MessageName":"Update","InputParameters":[{{"key":"Target","value":{deep}}}]}}"#
        );
        assert!(matches!(
            RemoteExecutionContext::parse(inside.as_bytes()),
            Err(Error::Json(_))
        ));
        let inside = format!(r#"{{"BusinessEventId":"x","Lines":{deep}}}"#);
        assert!(matches!(
            BusinessEvent::parse(inside.as_bytes()),
            Err(Error::Json(_))
        ));
    }
}

/// Documents inside texts inside documents: `serde_json` by itself reads them all.
#[test]
fn nesting_that_is_hidden_in_texts_stays_there() {
    let mut hidden = "[".repeat(100) + &"]".repeat(100);
    for _ in 0..12 {
        let text = serde_json::to_string(&hidden).unwrap();
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        hidden = format!(r#"{open}{{"$serde_json::private::RawValue":{text}}}{close}"#);
    }
    let body = format!(
        r#"{{"MessageName":"Update","InputParameters":[{{"key":"Target","value":{hidden}}}]}}"#
    );
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    assert_eq!(context.to_json().to_string().len(), body.len());
    let read: RemoteExecutionContext = serde_json::from_str(&body).unwrap();
    assert_eq!(read, context);
}

#[test]
fn the_deepest_body_that_is_read_is_read() {
    let depth = 126;
    let body = format!(
        "{}{}{}",
        r#"{"MessageName":"Update","ParentContext":"#.repeat(depth),
        "null",
        "}".repeat(depth)
    );
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    assert_eq!(context.to_json().to_string().len(), body.len());
    let parents = std::iter::successors(Some(&context), |child| child.parent_context.as_deref());
    assert_eq!(parents.count(), 33, "the others stay JSON");
}

#[test]
fn another_kind_of_json_is_named() {
    assert!(refused("[]").contains("a list of 0"));
    assert!(refused("[]").contains("Event Grid"));
    assert!(refused("17").contains("the number 17"));
    assert!(refused("null").contains("null"));
    assert!(refused("{}").contains("no members"));
    let other = refused(r#"{"specversion":"1.0","id":"7","a\nb":1}"#);
    assert!(other.contains(r"it has a\nb, id, specversion"), "{other}");
}

#[test]
fn a_message_without_a_name_is_named() {
    let error = refused(r#"{"MessageName":5}"#);
    assert_eq!(
        error,
        "MessageName is the number 5; accepted is a text that is not blank"
    );
    assert!(refused(r#"{"MessageName":"  "}"#).starts_with("MessageName is the text"));
    assert!(refused(r#"{"BusinessEventId":[]}"#).starts_with("BusinessEventId is a list of 0"));
}

#[test]
fn a_list_that_is_none_says_where() {
    let entity = |attributes: &str| {
        format!(
            r#"{{"MessageName":"Update","ParentContext":{{"InputParameters":[{{"key":"x","value":1}},{{"key":"Target","value":
            {{"__type":"Entity:http://schemas.microsoft.com/xrm/2011/Contracts","Attributes":{attributes}}}}}]}}}}"#
        )
    };
    for (body, start) in [
        (
            r#"{"MessageName":"Update","InputParameters":7}"#.to_owned(),
            "InputParameters is the number 7; accepted is a list",
        ),
        (
            r#"{"MessageName":"Update","InputParameters":[7]}"#.to_owned(),
            "InputParameters[0] is the number 7",
        ),
        (
            r#"{"MessageName":"Update","PreEntityImages":[{"key":"a","value":7}]}"#.to_owned(),
            "PreEntityImages[0].value is the number 7",
        ),
        (
            r#"{"MessageName":"Update","OwningExtension":{"KeyAttributes":true}}"#.to_owned(),
            "OwningExtension.KeyAttributes is the boolean true",
        ),
        (
            entity("{}"),
            "ParentContext.InputParameters[1].value.Attributes is an object",
        ),
        (
            entity(r#"[{"key":"a"},{"key":1}]"#),
            "ParentContext.InputParameters[1].value.Attributes[1].key is the number 1",
        ),
        (
            r#"{"BusinessEventId":"x","ParentContextRecordSubjects":"y"}"#.to_owned(),
            "ParentContextRecordSubjects is the text \"y\"",
        ),
    ] {
        let error = refused(&body);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_name_that_no_subject_could_hold_is_refused() {
    let long = "x".repeat(256);
    assert!(
        map(&long, b"{}")
            .unwrap_err()
            .to_string()
            .starts_with("the environment is 256 bytes")
    );
    assert!(refused(&format!(r#"{{"MessageName":"{long}"}}"#)).starts_with("MessageName is 256"));
    assert!(refused(&format!(r#"{{"BusinessEventId":"{long}"}}"#)).starts_with("BusinessEventId"));
    let table = format!(r#"{{"MessageName":"Update","PrimaryEntityName":"{long}"}}"#);
    assert!(refused(&table).starts_with("PrimaryEntityName is 256 bytes"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = "\u{feff}{\"MessageName\":\"Update\",\"PrimaryEntityName\":\"account\"}";
    let event = map("contoso", body.as_bytes()).unwrap();
    assert_eq!(event.event_type, "d365.dataverse.account.update");
    assert_eq!(event.partition_key, "account", "no record is known");
}
