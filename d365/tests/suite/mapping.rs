//! Bodies to CloudEvents attributes and NATS subjects.

use sha2::{Digest, Sha256};
use sluicegate_d365::{Mapped, Subject, map, slot};

use crate::{fixture, fixtures};

fn mapped(name: &str) -> Mapped {
    map("contoso", &fixture(name)).expect(name)
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..32].to_owned()
}

fn extension<'a>(mapped: &'a Mapped, name: &str) -> Option<&'a str> {
    let found = mapped.extensions.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn a_record_message_has_all_attributes() {
    let event = mapped("account-update");
    let key = "account/5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01";
    let id = "7a1c9e02-4f1b-4b0a-9d55-2c8e1f60a7d3\n0f94c3b7-d28e-4a61-b5f0-6e1c7a9d8206\n\
              b60a2f7e-95c8-4d13-a4e1-7f3d0c925b46\n5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01\nUpdate\n2\n/Date(1790931725906)/";
    assert_eq!(event.id, hash(id.as_bytes()));
    assert_eq!(event.source, "/dataverse/contoso");
    assert_eq!(event.event_type, "d365.dataverse.account.update");
    assert_eq!(event.subject.as_deref(), Some(key));
    assert_eq!(event.time.as_deref(), Some("2026-10-02T09:02:05Z"));
    assert_eq!(event.partition_key, key);
    assert_eq!(
        event.nats_subject,
        format!("d365.dataverse.contoso.record.account.update.{}", slot(key))
    );
    let names: Vec<&str> = event
        .extensions
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "partitionkey",
            "correlationid",
            "causationid",
            "d365depth",
            "d365user"
        ]
    );
    assert_eq!(extension(&event, "partitionkey"), Some(key));
    assert_eq!(
        extension(&event, "causationid"),
        Some("2e7b91c4-0d56-4f8a-93b7-c8a1e6f40d07")
    );
    assert_eq!(extension(&event, "d365depth"), Some("2"));
    assert_eq!(
        extension(&event, "d365user"),
        Some("e93a7b10-6d25-4f84-9c0e-b1f4872d5a66")
    );
}

#[test]
fn each_kind_goes_to_its_own_subject_and_type() {
    let place = |name: &str| {
        let event = mapped(name);
        let subject: Subject = event.nats_subject.parse().unwrap();
        assert_eq!(subject.slot, Some(slot(&event.partition_key)));
        let without_slot = Subject {
            slot: None,
            ..subject
        };
        (without_slot.to_string(), event.event_type, event.source)
    };
    let expected = [
        (
            "account-create",
            "d365.dataverse.contoso.record.account.create",
            "d365.dataverse.account.create",
            "/dataverse/contoso",
        ),
        (
            "incident-delete",
            "d365.dataverse.contoso.record.incident.delete",
            "d365.dataverse.incident.delete",
            "/dataverse/contoso",
        ),
        (
            "opportunity-assign",
            "d365.dataverse.contoso.record.opportunity.assign",
            "d365.dataverse.opportunity.assign",
            "/dataverse/contoso",
        ),
        (
            "account-associate",
            "d365.dataverse.contoso.record.account.associate",
            "d365.dataverse.account.associate",
            "/dataverse/contoso",
        ),
        (
            "custom-api-unbound",
            "d365.dataverse.contoso.custom.nwk_oncreditreviewrequested.raised",
            "d365.dataverse.custom.nwk_oncreditreviewrequested",
            "/dataverse/contoso",
        ),
        (
            "fno-data-event",
            "d365.fno.contoso.record.mserp_custcustomerv3entity.update",
            "d365.fno.mserp_custcustomerv3entity.update",
            "/fno/contoso",
        ),
        (
            "fno-business-event",
            "d365.fno.contoso.business.nwksalesorderconfirmedbusinessevent.raised",
            "d365.fno.NwkSalesOrderConfirmedBusinessEvent",
            "/fno/contoso/demf",
        ),
        (
            "fno-test-message",
            "d365.fno.contoso.business._.raised",
            "d365.fno._",
            "/fno/contoso",
        ),
    ];
    for (name, subject, event_type, source) in expected {
        let (found_subject, found_type, found_source) = place(name);
        assert_eq!(found_subject, subject, "{name}");
        assert_eq!(found_type, event_type, "{name}");
        assert_eq!(found_source, source, "{name}");
    }
}

