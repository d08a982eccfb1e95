//! What Event Grid posts: each event mapped, its data untouched.

use serde_json::Value as Json;
use sluicegate_d365::{
    Error, EventGridEvent, EventGridItem, Mapped, Origin, Subject, event_grid, map, slot,
};

use crate::fixture;

fn good<'a>(item: &'a EventGridItem<'_>) -> &'a Mapped {
    item.mapped.as_ref().expect("a good event")
}

fn alone(event: &str) -> Result<Mapped, Error> {
    let mut items = event_grid("contoso", event.as_bytes()).expect("a delivery");
    assert_eq!(items.len(), 1);
    items.remove(0).mapped
}

fn extensions(event: &Mapped) -> Vec<(&str, &str)> {
    let pairs = event.extensions.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[test]
fn an_event_of_the_platform() {
    let body = fixture("event-grid/delivery");
    let items = event_grid("Contoso EU", &body).unwrap();
    assert_eq!(items.len(), 5);
    let event = good(&items[0]);
    let about = "/blobServices/default/containers/invoices/blobs/2026/4711.pdf";
    assert_eq!(event.id, "8d1f6b3e-901e-0042-5a7c-31c9ef066a0d");
    assert_eq!(
        event.source,
        "/subscriptions/3f0c6e21-7d58-4b9a-a1c4-e25f8d903b67/resourceGroups/nordwind-rg\
         /providers/Microsoft.Storage/storageAccounts/nordwindfiles"
    );
    assert_eq!(event.event_type, "Microsoft.Storage.BlobCreated");
    assert_eq!(event.subject.as_deref(), Some(about));
    assert_eq!(event.time.as_deref(), Some("2026-10-08T10:00:00.4127305Z"));
    assert_eq!(event.partition_key, about);
    assert_eq!(extensions(event), [("partitionkey", about)]);
    assert_eq!(
        event.nats_subject,
        format!(
            "d365.eventgrid.contoso_eu.system.microsoft_storage.blobcreated.{}",
            slot(about)
        )
    );
    assert_eq!(
        items[0].data,
        Some(
            r#"{ "api": "PutBlob", "contentLength": 52428800, "size": 1.50, "url": "https:\/\/nordwindfiles.example\/invoices" }"#
        ),
        "byte for byte"
    );
}

#[test]
fn data_of_dynamics_365_is_mapped_as_if_it_had_come_alone() {
    let body = fixture("event-grid/delivery");
    let items = event_grid("contoso", &body).unwrap();
    let topic = "/subscriptions/3f0c6e21-7d58-4b9a-a1c4-e25f8d903b67/resourceGroups/nordwind rg\
                 /providers/Microsoft.EventGrid/topics/{dynamics}";
    for (index, id, topic) in [(1, "2", topic), (4, "5", "crm")] {
        let mut direct = map("contoso", items[index].data.unwrap().as_bytes()).unwrap();
        direct
            .extensions
            .push(("eventgridid".to_owned(), id.to_owned()));
        direct
            .extensions
            .push(("eventgridtopic".to_owned(), topic.to_owned()));
        assert_eq!(good(&items[index]), &direct);
    }
    let place = |index: usize| good(&items[index]).nats_subject.clone();
    assert!(place(1).starts_with("d365.fno.contoso.business.nwksalesorderconfirmed"));
    assert!(place(4).starts_with("d365.dataverse.contoso.record.lead.delete."));
}

#[test]
fn what_is_missing_has_a_stand_in() {
    let body = fixture("event-grid/delivery");
    let items = event_grid("Contoso EU", &body).unwrap();
    let event = good(&items[2]);
    assert_eq!(items[2].data, None, "null is nothing");
    assert_eq!(event.source, "/eventgrid/Contoso%20EU");
    assert_eq!(
        (event.subject.as_deref(), event.time.as_deref()),
        (None, None)
    );
    assert_eq!(event.partition_key, "3");
    assert_eq!(
        extensions(event),
        [("partitionkey", "3"), ("dataversion", "2.1")]
    );
    assert_eq!(
        event.nats_subject,
        format!(
            "d365.eventgrid.contoso_eu.custom.contoso_items.received.{}",
            slot("3")
        )
    );
}

#[test]
fn a_bad_event_stands_between_good_ones_and_says_why() {
    let body = fixture("event-grid/delivery");
    let items = event_grid("contoso", &body).unwrap();
    let good: Vec<bool> = items.iter().map(|item| item.mapped.is_ok()).collect();
    assert_eq!(good, [true, true, true, false, true]);
    let error = items[3].mapped.as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        "[3].id is the text \" \"; accepted is a text that is not blank"
    );
    assert_eq!(
        items[3].raw,
        r#"{ "id": " ", "eventType": "Contoso.Items.Received", "subject": "x" }"#
    );
    for (event, why) in [
        (r#"{}"#, "[0].id is missing;"),
        (r#"{"id":7,"eventType":"a"}"#, "[0].id is the number 7;"),
        (r#"{"id":"7"}"#, "[0].eventType is missing;"),
        (r#"{"id":"7","eventType":null}"#, "[0].eventType is null;"),
        (
            r#"{"id":"7","eventType":""}"#,
            "[0].eventType is the text \"\";",
        ),
        (
            "[7]",
            "[0].the event is the number 7; accepted is an object",
        ),
        (r#"[[]]"#, "[0].the event is a list of 0;"),
    ] {
        let error = alone(event).unwrap_err().to_string();
        assert!(error.starts_with(why), "{event}: {error}");
    }
    let deep = format!(
        r#"{{"id":"7","eventType":"a","data":{}{}}}"#,
        "[".repeat(128),
        "]".repeat(128)
    );
    assert!(matches!(alone(&deep), Err(Error::Json(_))));
    let half = r#"{"id":"7","eventType":"a","data":"\ud83d"}"#;
    assert!(matches!(alone(half), Err(Error::Json(_))));
}

#[test]
fn what_is_no_delivery_is_refused_as_a_whole() {
    let refused = |body: &[u8]| event_grid("contoso", body).unwrap_err();
    for body in [
        &b""[..],
        b"[",
        b"[{}",
        b"[{},]",
        b"{}{}",
        b"[]x",
        b"\xff",
        b"[\"\xff\"]",
    ] {
        assert!(matches!(refused(body), Error::Json(_)), "{body:?}");
    }
    assert!(
        refused(b"7")
            .to_string()
            .starts_with("the body is the number 7")
    );
    let many = format!("[{}7]", "7,".repeat(5000));
    let error = refused(many.as_bytes()).to_string();
    assert_eq!(
        error,
        "the body has 5001 events in one delivery: at most 5000 are accepted"
    );
    let deep = "[".repeat(100_000);
    assert!(matches!(refused(deep.as_bytes()), Error::Json(_)));
    let long = "x".repeat(256);
    assert!(matches!(
        event_grid(&long, b"[]"),
        Err(Error::TooLong { .. })
    ));
    assert_eq!(event_grid("contoso", b" [ ] ").unwrap().len(), 0);
    assert_eq!(
        event_grid("contoso", "\u{feff}[]".as_bytes())
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn attributes_are_clean_and_of_members_that_come_twice_the_last_counts() {
    let event = alone(
        r#"{"ID":"no","id":"x","id":"a\u0000b","eventtype":"Contoso\n.Raised.","topic":"//host:x/{a} b%","Subject":"s\u0007",
            "eventTime":"2026-10-08","dataVersion":7,"data":1,"data":{"MessageName":7}}"#,
    )
    .unwrap();
    assert_eq!(event.id, "a%00b");
    assert_eq!(event.event_type, "Contoso%0A.Raised.");
    assert_eq!(event.source, "/%2Fhost:x/%7Ba%7D%20b%25");
    assert_eq!(event.subject.as_deref(), Some("s%07"));
    assert_eq!(event.time, None, "a day is no RFC 3339");
    assert_eq!(extensions(&event), [("partitionkey", "s%07")]);
    let subject: Subject = event.nats_subject.parse().unwrap();
    assert_eq!(
        (subject.name.as_str(), subject.action.as_str()),
        ("contoso_0a_raised", "_")
    );
}

#[test]
fn the_question_whether_events_are_wanted() {
    let question = r#"[{"id":"1","topic":"/t","subject":"","data":{"validationCode":"512d38b6","validationUrl":"https://x"},
        "eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","eventTime":"2026-10-08T10:00:00Z","metadataVersion":"1","dataVersion":"1"}]"#;
    let items = event_grid("contoso", question.as_bytes()).unwrap();
    assert_eq!(items[0].validation_code().as_deref(), Some("512d38b6"));
    let event = EventGridEvent::parse(items[0].raw.as_bytes()).unwrap();
    assert_eq!(event.validation_code(), Some("512d38b6"));
    for other in [
        question.replace("SubscriptionValidationEvent", "SubscriptionDeletedEvent"),
        question.replace("\"512d38b6\"", "\" \""),
        question.replace("\"512d38b6\"", "512"),
        question.replace("validationCode", "validationcode"),
    ] {
        let items = event_grid("contoso", other.as_bytes()).unwrap();
        assert_eq!(items[0].validation_code(), None, "{other}");
    }
}

#[test]
fn an_event_is_written_as_it_was_read() {
    let body = fixture("event-grid/delivery");
    let Json::Array(events) = serde_json::from_slice(&body).unwrap() else {
        panic!("a list");
    };
    for json in events {
        let Ok(event) = EventGridEvent::from_json(json.clone()) else {
            continue;
        };
        assert_eq!(event.to_json(), json);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            serde_json::from_str::<EventGridEvent>(&text).unwrap(),
            event
        );
    }
    let json: Json = serde_json::from_str(
        r#"{"id":"1","eventType":"a","data":null,"topic":null,"subject":7,"New":[1.50]}"#,
    )
    .unwrap();
    let event = EventGridEvent::from_json(json.clone()).unwrap();
    assert_eq!((&event.data, &event.subject), (&Some(Json::Null), &None));
    assert_eq!(event.to_json(), json);
}

#[test]
fn the_subject_of_a_type() {
    for (origin, event_type, place) in [
        (
            Origin::Dataverse,
            "d365.dataverse.custom.Nwk_Ping",
            "d365.dataverse.e_u.custom.nwk_ping.raised",
        ),
        (
            Origin::Dataverse,
            "d365.dataverse.account.update",
            "d365.dataverse.e_u.record.account.update",
        ),
        (
            Origin::Custom,
            "d365.dataverse.account.update",
            "d365.custom.e_u.record.account.update",
        ),
        (
            Origin::Fno,
            "d365.fno.mserp_x.create",
            "d365.fno.e_u.record.mserp_x.create",
        ),
        (
            Origin::Fno,
            "d365.fno.SomethingBusinessEvent",
            "d365.fno.e_u.business.somethingbusinessevent.raised",
        ),
        (
            Origin::Custom,
            "d365.custom.credit.held",
            "d365.custom.e_u.business.credit.held",
        ),
        (
            Origin::Custom,
            "d365.custom.credit",
            "d365.custom.e_u.custom.d365_custom_credit.raised",
        ),
        (
            Origin::Custom,
            "d365.dataverse.a.b.c",
            "d365.custom.e_u.custom.d365_dataverse_a_b_c.raised",
        ),
        (
            Origin::Custom,
            "com.example.thing",
            "d365.custom.e_u.custom.com_example_thing.raised",
        ),
        (
            Origin::Custom,
            "Microsoft.Storage.BlobCreated",
            "d365.custom.e_u.system.microsoft_storage.blobcreated",
        ),
        (
            Origin::EventGrid,
            "Microsoft.Storage.BlobCreated",
            "d365.eventgrid.e_u.system.microsoft_storage.blobcreated",
        ),
        (
            Origin::EventGrid,
            "Contoso.Items.Received",
            "d365.eventgrid.e_u.custom.contoso_items.received",
        ),
        (
            Origin::EventGrid,
            "Contoso",
            "d365.eventgrid.e_u.custom.contoso.raised",
        ),
        (
            Origin::EventGrid,
            "d365.fno.x.update",
            "d365.eventgrid.e_u.record.x.update",
        ),
        (
            Origin::Custom,
            "Microsoft.Entra.SignIn.Failed",
            "d365.custom.e_u.system.microsoft_entra_signin.failed",
        ),
        (
            Origin::Custom,
            "Contoso.Order.Placed",
            "d365.custom.e_u.custom.contoso_order_placed.raised",
        ),
        (
            Origin::Custom,
            "d365.system.dead-letter",
            "d365.custom.e_u.system.dead-letter.raised",
        ),
        (
            Origin::Custom,
            "d365.system.sign-in.failed",
            "d365.custom.e_u.system.sign-in.failed",
        ),
        (Origin::EventGrid, ".", "d365.eventgrid.e_u.custom._._"),
        (Origin::Custom, "", "d365.custom.e_u.custom._.raised"),
    ] {
        let subject = Subject::of_type(origin, "E U", event_type, "a");
        assert_eq!(subject.to_string(), format!("{place}.12"), "{event_type}");
        assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
    }
}

#[test]
fn long_names_are_cut() {
    let long = "é".repeat(3000);
    let event_type = format!("d365.custom.{long}.{long}");
    let subject = Subject::of_type(Origin::Custom, &long, &event_type, &long);
    assert_eq!(subject.name, "_".repeat(255));
    assert!(subject.to_string().len() < 1100);
    let event = alone(&format!(r#"{{"id":"1","eventType":"{long}"}}"#)).unwrap();
    assert_eq!(event.event_type, long, "the event keeps it");
    assert!(event.nats_subject.parse::<Subject>().is_ok());
}
