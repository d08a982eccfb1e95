//! What an integrator asks an execution context.

use sluicegate_d365::{Decimal, RemoteExecutionContext, Value};

use crate::fixture;

const ACCOUNT: &str = "5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01";
const CONTACT: &str = "90d3c6e8-2b7f-4e15-a6c9-4d1b80f7e302";

fn context(name: &str) -> RemoteExecutionContext {
    RemoteExecutionContext::parse(&fixture(name)).expect(name)
}

#[test]
fn create_has_every_kind_of_column() {
    let context = context("account-create");
    assert_eq!(context.message(), "Create");
    assert_eq!(context.table(), Some("account"));
    assert_eq!(context.record_id(), Some(ACCOUNT));
    assert_eq!(context.text("name"), Some("Nordwind Kälte GmbH"));
    assert_eq!(context.text("accountid"), Some(ACCOUNT));
    assert_eq!(context.integer("numberofemployees"), Some(240));
    assert_eq!(context.flag("donotemail"), Some(false));
    assert_eq!(context.choice("statuscode"), Some(1));
    assert_eq!(
        context.choices("new_segments"),
        Some(vec![100_000_002, 100_000_005])
    );
    assert_eq!(context.decimal("new_discount"), Some(Decimal::new(250, 2)));
    let contact = context.lookup("primarycontactid").unwrap();
    assert_eq!(contact.logical_name.as_deref(), Some("contact"));
    assert_eq!(contact.known_id(), Some(CONTACT));
    assert_eq!(
        context.when("modifiedon").unwrap().rfc3339(),
        "2026-10-01T09:00:00Z"
    );
    assert_eq!(
        context.operation_time().unwrap().unix_ms(),
        1_790_845_200_431
    );
    assert_eq!(
        context.output("id").and_then(Value::text),
        Some(ACCOUNT),
        "the result of a create"
    );
    let labels = &context.target().unwrap().formatted_values;
    assert_eq!(
        labels.get("statuscode").and_then(Value::text),
        Some("Aktiv")
    );
    assert_eq!(labels.get("ownerid"), Some(&Value::Null));
}

#[test]
fn money_keeps_every_digit() {
    let context = context("account-create");
    let limit = context.money("creditlimit").unwrap();
    assert_eq!(limit.text(), "12345678901.0987");
    assert_eq!(limit.decimal(), Some(Decimal::new(123_456_789_010_987, 4)));
    let base = context.money("creditlimit_base").unwrap();
    assert_eq!(base.text(), "12345678901.0987000000");
    assert_eq!(base.decimal(), limit.decimal(), "equal in value");
    assert!(context.money("name").is_none());
}

#[test]
fn a_cleared_column_changed_and_one_that_is_not_there_did_not() {
    let context = context("account-update");
    assert!(context.changed("creditlimit"));
    assert!(context.changed("telephone1"));
    assert_eq!(context.attribute("telephone1"), Some(&Value::Null));
    assert!(context.attribute("telephone1").unwrap().is_null());
    assert!(!context.changed("name"));
    assert_eq!(context.lookup("primarycontactid"), None);
    let names: Vec<&str> = context.changes().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "creditlimit",
            "creditonhold",
            "telephone1",
            "primarycontactid",
            "accountid",
            "modifiedon",
            "modifiedby",
            "modifiedonbehalfby"
        ]
    );
}

#[test]
fn images_are_found_by_name() {
    let context = context("account-update");
    let before = context.pre_image("before").unwrap();
    let after = context.post_image("after").unwrap();
    assert_eq!(
        before.money("creditlimit").unwrap().text(),
        "12345678901.0987"
    );
    assert_eq!(after.money("creditlimit").unwrap().text(), "75000.0000");
    assert_eq!(before.flag("creditonhold"), Some(false));
    assert_eq!(before.row_version.as_deref(), Some("8812034"));
    let contact = before.lookup("primarycontactid").unwrap();
    assert_eq!(contact.name.as_deref(), Some("Ida Brandt"));
    assert!(context.pre_image("after").is_none());
}

#[test]
fn parents_are_contexts() {
    let context = context("account-create");
    let parent = context.parent_context.as_deref().unwrap();
    assert_eq!((parent.stage, context.stage), (Some(30), Some(40)));
    assert_eq!(
        parent.money("creditlimit").unwrap().text(),
        "12345678901.0987"
    );
    let changed = parent.shared_variables.get("ChangedEntityTypes").unwrap();
    let Value::Dictionary(changed) = changed else {
        panic!("{changed:?}");
    };
    assert_eq!(changed.len(), 2);
    assert_eq!(changed.get("account").and_then(Value::text), Some("Update"));
    assert!(parent.parent_context.is_none());
}

#[test]
fn a_target_can_be_a_reference() {
    let delete = context("incident-delete");
    assert!(delete.target().is_none());
    let target = delete.target_reference().unwrap();
    assert_eq!(target.logical_name.as_deref(), Some("incident"));
    assert_eq!(delete.record_id(), target.known_id());
    assert!(!delete.changed("title"));
    assert_eq!(delete.changes().count(), 0);
    let image = delete.pre_image("AsynchronousStepPrimaryName").unwrap();
    assert_eq!(image.text("title"), Some("Kompressor steht"));

    let assign = context("opportunity-assign");
    let assignee = assign.input("Assignee").and_then(Value::lookup).unwrap();
    assert_eq!(assignee.logical_name.as_deref(), Some("team"));
}

