//! Captured bodies of others, where this machine has them: they are not part of the project.

use std::path::PathBuf;

use serde_json::Value as Json;
use sluicegate_d365::{
    BusinessEvent, Mapped, RemoteExecutionContext, Subject, Value, event_grid, map,
};

/// The folder, or none: then there is nothing to test.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICEGATE_FIXTURES").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/fixtures"
            ))
        },
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

/// Every file whose name begins so, with its bytes.
pub(crate) fn bodies(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = folder() else {
        eprintln!("skipped: no captured bodies on this machine");
        return Vec::new();
    };
    let mut bodies: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the folder can be listed")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            (name.starts_with(prefix) && name.ends_with(".json"))
                .then(|| (name, std::fs::read(&path).expect("a body can be read")))
        })
        .collect();
    bodies.sort();
    bodies
}

fn body(name: &str) -> Option<Vec<u8>> {
    let found = bodies(name).into_iter().next();
    found.map(|(_, body)| body)
}

fn mapped(name: &str) -> Option<Mapped> {
    body(name).map(|body| map("contoso", &body).expect(name))
}

#[test]
fn every_body_is_read_mapped_and_written_as_it_was() {
    for (name, body) in bodies("dataverse-") {
        let context =
            RemoteExecutionContext::parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(context.to_json(), json, "{name}");
        let event = map("contoso", &body).unwrap();
        assert!(event.nats_subject.parse::<Subject>().is_ok(), "{name}");
        assert!(event.time.is_some(), "{name}");
        assert!(!context.is_truncated(), "{name}");
    }
    for (name, body) in bodies("fno-be-") {
        let event = BusinessEvent::parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(event.to_json(), json, "{name}");
        assert!(map("contoso", &body).is_ok(), "{name}");
    }
}

#[test]
fn event_grid_deliveries_are_refused() {
    for (name, body) in bodies("eventgrid-") {
        assert!(map("contoso", &body).is_err(), "{name}");
    }
}

#[test]
fn event_grid_deliveries_are_mapped_as_such() {
    if let Some(body) = body("eventgrid-eg-blobcreated-batch1") {
        for item in event_grid("contoso", &body).unwrap() {
            let event = item.mapped.unwrap();
            assert_eq!(event.event_type, "Microsoft.Storage.BlobCreated");
            let subject = "d365.eventgrid.contoso.system.microsoft_storage.blobcreated.";
            assert!(event.nats_subject.starts_with(subject));
            assert!(event.source.starts_with("/subscriptions/"));
            assert_eq!(event.subject.as_deref(), Some(event.partition_key.as_str()));
            assert!(event.time.is_some() && item.data.is_some());
        }
    }
    // The name of the answer begins so too.
    if let Some(body) = body("eventgrid-eg-subscription-validation.json") {
        let items = event_grid("contoso", &body).unwrap();
        assert_eq!(items.len(), 1);
        assert!(items[0].validation_code().is_some());
    }
}

#[test]
fn no_value_of_a_known_type_is_left_as_json() {
    fn check(name: &str, context: &RemoteExecutionContext) {
        for (key, value) in context.input_parameters.iter().chain(context.changes()) {
            assert!(!matches!(value, Value::Other(_)), "{name}: {key}");
        }
        if let Some(parent) = context.parent_context.as_deref() {
            check(name, parent);
        }
    }
    for (name, body) in bodies("dataverse-") {
        check(&name, &RemoteExecutionContext::parse(&body).unwrap());
    }
}

#[test]
fn the_date_trap() {
    let Some(body) = body("dataverse-msdocs-contact-update") else {
        return;
    };
    let context = RemoteExecutionContext::parse(&body).unwrap();
    let modified = context.when("modifiedon").unwrap().unix_ms();
    let operation = context.operation_time().unwrap().unix_ms();
    assert_eq!(operation - modified, 1000, "not seven hours and a second");
}

#[test]
fn subjects_and_types() {
    for (name, event_type, subject) in [
        (
            "dataverse-webhook-lead-create",
            "d365.dataverse.lead.create",
            "d365.dataverse.contoso.record.lead.create.",
        ),
        (
            "dataverse-webhook-opportunity-assign",
            "d365.dataverse.opportunity.assign",
            "d365.dataverse.contoso.record.opportunity.assign.",
        ),
        (
            "dataverse-customapi-allparams-async-0",
            "d365.dataverse.custom.devkit_debugcustomapi",
            "d365.dataverse.contoso.custom.devkit_debugcustomapi.raised.",
        ),
        (
            "fno-be-customer-changed-custom",
            "d365.fno.FFYCustomerChangedBusinessEvent",
            "d365.fno.contoso.business.ffycustomerchangedbusinessevent.raised.",
        ),
    ] {
        let Some(event) = mapped(name) else {
            return;
        };
        assert_eq!(event.event_type, event_type);
        assert!(
            event.nats_subject.starts_with(subject),
            "{}",
            event.nats_subject
        );
    }
}
