//! Takes descriptions that others make of their bodies, gives shapes by event type.

use serde_json::{Map, Value, json};

use crate::kinds::Kinds;
use crate::read::Error;
use crate::shape::{Content, Member, Members, Shape};

/// Types of one document.
const MAX_TYPES: usize = 2_000;
pub(crate) const CLASS: &str = ":http://schemas.microsoft.com/xrm/2011/Contracts";

/// What a document says of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The CloudEvents type.
    pub event_type: String,
    /// Its bodies.
    pub shape: Shape,
}

/// Dataverse: the answer to `EntityDefinitions(LogicalName='account')?$expand=Attributes`, or to
/// `EntityDefinitions?$expand=Attributes`. Gives `create` and `update` of each table; no column is
/// required, since an update has those that were changed.
///
/// # Errors
/// When the document is something else.
pub fn dataverse(document: &Value) -> Result<Vec<Imported>, Error> {
    let tables = match document.get("value") {
        Some(Value::Array(tables)) => tables.iter().collect(),
        _ => vec![document],
    };
    let mut found = Vec::new();
    for table in tables {
        let name = table.get("LogicalName").and_then(Value::as_str);
        let columns = table.get("Attributes").and_then(Value::as_array);
        let (Some(name), Some(columns)) = (name, columns) else {
            return Err(Error::Other(
                "found no LogicalName and Attributes, expected EntityDefinitions with \
                 $expand=Attributes"
                    .to_owned(),
            ));
        };
        for message in ["create", "update"] {
            let event_type = format!("d365.dataverse.{name}.{message}");
            let shape = record(columns);
            found.push(Imported { event_type, shape });
        }
        bounded(&found)?;
    }
    Ok(found)
}

/// F&O: what "Download schema" of the business events catalog gives, which is JSON Schema, or a
/// body with no values in it. It does not say its type in a way that can be relied upon.
///
/// # Errors
/// When it is no JSON object.
pub fn fno(document: &Value) -> Result<Shape, Error> {
    let Value::Object(object) = document else {
        return Err(Error::Other(
            "found no object, expected a schema or a body".to_owned(),
        ));
    };
    let is_schema = object.contains_key("$schema")
        || (object.contains_key("properties") && object.contains_key("type"));
    match is_schema {
        true => Shape::read(document),
        false => Ok(Shape::of(document)),
    }
}

