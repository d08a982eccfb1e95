//! Takes a Dataverse execution context, gives its record, its changes and its facts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::describe;
use crate::json::Plain;
use crate::members::{Reader, Writer};
use crate::{EntityReference, Error, Image, Json, Members, Pairs, json, map};

/// How many parents up a context is read; the next one stays JSON, in `extra`. The platform
/// ends a chain at depth 8, with two contexts a depth; a small stack holds twice as many.
const PARENTS: u8 = 32;

/// `RemoteExecutionContext`: what Dataverse posts to webhooks, Service Bus and Event Hubs, and
/// what Finance and Operations posts for its data events.
///
/// Fields hold the wire's text; the methods give meaning to it.
/// Source: Microsoft.Xrm.Sdk.RemoteExecutionContext as its JSON serializer writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteExecutionContext {
    /// `Create`, `Update`, `Delete`, `Assign`, …, or the unique name of a custom API.
    pub message_name: String,
    /// Logical name of the table; `none` for an unbound custom API.
    pub primary_entity_name: Option<String>,
    /// The record's id; the zero GUID for unbound custom APIs and data events.
    pub primary_entity_id: Option<String>,
    /// `none`, or the second table of a few old messages.
    pub secondary_entity_name: Option<String>,
    /// The organization's id.
    pub organization_id: Option<String>,
    /// The organization's unique name.
    pub organization_name: Option<String>,
    /// Business unit of the user.
    pub business_unit_id: Option<String>,
    /// The user as whom the step runs.
    pub user_id: Option<String>,
    /// The user who caused the event.
    pub initiating_user_id: Option<String>,
    /// The user's id in Microsoft Entra; missing before 2020.
    pub user_azure_active_directory_object_id: Option<String>,
    /// The initiating user's id in Microsoft Entra; missing before 2020.
    pub initiating_user_azure_active_directory_object_id: Option<String>,
    /// The client of the initiating user; missing before 2020.
    pub initiating_user_agent: Option<String>,
    /// The same for everything that one request from outside caused.
    pub correlation_id: Option<String>,
    /// Asynchronous: the system job. Synchronous: the request, shared by all of its steps.
    pub operation_id: Option<String>,
    /// When the operation began, as text: read it with
    /// [`RemoteExecutionContext::operation_time`], its offset is a trap.
    pub operation_created_on: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// How many operations deep in a chain of plug-ins, from 1; the platform ends a chain at 8.
    pub depth: Option<i64>,
    /// 10 and 20 before, 30 in (only seen in parents), 40 after the operation.
    pub stage: Option<i64>,
    /// 0 synchronous, 1 asynchronous.
    pub mode: Option<i64>,
    /// 1 none, 2 sandbox.
    pub isolation_mode: Option<i64>,
    /// Whether a database transaction is open: it can still be rolled back after this event.
    pub is_in_transaction: Option<bool>,
    /// Whether the operation ran in an offline client.
    pub is_executing_offline: Option<bool>,
    /// Whether the operation was replayed from an offline client.
    pub is_offline_playback: Option<bool>,
    /// The step that sent the event; its name is null when asynchronous.
    pub owning_extension: Option<EntityReference>,
    /// The message's parameters.
    pub input_parameters: Pairs,
    /// The message's results.
    pub output_parameters: Pairs,
    /// What plug-ins of the same pipeline left for each other.
    pub shared_variables: Pairs,
    /// The record before the operation.
    pub pre_entity_images: Vec<Image>,
    /// The record after the operation.
    pub post_entity_images: Vec<Image>,
    /// The operation that this one is part of. Above 32 parents the next is left in `extra`.
    pub parent_context: Option<Box<RemoteExecutionContext>>,
    /// Every other member as it came, and what is null, empty or of another type.
    pub extra: Members,
}

