use serde_json::{Value, json};
use sluicegate_guest::testing::{Host, choice, lookup, money, record};
use sluicegate_guest::{Event, testing::RecordBuilder};

use super::apply;

const A: &str = "00000000-0000-4000-8000-00000000000a";
const B: &str = "00000000-0000-4000-8000-00000000000b";

fn customers(events: impl IntoIterator<Item = RecordBuilder>) -> Host {
    let mut host = Host::new();
    for event in events {
        host.call(apply, Event::from(event)).outcome.unwrap();
    }
    host
}

fn row(host: &Host, id: &str) -> Value {
    host.row_json("customers", id)
        .unwrap()
        .unwrap_or(Value::Null)
}

fn opportunity(id: &str) -> RecordBuilder {
    record("opportunity").id(format!("00000000-0000-4000-8000-0000000001{id}"))
}

fn contact(id: &str) -> RecordBuilder {
    record("contact").id(format!("00000000-0000-4000-8000-0000000002{id}"))
}

fn fno() -> RecordBuilder {
    record("mserp_custcustomerv3entity").id("00004951-0000-0000-0000-000000000007")
}

#[test]
fn what_belongs_to_a_customer_is_counted_whenever_it_comes_and_wherever_it_goes() {
    let host = customers([
        contact("01")
            .create()
            .set("parentcustomerid", lookup("account", A)),
        opportunity("01")
            .create()
            .set("customerid", lookup("account", A))
            .set("estimatedvalue", money("100.50")),
        record("account")
            .id(A)
            .create()
            .set("name", "Contoso")
            .set("creditlimit", money("5000")),
        opportunity("02")
            .create()
            .set("customerid", lookup("account", A))
            .set("estimatedvalue", money("9.50")),
        contact("02")
            .create()
            .set("parentcustomerid", lookup("account", A)),
    ]);
    let found = row(&host, A);
    assert_eq!(
        (&found["name"], &found["contacts"]),
        (&json!("Contoso"), &json!(2))
    );
    assert_eq!(found["open_value"].to_string(), "110");
    assert_eq!(found["credit_limit"].to_string(), "5000");
}

#[test]
fn a_thing_that_changes_hands_is_taken_from_one_and_given_to_the_other() {
    let create = |id| {
        opportunity(id)
            .create()
            .set("customerid", lookup("account", A))
            .set("estimatedvalue", money("10"))
    };
    let host = customers([
        record("account").id(A).create().set("name", "A"),
        record("account").id(B).create().set("name", "B"),
        create("01"),
        create("02"),
        create("03"),
        opportunity("01")
            .update()
            .set("customerid", lookup("account", B)),
        opportunity("02").update().set("statecode", choice(1)),
        opportunity("03").delete(),
        contact("01")
            .create()
            .set("parentcustomerid", lookup("account", A)),
        contact("01")
            .update()
            .set("parentcustomerid", lookup("contact", B)),
    ]);
    for (id, count, value) in [(A, 0, "0"), (B, 1, "10")] {
        let found = row(&host, id);
        assert_eq!(found["open_opportunities"], count, "{found}");
        assert_eq!(found["open_value"].to_string(), value);
        assert_eq!(found["contacts"], 0);
    }
}

#[test]
fn both_sides_of_a_number_find_each_other_in_any_order() {
    let account = record("account").id(A).create().set("accountnumber", "C-7");
    let customer = || {
        fno()
            .create()
            .set("mserp_customeraccount", "C-7")
            .set("mserp_organizationname", "Contoso Retail")
    };
    for events in [
        vec![account.clone(), customer()],
        vec![customer(), account.clone()],
    ] {
        assert_eq!(row(&customers(events), A)["fno"]["name"], "Contoso Retail");
    }
    let host = customers([account.clone(), customer(), fno().delete()]);
    assert_eq!(row(&host, A)["fno"], Value::Null);
    let moved = record("account").id(B).create().set("accountnumber", "C-7");
    let host = customers([account, customer(), moved]);
    assert_eq!(
        (&row(&host, A)["fno"], &row(&host, B)["fno"]["account"]),
        (&Value::Null, &json!("C-7"))
    );
}

#[test]
fn one_of_whom_nothing_is_known_any_more_has_no_row() {
    let host = customers([
        record("account")
            .id(A)
            .create()
            .set("name", "A")
            .set("accountnumber", "C-1"),
        contact("01")
            .create()
            .set("parentcustomerid", lookup("account", A)),
        record("account").id(A).delete(),
    ]);
    assert_eq!(row(&host, A)["contacts"], 1);
    assert_eq!(row(&host, A)["name"], Value::Null);
    let host = customers([
        record("account").id(A).create().set("accountnumber", "C-1"),
        record("account").id(A).delete(),
    ]);
    assert_eq!(row(&host, A), Value::Null);
    assert_eq!(host.rows("numbers").count(), 0);
}