/// AsyncAPI 2 and 3, as JSON: each message with a payload, by its `name` or else its key.
///
/// # Errors
/// When the document is something else, or a payload is no schema.
pub fn asyncapi(document: &Value) -> Result<Vec<Imported>, Error> {
    if document.get("asyncapi").is_none() {
        let text = "found no member asyncapi, expected an AsyncAPI document in JSON";
        return Err(Error::Other(text.to_owned()));
    }
    let of = |value: Option<&Value>| {
        value
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let mut messages: Map<String, Value> = of(document.pointer("/components/messages"));
    for (_, channel) in of(document.get("channels")) {
        messages.extend(of(channel.get("messages")));
        for operation in ["publish", "subscribe"] {
            if let Some(message) = channel.get(operation).and_then(|one| one.get("message")) {
                let each = message.get("oneOf").and_then(Value::as_array);
                let each = each.map_or_else(|| vec![message], |each| each.iter().collect());
                let named = each
                    .into_iter()
                    .filter_map(|one| Some((one.get("name")?.as_str()?.to_owned(), one.clone())));
                messages.extend(named);
            }
        }
    }
    let mut found: Vec<Imported> = Vec::new();
    for (key, message) in messages {
        let Some(payload) = message.get("payload") else {
            continue;
        };
        // AsyncAPI 3 may say which language the schema is in.
        let schema = payload.get("schema").unwrap_or(payload);
        let name = message.get("name").and_then(Value::as_str);
        let event_type = name.unwrap_or(&key).to_owned();
        if found.iter().any(|one| one.event_type == event_type) {
            continue;
        }
        let shape = Shape::read_in(document, schema)?;
        found.push(Imported { event_type, shape });
        bounded(&found)?;
    }
    Ok(found)
}

fn bounded(found: &[Imported]) -> Result<(), Error> {
    match MAX_TYPES < found.len() {
        true => Err(Error::TooBig),
        false => Ok(()),
    }
}

/// An execution context whose Target has these columns.
fn record(columns: &[Value]) -> Shape {
    let mut attributes = Members::default();
    for column in columns {
        let Some(name) = column.get("LogicalName").and_then(Value::as_str) else {
            continue;
        };
        // A part of another column, such as the name behind a lookup: it is never sent.
        if column.get("AttributeOf").is_some_and(|of| !of.is_null()) {
            continue;
        }
        let member = Member {
            shape: column_shape(column),
            seen: 0,
            required: false,
        };
        attributes.named.insert(name.to_owned(), member);
    }
    attributes.bound();
    let mut shape = Shape::of(&context());
    let parameters = shape.members.named.get_mut("InputParameters");
    if let Some(parameters) = parameters
        && let Content::Pairs(pairs) = &mut parameters.shape.content
        && let Some(target) = pairs.named.get_mut("Target")
        && let Some(list) = target.shape.members.named.get_mut("Attributes")
    {
        list.shape.content = Content::Pairs(attributes);
    }
    shape.open();
    shape.prune();
    shape
}

fn column_shape(column: &Value) -> Shape {
    let class = |name: &str, value: Value| {
        Shape::of(&json!({ "__type": format!("{name}{CLASS}"), "Value": value }))
    };
    let odata = column.get("@odata.type").and_then(Value::as_str);
    if odata.is_some_and(|class| class.contains("MultiSelectPicklist")) {
        return Shape::of(&json!([{ "__type": format!("OptionSetValue{CLASS}"), "Value": 1 }]));
    }
    match column
        .get("AttributeType")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "Boolean" | "ManagedProperty" => Shape::of(&json!(true)),
        "Integer" | "BigInt" | "Decimal" | "Double" => Shape::of(&json!(1)),
        "String" | "Memo" | "EntityName" | "Uniqueidentifier" | "DateTime" => Shape::of(&json!("")),
        "Money" => class("Money", json!(1)),
        "Picklist" | "State" | "Status" => class("OptionSetValue", json!(1)),
        "Lookup" | "Customer" | "Owner" => Shape::of(&json!({
            "__type": format!("EntityReference{CLASS}"),
            "Id": "", "KeyAttributes": [], "LogicalName": "", "Name": null, "RowVersion": null,
        })),
        _ => Shape::anything(),
    }
}

/// What an execution context has.
fn context() -> Value {
    let zero = "00000000-0000-0000-0000-000000000000";
    json!({
        "BusinessUnitId": zero, "CorrelationId": zero, "Depth": 1,
        "InitiatingUserAgent": null, "InitiatingUserAzureActiveDirectoryObjectId": null,
        "InitiatingUserId": zero,
        "InputParameters": [{ "key": "Target", "value": {
            "__type": format!("Entity{CLASS}"), "Attributes": [], "EntityState": null,
            "FormattedValues": [], "Id": zero, "KeyAttributes": [], "LogicalName": "",
            "RelatedEntities": [], "RowVersion": null,
        } }],
        "IsExecutingOffline": false, "IsInTransaction": false, "IsOfflinePlayback": false,
        "IsolationMode": 2, "MessageName": "", "Mode": 1, "OperationCreatedOn": "",
        "OperationId": zero, "OrganizationId": zero, "OrganizationName": "",
        "OutputParameters": [], "OwningExtension": null, "ParentContext": null,
        "PostEntityImages": [], "PreEntityImages": [], "PrimaryEntityId": zero,
        "PrimaryEntityName": "", "RequestId": null, "SecondaryEntityName": "",
        "SharedVariables": [], "Stage": 40, "UserAzureActiveDirectoryObjectId": null,
        "UserId": zero,
    })
}

impl Shape {
    /// As if nothing had been counted: no member has to be there, and each may be null.
    fn open(&mut self) {
        let open = |members: &mut Members| {
            members.of = 0;
            for member in members.named.values_mut() {
                member.seen = 0;
                member.required = false;
                if !Kinds::NULL.has(member.shape.kinds) {
                    member.shape.kinds = member.shape.kinds.with(Kinds::NULL);
                }
                member.shape.open();
            }
        };
        if self.opaque {
            return;
        }
        self.empty = 0;
        open(&mut self.members);
        match &mut self.content {
            Content::Pairs(members) => open(members),
            Content::Items(items) => items.open(),
            Content::Nothing | Content::Any => {}
        }
    }
}
