//! Takes a catalogue, gives it as an AsyncAPI 3 document.

use serde_json::{Map, Value, json};

use super::{Catalogue, Entry};
use crate::schemas::registry::Version;

/// Characters of a key that AsyncAPI allows; another one becomes `_`.
fn id(text: &str) -> String {
    let allowed = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
        _ => '_',
    };
    text.chars().map(allowed).collect()
}

/// The document. `server` is where the broker is, without credentials.
pub fn document(catalogue: &Catalogue, (title, server): (&str, &str)) -> Value {
    let mut channels = Map::new();
    let mut messages = Map::new();
    let mut operations = Map::new();
    for (event_type, entry) in &catalogue.events {
        let names = put_messages(&mut messages, event_type, entry);
        for place in places(entry) {
            let key = id(place.unwrap_or(event_type));
            let channel = channels
                .entry(key.clone())
                .or_insert_with(|| channel(place));
            add_messages(channel, &names);
            let consumers = entry.consumers.iter().map(|name| (name, "receive"));
            let emitters = entry.emitters.iter().map(|name| (name, "send"));
            for (plugin, action) in consumers.chain(emitters) {
                let operation = operation(catalogue, (plugin, action), &key);
                operations.insert(format!("{}_{action}_{key}", id(plugin)), operation);
            }
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The events of a Sluicegate event store: what is in it, which schemas \
                are known, and which plug-ins get and emit them. Written from what is registered \
                by `sluice docs`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": server,
                "protocol": "nats",
                "description": "NATS JetStream, stream EVENTS",
            },
        },
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

/// The subjects of a type; none where it was never sent, and so nobody knows where it will be.
fn places(entry: &Entry) -> Vec<Option<&str>> {
    if entry.channels.is_empty() {
        return vec![None];
    }
    let places = entry.channels.keys();
    places.map(|place| Some(place.as_str())).collect()
}

fn channel(place: Option<&str>) -> Value {
    let Some(place) = place else {
        return json!({
            "address": null,
            "description": "Nothing of it is in the event store: it was never sent, or has left.",
            "messages": {},
        });
    };
    json!({
        "address": format!("{place}.{{slot}}"),
        "parameters": {
            "slot": {
                "description": "FNV-1a 32 of the partition key, modulo 16",
                "enum": (0..16).map(|slot| slot.to_string()).collect::<Vec<_>>(),
            },
        },
        "servers": [{ "$ref": "#/servers/broker" }],
        "messages": {},
    })
}

fn add_messages(channel: &mut Value, names: &[String]) {
    let messages = channel.get_mut("messages").and_then(Value::as_object_mut);
    if let Some(messages) = messages {
        for name in names {
            let reference = json!({ "$ref": format!("#/components/messages/{name}") });
            messages.insert(name.clone(), reference);
        }
    }
}

/// One message for each version, or one without a payload that is known.
fn put_messages(messages: &mut Map<String, Value>, event_type: &str, entry: &Entry) -> Vec<String> {
    if entry.versions.is_empty() {
        let name = id(event_type);
        messages.insert(name.clone(), message(event_type, None));
        return vec![name];
    }
    let versions = entry.versions.values();
    let named = versions.map(|version| {
        let name = format!("{}_v{}", id(event_type), version.version);
        messages.insert(name.clone(), message(event_type, Some(version)));
        name
    });
    named.collect()
}

fn message(event_type: &str, version: Option<&Version>) -> Value {
    let text = json!({ "type": "string" });
    let mut message = json!({
        "name": event_type,
        "title": version.map_or_else(
            || event_type.to_owned(),
            |version| format!("{event_type}, version {}", version.version),
        ),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
            "properties": {
                "ce-specversion": { "type": "string", "const": "1.0" },
                "ce-id": text,
                "ce-source": text,
                "ce-type": { "type": "string", "const": event_type },
                "ce-subject": text,
                "ce-time": { "type": "string", "format": "date-time" },
                "ce-partitionkey": text,
                "ce-dataschema": text,
                "ce-correlationid": text,
                "ce-causationid": text,
                "ce-traceparent": text,
            },
        },
    });
    if let (Some(version), Some(members)) = (version, message.as_object_mut()) {
        let summary = format!(
            "{}, {}; {} bodies",
            version.origin, version.since, version.seen
        );
        members.insert("summary".to_owned(), summary.into());
        members.insert("payload".to_owned(), payload(&version.schema));
    }
    message
}

/// The schema as AsyncAPI's own dialect has it: what it says is the same in both.
fn payload(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$schema");
    }
    schema
}

fn operation(catalogue: &Catalogue, (plugin, action): (&str, &str), key: &str) -> Value {
    let version = catalogue.plugins.get(plugin);
    let version = version.map_or("", |plugin| plugin.version.as_str());
    let summary = match action {
        "receive" => format!("{plugin} {version} gets them"),
        _ => format!("{plugin} {version} may emit them"),
    };
    json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{key}") },
        "summary": summary,
        "tags": [{ "name": plugin }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::catalogue;
    use super::*;

    #[test]
    fn what_is_referred_to_is_there() {
        let document = document(&catalogue(), ("Events", "localhost:4222"));
        let at = |pointer: &str| document.pointer(pointer).unwrap_or(&Value::Null);
        let update = "d365_dataverse_contoso_record_account_update";
        assert_eq!(
            at(&format!("/channels/{update}/address")),
            "d365.dataverse.contoso.record.account.update.{slot}"
        );
        assert_eq!(at("/channels/d365_fno_Never/address"), &Value::Null);
        let operation = format!("/operations/credit-hold_receive_{update}");
        assert_eq!(at(&format!("{operation}/action")), "receive");
        let reference = at(&format!("{operation}/channel/$ref"))
            .as_str()
            .unwrap_or("");
        assert!(
            document.pointer(&reference.replace('#', "")).is_some(),
            "{reference}"
        );
        let messages = at(&format!("/channels/{update}/messages"))
            .as_object()
            .cloned();
        for (_, reference) in messages.expect("messages") {
            let reference = reference
                .get("$ref")
                .and_then(Value::as_str)
                .expect("a reference");
            let message = document
                .pointer(&reference.replace('#', ""))
                .expect(reference);
            assert_eq!(
                message.pointer("/payload/required/0"),
                Some(&"Depth".into())
            );
            assert_eq!(message.pointer("/payload/$schema"), None);
        }
        assert!(
            at("/operations/credit-hold_send_d365_custom_contoso_business_credit_held").is_object()
        );
    }
}
