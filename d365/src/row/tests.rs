//! Rows of every kind of column, and what does not fit.

use serde::Deserialize;

use super::*;
use crate::{Date, Decimal, Json, Money, RemoteExecutionContext};

fn target(attributes: &str) -> Entity {
    let body = format!(
        r#"{{"MessageName":"Update","InputParameters":[{{"key":"Target","value":{{
        "__type":"Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
        "LogicalName":"account","Attributes":{attributes}}}}}]}}"#
    );
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    context.target().unwrap().clone()
}

fn typed(name: &str, members: &str) -> String {
    format!(r#"{{"__type":"{name}:http://schemas.microsoft.com/xrm/2011/Contracts",{members}}}"#)
}

#[derive(Debug, Deserialize)]
struct Account {
    name: String,
    accountid: String,
    creditlimit: Decimal,
    revenue: Money,
    #[serde(rename = "creditonhold")]
    on_hold: bool,
    numberofemployees: Option<u32>,
    industrycode: i32,
    new_regions: Vec<i64>,
    primarycontactid: EntityReference,
    ownerid: String,
    modifiedon: Date,
    createdon: String,
    exchangerate: f64,
    fax: Option<String>,
    new_notthere: Option<String>,
}

#[test]
fn every_kind_of_column_has_its_type() {
    let money = typed("Money", r#""Value":50000.0001"#);
    let revenue = typed("Money", r#""Value":12345678901.0987"#);
    let choice = typed("OptionSetValue", r#""Value":7"#);
    let lookup = typed(
        "EntityReference",
        r#""Id":"7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05","LogicalName":"contact","Name":"Jo""#,
    );
    let account: Account = target(&format!(
        r#"[{{"key":"name","value":"Contoso"}},
        {{"key":"accountid","value":{{"__type":"Guid:#System","__value":"a"}}}},
        {{"key":"creditlimit","value":{money}}},{{"key":"revenue","value":{revenue}}},
        {{"key":"creditonhold","value":true}},{{"key":"numberofemployees","value":12}},
        {{"key":"industrycode","value":{choice}}},{{"key":"new_regions","value":[{choice}]}},
        {{"key":"primarycontactid","value":{lookup}}},{{"key":"ownerid","value":{lookup}}},
        {{"key":"modifiedon","value":"/Date(1700000000000)/"}},
        {{"key":"createdon","value":"/Date(1700000000000)/"}},
        {{"key":"exchangerate","value":1.5}},{{"key":"fax","value":null}},
        {{"key":"not_asked_for","value":{lookup}}}]"#
    ))
    .row()
    .unwrap();
    assert_eq!(account.name, "Contoso");
    assert_eq!(account.accountid, "a");
    assert_eq!(account.creditlimit.to_string(), "50000.0001");
    assert_eq!(account.revenue.text(), "12345678901.0987");
    assert!(account.on_hold);
    assert_eq!(account.numberofemployees, Some(12));
    assert_eq!(account.industrycode, 7);
    assert_eq!(account.new_regions, [7]);
    assert_eq!(account.primarycontactid.name.as_deref(), Some("Jo"));
    assert_eq!(account.ownerid, "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05");
    assert_eq!(account.modifiedon.unix_ms(), 1_700_000_000_000);
    assert_eq!(account.createdon, "2023-11-14T22:13:20Z");
    assert_eq!(account.exchangerate, 1.5);
    assert_eq!(account.fax, None);
    assert_eq!(account.new_notthere, None);
}

#[derive(Debug, Deserialize)]
struct Limited {
    #[expect(dead_code, reason = "never gets so far")]
    creditlimit: Decimal,
}

#[test]
fn what_does_not_fit_names_its_column() {
    let missing = target("[]").row::<Limited>().unwrap_err().to_string();
    assert!(
        missing.starts_with("column creditlimit: the message does not carry it"),
        "{missing}"
    );
    let text = target(r#"[{"key":"creditlimit","value":"much"}]"#);
    let wrong = text.row::<Limited>().unwrap_err().to_string();
    assert!(wrong.starts_with("column creditlimit: "), "{wrong}");
    let cleared = target(r#"[{"key":"creditlimit","value":null}]"#);
    let cleared = cleared.row::<Limited>().unwrap_err().to_string();
    assert!(cleared.starts_with("column creditlimit: "), "{cleared}");
}

#[test]
fn json_takes_any_row_with_every_digit() {
    let money = typed("Money", r#""Value":922337203685477.5807"#);
    let row: Json = target(&format!(r#"[{{"key":"revenue","value":{money}}}]"#))
        .row()
        .unwrap();
    assert_eq!(row.to_string(), r#"{"revenue":922337203685477.5807}"#);
}

#[test]
fn parameters_of_a_custom_api_have_types_too() {
    #[derive(Deserialize)]
    struct Parameters {
        number: String,
        lines: Vec<Line>,
    }
    #[derive(Deserialize)]
    struct Line {
        amount: Decimal,
    }
    let entity = typed("Entity", r#""Attributes":[{"key":"amount","value":2.50}]"#);
    let lines = typed("EntityCollection", &format!(r#""Entities":[{entity}]"#));
    let body = format!(
        r#"{{"MessageName":"new_Ship","InputParameters":[{{"key":"number","value":"S-1"}},
        {{"key":"lines","value":{lines}}}]}}"#
    );
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    let parameters: Parameters = context.input_parameters.row().unwrap();
    assert_eq!(parameters.number, "S-1");
    let line = parameters.lines.first().unwrap();
    assert_eq!(line.amount.to_string(), "2.50");
}