impl RemoteExecutionContext {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::NotAnObject`], [`Error::Unrecognised`] without a
    /// `MessageName`, [`Error::Shape`] for a list that is none.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        RemoteExecutionContext::from_json(json(body)?)
    }

    /// Reads a body that is JSON already.
    ///
    /// # Errors
    /// As [`RemoteExecutionContext::parse`].
    pub fn from_json(json: Json) -> Result<Self, Error> {
        let Json::Object(members) = json else {
            return Err(Error::NotAnObject {
                found: describe(&json),
            });
        };
        let mut members = Reader(members);
        let Some(name) = members.take("MessageName", is_name) else {
            return Err(map::unrecognised(&members.0));
        };
        members.0.insert("MessageName".to_owned(), name);
        RemoteExecutionContext::from_members(members, PARENTS)
    }

    fn from_members(mut members: Reader, parents: u8) -> Result<Self, Error> {
        let owning_extension = match members.object("OwningExtension") {
            Some(reference) => Some(
                EntityReference::from_members(Reader(reference))
                    .map_err(|error| error.within("OwningExtension"))?,
            ),
            None => None,
        };
        let parent_context = match parents.checked_sub(1) {
            Some(parents) => parent(&mut members, parents)?,
            None => None,
        };
        let m = &mut members;
        Ok(RemoteExecutionContext {
            // A parent's may be missing.
            message_name: m
                .take("MessageName", is_name)
                .and_then(|name| name.as_str().map(str::to_owned))
                .unwrap_or_default(),
            primary_entity_name: m.text("PrimaryEntityName"),
            primary_entity_id: m.text("PrimaryEntityId"),
            secondary_entity_name: m.text("SecondaryEntityName"),
            organization_id: m.text("OrganizationId"),
            organization_name: m.text("OrganizationName"),
            business_unit_id: m.text("BusinessUnitId"),
            user_id: m.text("UserId"),
            initiating_user_id: m.text("InitiatingUserId"),
            user_azure_active_directory_object_id: m.text("UserAzureActiveDirectoryObjectId"),
            initiating_user_azure_active_directory_object_id: m
                .text("InitiatingUserAzureActiveDirectoryObjectId"),
            initiating_user_agent: m.text("InitiatingUserAgent"),
            correlation_id: m.text("CorrelationId"),
            operation_id: m.text("OperationId"),
            operation_created_on: m.text("OperationCreatedOn"),
            request_id: m.text("RequestId"),
            depth: m.integer("Depth"),
            stage: m.integer("Stage"),
            mode: m.integer("Mode"),
            isolation_mode: m.integer("IsolationMode"),
            is_in_transaction: m.flag("IsInTransaction"),
            is_executing_offline: m.flag("IsExecutingOffline"),
            is_offline_playback: m.flag("IsOfflinePlayback"),
            owning_extension,
            input_parameters: Pairs::take(m, "InputParameters")?,
            output_parameters: Pairs::take(m, "OutputParameters")?,
            shared_variables: Pairs::take(m, "SharedVariables")?,
            pre_entity_images: Image::take(m, "PreEntityImages")?,
            post_entity_images: Image::take(m, "PostEntityImages")?,
            parent_context,
            extra: members.0,
        })
    }

    /// The JSON that this context is read from.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut members = Writer(self.extra.clone());
        let m = &mut members;
        let message = Some(self.message_name.as_str()).filter(|name| !name.is_empty());
        let texts = [
            ("MessageName", message),
            ("PrimaryEntityName", self.primary_entity_name.as_deref()),
            ("PrimaryEntityId", self.primary_entity_id.as_deref()),
            ("SecondaryEntityName", self.secondary_entity_name.as_deref()),
            ("OrganizationId", self.organization_id.as_deref()),
            ("OrganizationName", self.organization_name.as_deref()),
            ("BusinessUnitId", self.business_unit_id.as_deref()),
            ("UserId", self.user_id.as_deref()),
            ("InitiatingUserId", self.initiating_user_id.as_deref()),
            (
                "UserAzureActiveDirectoryObjectId",
                self.user_azure_active_directory_object_id.as_deref(),
            ),
            (
                "InitiatingUserAzureActiveDirectoryObjectId",
                self.initiating_user_azure_active_directory_object_id
                    .as_deref(),
            ),
            ("InitiatingUserAgent", self.initiating_user_agent.as_deref()),
            ("CorrelationId", self.correlation_id.as_deref()),
            ("OperationId", self.operation_id.as_deref()),
            ("OperationCreatedOn", self.operation_created_on.as_deref()),
            ("RequestId", self.request_id.as_deref()),
        ];
        for (name, value) in texts {
            m.put(name, value);
        }
        m.put("Depth", self.depth);
        m.put("Stage", self.stage);
        m.put("Mode", self.mode);
        m.put("IsolationMode", self.isolation_mode);
        m.put("IsInTransaction", self.is_in_transaction);
        m.put("IsExecutingOffline", self.is_executing_offline);
        m.put("IsOfflinePlayback", self.is_offline_playback);
        let step = self.owning_extension.as_ref();
        m.put("OwningExtension", step.map(EntityReference::to_members));
        self.input_parameters.put(m, "InputParameters");
        self.output_parameters.put(m, "OutputParameters");
        self.shared_variables.put(m, "SharedVariables");
        Image::put(&self.pre_entity_images, m, "PreEntityImages");
        Image::put(&self.post_entity_images, m, "PostEntityImages");
        let parent = self.parent_context.as_ref();
        m.put("ParentContext", parent.map(|parent| parent.to_json()));
        Json::Object(members.0)
    }
}

/// The parent, with so many parents of its own at most.
fn parent(members: &mut Reader, parents: u8) -> Result<Option<Box<RemoteExecutionContext>>, Error> {
    members
        .object("ParentContext")
        .map(|parent| {
            RemoteExecutionContext::from_members(Reader(parent), parents)
                .map(Box::new)
                .map_err(|error| error.within("ParentContext"))
        })
        .transpose()
}

/// Whether a message's name is one: a text that is not blank.
fn is_name(json: &Json) -> bool {
    json.as_str().is_some_and(|name| !name.trim().is_empty())
}

impl Serialize for RemoteExecutionContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RemoteExecutionContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RemoteExecutionContext::from_json(Plain::deserialize(deserializer)?.0)
            .map_err(serde::de::Error::custom)
    }
}
