//! Takes a table and what is to have happened to a record, gives the event that Dataverse sends.

use super::event_of;
use crate::Event;
use crate::d365::{Entity, EntityReference, Image, Pair, Pairs, RemoteExecutionContext, Value};

/// The record when a test does not name one.
const RECORD: &str = "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05";

/// Begins a change of a record of this table, by its logical name: `account`. An update, until
/// another message is asked for.
pub fn record(table: &str) -> RecordBuilder {
    RecordBuilder {
        table: table.to_owned(),
        environment: "contoso".to_owned(),
        context: RemoteExecutionContext {
            message_name: "Update".to_owned(),
            primary_entity_name: Some(table.to_owned()),
            primary_entity_id: Some(RECORD.to_owned()),
            secondary_entity_name: Some("none".to_owned()),
            organization_id: Some("3b2f6f0e-6d7c-4f0a-9f52-d1c7f5a6b801".to_owned()),
            organization_name: Some("contoso".to_owned()),
            user_id: Some("91a6f0d4-2f6b-4c0e-8b0a-6d1f6b6f2a11".to_owned()),
            initiating_user_id: Some("91a6f0d4-2f6b-4c0e-8b0a-6d1f6b6f2a11".to_owned()),
            correlation_id: Some("5f3f2a5e-0c66-4f0d-9d36-0a0d7c1b9e21".to_owned()),
            operation_id: Some("c1d9a7de-3b0e-4f26-8f5c-7f0e9a1b2c31".to_owned()),
            operation_created_on: Some("/Date(1700000000000+0000)/".to_owned()),
            depth: Some(1),
            stage: Some(40),
            mode: Some(1),
            owning_extension: Some(EntityReference {
                logical_name: Some("sdkmessageprocessingstep".to_owned()),
                id: Some("0d6f1f3e-8a5b-4a57-9a0c-2b7e4d9c5a41".to_owned()),
                ..EntityReference::default()
            }),
            ..RemoteExecutionContext::default()
        },
        columns: Pairs::default(),
        has_target: true,
    }
}

/// A change of a record, under construction.
///
/// [`event`](Self::event) gives what the gateway makes of the body that Dataverse posts for it.
#[derive(Debug, Clone)]
#[must_use = "event() gives the event"]
pub struct RecordBuilder {
    table: String,
    environment: String,
    context: RemoteExecutionContext,
    columns: Pairs,
    /// Whether the Target is a row; else it is a reference to one.
    has_target: bool,
}

impl RecordBuilder {
    /// The record was created.
    pub fn create(self) -> Self {
        self.message("Create", true)
    }

    /// The record was updated.
    pub fn update(self) -> Self {
        self.message("Update", true)
    }

    /// The record was deleted: the message has no columns.
    pub fn delete(self) -> Self {
        self.message("Delete", false)
    }

    /// Another message, such as `Assign`; `has_row` says whether its Target is a row or a
    /// reference.
    pub fn message(mut self, name: &str, has_row: bool) -> Self {
        self.context.message_name = name.to_owned();
        self.has_target = has_row;
        self
    }