#[test]
fn an_unbound_custom_api_has_no_record() {
    let event = mapped("custom-api-unbound");
    assert_eq!(event.id, hash(&fixture("custom-api-unbound")));
    assert_eq!(event.subject, None);
    assert_eq!(event.partition_key, "custom/nwk_oncreditreviewrequested");
    assert_eq!(event.time.as_deref(), Some("2026-10-05T09:00:00Z"));
}

#[test]
fn a_zero_record_id_falls_back_to_the_target() {
    let event = mapped("fno-data-event");
    let key = "mserp_custcustomerv3entity/00002a7c-0000-0000-b1d0-005001000000";
    assert_eq!(event.subject.as_deref(), Some(key));
    assert_eq!(event.partition_key, key);
    assert_ne!(
        event.id,
        hash(&fixture("fno-data-event")),
        "every part of the id is known"
    );
}

#[test]
fn the_operations_time_stands_in_for_modifiedon() {
    assert_eq!(
        mapped("contact-update-offset").time.as_deref(),
        Some("2026-10-06T11:00:00Z")
    );
}

#[test]
fn a_truncated_body_is_marked() {
    let event = mapped("salesorder-update-truncated");
    assert_eq!(extension(&event, "d365truncated"), Some("true"));
    assert_eq!(
        event.subject.as_deref(),
        Some("salesorder/6ec0b92d-4f17-4d8a-b3c5-a9e1f7d02816")
    );
    assert_eq!(extension(&mapped("account-update"), "d365truncated"), None);
}

#[test]
fn a_business_event_has_its_own_id_and_key() {
    let event = mapped("fno-business-event");
    assert_eq!(event.id, "4e9b07c2-d15a-4f83-b6e0-8a2c7d3f911c");
    assert_eq!(event.subject.as_deref(), Some("SO-004711"));
    assert_eq!(event.time.as_deref(), Some("2026-10-08T10:00:00.4127305Z"));
    assert_eq!(
        event.partition_key,
        "demf/NwkSalesOrderConfirmedBusinessEvent/SO-004711"
    );
    assert_eq!(
        extension(&event, "d365controlnumber"),
        Some("5637219034117")
    );
    assert_eq!(extension(&event, "d365version"), Some("1.2"));
}

#[test]
fn a_test_message_has_the_hash_of_its_body() {
    let event = mapped("fno-test-message");
    assert_eq!(event.id, hash(&fixture("fno-test-message")));
    assert_eq!(
        (event.subject.as_deref(), event.time.as_deref()),
        (None, None)
    );
    assert_eq!(event.partition_key, "//");
    assert_eq!(extension(&event, "d365controlnumber"), None);
}

#[test]
fn every_part_of_the_id_counts_and_any_missing_one_means_the_body() {
    let body = String::from_utf8(fixture("account-update")).unwrap();
    let id = mapped("account-update").id;
    for part in [
        "7a1c9e02-4f1b-4b0a-9d55-2c8e1f60a7d3",
        "0f94c3b7-d28e-4a61-b5f0-6e1c7a9d8206",
        "b60a2f7e-95c8-4d13-a4e1-7f3d0c925b46",
    ] {
        let other = body.replace(part, "11111111-2222-4333-8444-555555555555");
        assert_ne!(map("contoso", other.as_bytes()).unwrap().id, id, "{part}");
        let zero = body.replace(part, "00000000-0000-0000-0000-000000000000");
        assert_eq!(
            map("contoso", zero.as_bytes()).unwrap().id,
            hash(zero.as_bytes()),
            "{part}"
        );
    }
    let indented = body.replace("\",\"", "\",\n  \"");
    assert_eq!(
        map("contoso", indented.as_bytes()).unwrap().id,
        id,
        "not of the body"
    );
}

#[test]
fn no_control_character_and_no_bad_uri_gets_out() {
    let body = r#"{"BusinessEventId":"Bad\u0000Name é","BusinessEventLegalEntity":"a/b c\r\n","ContextRecordSubject":"x\u0007y"}"#;
    let event = map("Contoso EU/ä", body.as_bytes()).unwrap();
    assert_eq!(event.source, "/fno/Contoso%20EU%2F%C3%A4/a%2Fb%20c%0D%0A");
    assert_eq!(event.subject.as_deref(), Some("x%07y"));
    assert_eq!(event.event_type, "d365.fno.Bad_Name__");
    assert_eq!(event.partition_key, "a/b c%0D%0A/Bad%00Name é/x%07y");
    assert!(
        event
            .nats_subject
            .starts_with("d365.fno.contoso_eu__.business.bad_name__.raised.")
    );
}