#[test]
fn associate_names_its_relationship_and_the_records() {
    let context = context("account-associate");
    let Some(Value::Relationship(relationship)) = context.input("Relationship") else {
        panic!("{:?}", context.input("Relationship"));
    };
    assert_eq!(
        relationship.schema_name.as_deref(),
        Some("accountleads_association")
    );
    let Some(Value::List(related)) = context.input("RelatedEntities") else {
        panic!("{:?}", context.input("RelatedEntities"));
    };
    assert!(related.iter().all(|record| record.lookup().is_some()));
}

#[test]
fn a_custom_api_has_parameters_of_every_kind() {
    let context = context("custom-api-unbound");
    assert_eq!((context.table(), context.record_id()), (None, None));
    let input = |name| context.input(name).unwrap();
    assert_eq!(input("nwk_Reason").text(), Some("Überfällig seit 90 Tagen"));
    assert_eq!(input("nwk_Amount").money().unwrap().text(), "345.6780");
    assert_eq!(input("nwk_Ratio").decimal(), Some(Decimal::new(10, 2)));
    assert_eq!(input("nwk_Days").integer(), Some(90));
    assert_eq!(input("nwk_Urgent").flag(), Some(true));
    assert_eq!(
        input("nwk_Due").when().unwrap().raw(),
        "/Date(1793491200000)/"
    );
    assert_eq!(input("nwk_Level").choice(), Some(3));
    assert_eq!(
        input("nwk_Account").lookup().unwrap().known_id(),
        Some(ACCOUNT)
    );
    let case = input("nwk_Case").entity().unwrap();
    assert_eq!(case.text("title"), Some("Mahnung"));
    let parties = input("nwk_Parties").entities().unwrap();
    let party = parties.first().unwrap().lookup("partyid").unwrap();
    assert_eq!(party.known_id(), Some(CONTACT));
    assert_eq!(parties.first().unwrap().known_id(), None, "a zero GUID");
    let Value::List(tags) = input("nwk_Tags") else {
        panic!("{:?}", input("nwk_Tags"));
    };
    assert_eq!(tags.first().and_then(Value::text), Some("dunning"));
    let Value::Other(query) = input("nwk_Query") else {
        panic!("{:?}", input("nwk_Query"));
    };
    assert_eq!(query["EntityName"], "account");
}

#[test]
fn an_asynchronous_offset_is_added() {
    let context = context("contact-update-offset");
    assert_eq!(
        context.operation_created_on.as_deref(),
        Some("/Date(1791277200000+0200)/")
    );
    assert_eq!(
        context.operation_time().unwrap().rfc3339(),
        "2026-10-06T11:00:00Z"
    );
}

#[test]
fn boxed_primitives_read_like_bare_ones() {
    let context = context("task-create-boxed");
    assert_eq!(context.text("activityid"), context.record_id());
    assert_eq!(context.text("subject"), Some("Rückruf"));
    assert_eq!(context.integer("actualdurationminutes"), Some(45));
    assert_eq!(context.decimal("new_score"), Some(Decimal::new(1250, 4)));
    assert_eq!(
        context.when("modifiedon").unwrap().rfc3339(),
        "2026-10-08T09:00:00.5Z"
    );
    assert!(matches!(
        context.attribute("new_blob"),
        Some(Value::Other(_))
    ));
}

#[test]
fn a_truncated_body_says_so_and_a_custom_api_without_parameters_does_not() {
    assert!(context("salesorder-update-truncated").is_truncated());
    assert!(!context("account-update").is_truncated());
    let read = |body: &str| RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    assert!(
        !read(r#"{"MessageName":"nwk_Ping","PrimaryEntityName":"none","InputParameters":[]}"#)
            .is_truncated()
    );
    assert!(read(r#"{"MessageName":"Update","PrimaryEntityId":"5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01","InputParameters":[]}"#).is_truncated());
    assert!(read(r#"{"MessageName":"Update","InputParameters":null}"#).is_truncated());
}

#[test]
fn absent_null_and_empty_are_the_same_and_stay_what_they_were() {
    for body in [
        r#"{"MessageName":"Update"}"#,
        r#"{"MessageName":"Update","InputParameters":null,"PreEntityImages":null,"ParentContext":null,"OwningExtension":null,"Depth":null}"#,
        r#"{"MessageName":"Update","InputParameters":[],"PreEntityImages":[],"SharedVariables":[],"Depth":"two"}"#,
    ] {
        let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
        assert!(context.input_parameters.is_empty());
        assert!(context.pre_entity_images.is_empty());
        assert_eq!(context.depth, None);
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(context.to_json(), json);
    }
}

#[test]
fn member_names_in_another_case_are_read_when_the_exact_name_is_missing() {
    let body = r#"{"messageName":"Update","primaryentityname":"account","inputParameters":[
        {"Key":"Target","Value":{"__type":"Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
        "attributes":[{"Key":"name","Value":"Nordwind"}]}}]}"#;
    let context = RemoteExecutionContext::parse(body.as_bytes()).unwrap();
    assert_eq!(context.table(), Some("account"));
    assert_eq!(context.text("name"), Some("Nordwind"));
}