    /// The record's id.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.context.primary_entity_id = Some(id.into());
        self
    }

    /// A column that the message carries.
    pub fn set(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.columns.0.retain(|pair| pair.key != column);
        self.columns.0.push(Pair {
            key: column.to_owned(),
            value: value.into(),
            ..Pair::default()
        });
        self
    }

    /// A column that was cleared.
    pub fn clear(self, column: &str) -> Self {
        self.set(column, Value::Null)
    }

    /// The record before the operation, as a step registers it under this name.
    pub fn pre_image<C: Into<String>, V: Into<Value>>(
        mut self,
        name: &str,
        columns: impl IntoIterator<Item = (C, V)>,
    ) -> Self {
        let image = self.image(name, columns);
        self.context.pre_entity_images.push(image);
        self
    }

    /// The record after the operation.
    pub fn post_image<C: Into<String>, V: Into<Value>>(
        mut self,
        name: &str,
        columns: impl IntoIterator<Item = (C, V)>,
    ) -> Self {
        let image = self.image(name, columns);
        self.context.post_entity_images.push(image);
        self
    }

    /// The environment that posts it; `contoso` when left out.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = environment.into();
        self
    }

    /// Changes whatever else the message says: its user, its depth, its parameters.
    pub fn with(mut self, change: impl FnOnce(&mut RemoteExecutionContext)) -> Self {
        change(&mut self.context);
        self
    }

    /// The body that Dataverse posts.
    pub fn body(&self) -> Vec<u8> {
        let mut context = self.context.clone();
        let id = context.primary_entity_id.clone();
        let logical_name = Some(self.table.clone());
        let target = if self.has_target {
            Value::from(Entity {
                logical_name,
                id,
                attributes: self.columns.clone(),
                ..Entity::default()
            })
        } else {
            Value::from(EntityReference {
                logical_name,
                id,
                ..EntityReference::default()
            })
        };
        if !context.input_parameters.contains("Target") {
            context.input_parameters.0.push(Pair {
                key: "Target".to_owned(),
                value: target,
                ..Pair::default()
            });
        }
        match serde_json::to_vec(&context) {
            Ok(body) => body,
            Err(error) => panic!("the message cannot be written as JSON: {error}"),
        }
    }

    /// The event that the gateway makes of it.
    pub fn event(&self) -> Event {
        event_of(&self.environment, self.body())
    }

    fn image<C: Into<String>, V: Into<Value>>(
        &self,
        name: &str,
        columns: impl IntoIterator<Item = (C, V)>,
    ) -> Image {
        let columns = columns.into_iter();
        let entity = Entity {
            logical_name: Some(self.table.clone()),
            id: self.context.primary_entity_id.clone(),
            attributes: columns
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            ..Entity::default()
        };
        Image {
            name: name.to_owned(),
            entity,
            extra: Default::default(),
        }
    }
}

impl From<RecordBuilder> for Event {
    fn from(builder: RecordBuilder) -> Self {
        builder.event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{choice, date, lookup, money};

    #[test]
    fn the_event_is_what_the_gateway_makes_of_such_a_body() {
        let event = record("account")
            .environment("Contoso Ltd")
            .set("creditlimit", money("50000.0001"))
            .set("statuscode", choice(2))
            .set("primarycontactid", lookup("contact", RECORD))
            .set("modifiedon", date("2026-11-24T09:30:00.250Z"))
            .clear("fax")
            .event();
        assert_eq!(event.event_type(), "d365.dataverse.account.update");
        assert_eq!(event.environment().as_deref(), Some("Contoso Ltd"));
        assert_eq!(event.subject(), Some(format!("account/{RECORD}").as_str()));
        assert_eq!(event.time(), Some("2026-11-24T09:30:00.25Z"));
        assert_eq!(event.text("d365depth").as_deref(), Some("1"));
        let record = event.record().unwrap();
        assert_eq!(record.money("creditlimit").unwrap().text(), "50000.0001");
        assert_eq!(record.choice("statuscode"), Some(2));
        assert_eq!(
            record.lookup("primarycontactid").unwrap().known_id(),
            Some(RECORD)
        );
        assert!(record.changed("fax") && record.text("fax").is_none());
    }

    #[test]
    fn a_delete_has_a_reference_and_another_message_is_what_it_says() {
        let deleted = record("account").delete().event();
        assert_eq!(deleted.event_type(), "d365.dataverse.account.delete");
        let deleted = deleted.record().unwrap();
        assert!(deleted.target().is_none());
        assert_eq!(deleted.target_reference().unwrap().known_id(), Some(RECORD));
        let assigned = record("account")
            .message("Assign", false)
            .with(|context| context.depth = Some(3))
            .event();
        assert_eq!(assigned.event_type(), "d365.dataverse.account.assign");
        assert_eq!(assigned.text("d365depth").as_deref(), Some("3"));
    }
}
