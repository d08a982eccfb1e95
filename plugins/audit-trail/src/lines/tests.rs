//! Bodies of our own, and the lines that they have to give.

use sluicegate_guest::d365::Json;

use super::*;

const UPDATE: &str = include_str!("../../events/account-update.json");
const CUSTOM_API: &str = include_str!("../../events/custom-api.json");
const BUSINESS: &str = include_str!("../../events/sales-order-invoiced.json");

fn event(body: &str) -> Event {
    Event::builder("t")
        .time("2026-11-24T09:30:00Z")
        .attribute("d365user", "u-1")
        .data("application/json", body)
        .build()
}

fn record(body: &str) -> Vec<String> {
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    of_record(&event(body), &context).unwrap()
}

fn tails(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line.split_once("\"field\":").map_or("", |(_, tail)| tail))
        .collect()
}

/// A body of one message whose parameters are given as JSON.
fn body(message: &str, parameters: &str, images: &str) -> String {
    format!(
        r#"{{"MessageName":"{message}","PrimaryEntityName":"account","InputParameters":[{parameters}],"PreEntityImages":[{images}]}}"#
    )
}

#[test]
fn a_line_says_when_who_what_and_which_field() {
    let lines = record(UPDATE);
    let first = lines.first().unwrap();
    assert_eq!(
        first,
        r#"{"when":"2026-11-24T09:30:00Z","who":"u-1","message":"Update","field":"creditlimit","old":50000.0000,"new":12345678901.0987}"#
    );
}

#[test]
fn every_kind_of_value_keeps_its_digits() {
    let lines = record(UPDATE);
    let tails = tails(&lines);
    for expected in [
        r#""creditlimit","old":50000.0000,"new":12345678901.0987}"#,
        r#""exchangerate","new":1.000000000000}"#,
        r#""numberofemployees","old":41,"new":9007199254740993}"#,
        r#""name","old":"Fabrikam","new":"Fabrikam \"Nord\" GmbH"}"#,
        r#""creditonhold","old":false,"new":true}"#,
        r#""telephone1","old":"+49 30 1","new":null}"#,
        r#""accountcategorycode","new":2}"#,
        r#""new_channels","new":[100000001,100000002]}"#,
        r#""modifiedon","new":"2026-01-28T09:25:05Z"}"#,
        r#""primarycontactid","new":{"id":"3b7c1d52-9a40-4f0e-8d6b-1c2a5e9f7b03","name":"Anna Beispiel","table":"contact"}}"#,
    ] {
        assert!(tails.contains(&expected), "{expected} is not in {tails:#?}");
    }
}

#[test]
fn a_delete_says_what_is_lost() {
    let target = r#"{"key":"Target","value":{"__type":"EntityReference:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Id":"x","LogicalName":"account"}}"#;
    let images = r#"
        {"key":"AsynchronousStepPrimaryName","value":{"Attributes":[{"key":"name","value":"short"},{"key":"accountid","value":"x"}]}},
        {"key":"before","value":{"Attributes":[{"key":"name","value":"long"}]}}"#;
    let lines = record(&body("Delete", target, images));
    assert_eq!(
        tails(&lines),
        [r#""name","old":"long"}"#, r#""accountid","old":"x"}"#]
    );
    // Without an image the line still says that it was deleted.
    let bare = record(&body("Delete", target, ""));
    assert_eq!(bare.len(), 1);
    assert!(
        bare.first().unwrap().ends_with(r#""message":"Delete"}"#),
        "{bare:?}"
    );
}

#[test]
fn an_assign_changes_the_owner() {
    let reference = |id: &str| {
        format!(
            r#"{{"__type":"EntityReference:http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts","Id":"{id}","LogicalName":"systemuser","Name":null}}"#
        )
    };
    let parameters = format!(
        r#"{{"key":"Target","value":{0}}},{{"key":"Assignee","value":{1}}}"#,
        reference("t"),
        reference("new")
    );
    let image = format!(
        r#"{{"key":"before","value":{{"Attributes":[{{"key":"ownerid","value":{}}}]}}}}"#,
        reference("old")
    );
    let lines = record(&body("Assign", &parameters, &image));
    assert_eq!(
        tails(&lines),
        [
            r#""ownerid","old":{"id":"old","table":"systemuser"},"new":{"id":"new","table":"systemuser"}}"#
        ]
    );
}

#[test]
fn a_custom_api_has_one_line_a_parameter() {
    let lines = record(CUSTOM_API);
    assert_eq!(
        tails(&lines),
        [
            r#""Amount","new":99999999999.9999}"#,
            r#""Reason","new":"over limit"}"#,
            r#""Checked","new":true}"#,
        ]
    );
}

#[test]
fn a_business_event_has_one_line_a_member() {
    let business = BusinessEvent::parse(BUSINESS.as_bytes()).unwrap();
    let event = Event::builder("t")
        .data("application/json", BUSINESS)
        .build();
    let lines = of_business(&event, &business).unwrap();
    let first = lines.first().unwrap();
    assert!(
        first.starts_with(r#"{"when":"2026-02-03T14:07:41.1234567Z","who":"4f2b8c1d-7a33-4e0b-9c55-1b2a3c4d5e6f","message":"SalesOrderInvoicedBusinessEvent""#),
        "{first}"
    );
    let tails = tails(&lines);
    for expected in [
        r#""ControlNumber","new":5637611083}"#,
        r#""InvoiceAmount","new":1250.5000}"#,
        r#""Customer","new":{"Account":"US-004","Group Name":"Wholesale"}}"#,
    ] {
        assert!(tails.contains(&expected), "{expected} is not in {tails:#?}");
    }
    assert!(
        !tails.iter().any(|tail| tail.starts_with("\"EventTime")),
        "{tails:#?}"
    );
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let long = format!("{}é", "x".repeat(LONGEST_TEXT - 1));
    let Json::String(cut) = cut(long.into()) else {
        panic!("a text stays a text");
    };
    assert!(
        cut.ends_with("x… (32769 bytes in all)"),
        "{}",
        &cut[cut.len() - 40..]
    );
    assert_eq!(plain(&Value::Text("short".to_owned())), Json::from("short"));
}