#[test]
fn mapping_is_the_same_every_time() {
    for name in fixtures() {
        assert_eq!(mapped(&name), mapped(&name), "{name}");
    }
}

/// A plug-in that updates the row it handles: one request, so one operation id, but a second
/// event, which the broker's duplicate check must not drop.
#[test]
fn an_update_within_an_update_has_an_id_of_its_own() {
    let outer = String::from_utf8(fixture("account-update")).expect("UTF-8");
    let inner = outer.replacen("\"Depth\":2", "\"Depth\":3", 1);
    assert_ne!(outer, inner);
    let id = |body: &str| map("contoso", body.as_bytes()).expect("mapped").id;
    assert_ne!(id(&outer), id(&inner));
    assert_eq!(id(&outer), id(&outer));
}

/// Shapes that others were sent or made, with values of our own.
#[test]
fn bodies_that_lack_much_have_attributes_all_the_same() {
    let record = "0000a3c1-0000-0000-b7f0-005001000000";
    for (body, event_type, subject, time, key) in [
        // A tool wrote the dates anew, in ISO 8601.
        (
            r#"{"MessageName":"nwk_Ping","PrimaryEntityName":"none","PrimaryEntityId":"00000000-0000-0000-0000-000000000000",
                "Mode":1,"OperationCreatedOn":"2026-10-08T10:00:05.250Z","InputParameters":[{"key":"When","value":"2026-10-08T10:00:00Z"}]}"#
                .to_owned(),
            "d365.dataverse.custom.nwk_ping",
            None,
            Some("2026-10-08T10:00:05.25Z"),
            "custom/nwk_ping",
        ),
        // A mock with the names alone.
        (
            r#"{"MessageName":"Create","PrimaryEntityName":"incident","OperationCreatedOn":"/Date(1791450000500)/"}"#.to_owned(),
            "d365.dataverse.incident.create",
            Some("incident"),
            Some("2026-10-08T09:00:00.5Z"),
            "incident",
        ),
        // A data event that says little of its envelope.
        (
            format!(
                r#"{{"MessageName":"OnExternalDeleted","PrimaryEntityName":"mserp_custgroupentity","PrimaryEntityId":"00000000-0000-0000-0000-000000000000",
                "OperationCreatedOn":"/Date(1791450000000+0000)/","InputParameters":[{{"key":"Target","value":{{
                "__type":"EntityReference:http://schemas.microsoft.com/xrm/2011/Contracts","Id":"{}","LogicalName":"mserp_custgroupentity"}}}}]}}"#,
                record.to_uppercase()
            ),
            "d365.fno.mserp_custgroupentity.delete",
            Some("mserp_custgroupentity/0000a3c1-0000-0000-b7f0-005001000000"),
            Some("2026-10-08T09:00:00Z"),
            "mserp_custgroupentity/0000a3c1-0000-0000-b7f0-005001000000",
        ),
        // Many records at once: none of them is the one.
        (
            r#"{"MessageName":"CreateMultiple","PrimaryEntityName":"account","PrimaryEntityId":"00000000-0000-0000-0000-000000000000",
                "InputParameters":[{"key":"Targets","value":{"__type":"EntityCollection:http://schemas.microsoft.com/xrm/2011/Contracts",
                "EntityName":"account","Entities":[{"LogicalName":"account","Id":"a"},{"LogicalName":"account","Id":"b"}]}}]}"#
                .to_owned(),
            "d365.dataverse.account.createmultiple",
            Some("account"),
            None,
            "account",
        ),
        // The sample that F&O offers for an event, which is also what it tests an endpoint with.
        (
            r#"{"BusinessEventId":"","BusinessEventLegalEntity":"","ContextRecordSubject":"","ControlNumber":0,"EventId":"",
                "EventTime":"/Date(-2208988800000)/","EventTimeIso8601":"1900-01-01T00:00:00Z","MajorVersion":0,"MinorVersion":0,
                "InitiatingUserAADObjectId":"{00000000-0000-0000-0000-000000000000}","ParentContextRecordSubjects":null,"LineId":0}"#
                .to_owned(),
            "d365.fno._",
            None,
            None,
            "//",
        ),
    ] {
        let event = map("contoso", body.as_bytes()).unwrap();
        assert_eq!(event.id, hash(body.as_bytes()), "{body}");
        assert_eq!(event.event_type, event_type);
        assert_eq!(event.subject.as_deref(), subject, "{event_type}");
        assert_eq!(event.time.as_deref(), time, "{event_type}");
        assert_eq!(event.partition_key, key);
    }
}
