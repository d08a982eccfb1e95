//! Takes the members of a record, a reference or a collection, gives them by name.

use crate::members::{Reader, Writer, boxed_text};
use crate::{Date, Decimal, Error, Json, Members, Money, Pairs, Value, guid, pairs};

/// A record, or the part of it that a message carries.
///
/// In the Target of an update only the submitted columns are there, plus `modifiedon`,
/// `modifiedby`, `modifiedonbehalfby` and the id; a column that was cleared is there as null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entity {
    /// Logical name of the table: `account`.
    pub logical_name: Option<String>,
    /// The record's id, as it came. [`Entity::known_id`] leaves out the zero GUID.
    pub id: Option<String>,
    /// Columns by logical name.
    pub attributes: Pairs,
    /// Columns as the user sees them, in the user's language and time zone: for people only.
    pub formatted_values: Pairs,
    /// Alternate key.
    pub key_attributes: Pairs,
    /// A number as text.
    pub row_version: Option<String>,
    /// Every other member as it came (`EntityState`, `RelatedEntities`, and what is null or
    /// empty).
    pub extra: Members,
}

/// A reference to a record: a lookup, the Target of a delete or an assign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityReference {
    /// Logical name of the table: `contact`.
    pub logical_name: Option<String>,
    /// The record's id, as it came. [`EntityReference::known_id`] leaves out the zero GUID.
    pub id: Option<String>,
    /// The record's name; usually null in a Target, filled in an image.
    pub name: Option<String>,
    /// Alternate key.
    pub key_attributes: Pairs,
    /// A number as text.
    pub row_version: Option<String>,
    /// Every other member as it came, and what is null or empty.
    pub extra: Members,
}

/// A list of records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityCollection {
    /// The records.
    pub entities: Vec<Entity>,
    /// Logical name of their table.
    pub entity_name: Option<String>,
    /// Every other member as it came (`MoreRecords`, `PagingCookie`, …).
    pub extra: Members,
}

/// The relationship of an Associate or a Disassociate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relationship {
    /// Its schema name: `accountleads_association`.
    pub schema_name: Option<String>,
    /// Every other member as it came (`PrimaryEntityRole`).
    pub extra: Members,
}

/// A picture of a record before or after the operation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The name that it was registered under. On asynchronous steps the platform adds one of
    /// its own, `AsynchronousStepPrimaryName`, with nothing but the id and the primary name.
    pub name: String,
    /// The record.
    pub entity: Entity,
    /// Other members.
    pub extra: Members,
}

impl Entity {
    /// The record's id without braces, unless it is missing or zero.
    #[must_use]
    pub fn known_id(&self) -> Option<&str> {
        let id = self.id.as_deref();
        id.or_else(|| boxed_text(&self.extra, "Id"))
            .and_then(guid::known)
    }

    /// A column, null or not; `None` when the message does not carry it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.get(name)
    }

    /// A text or GUID column.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.attribute(name)?.text()
    }

    /// A two-option column.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.attribute(name)?.flag()
    }

    /// A whole-number column.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.integer()
    }

    /// A decimal, whole-number or money column, exactly.
    #[must_use]
    pub fn decimal(&self, name: &str) -> Option<Decimal> {
        self.attribute(name)?.decimal()
    }

    /// A money column.
    #[must_use]
    pub fn money(&self, name: &str) -> Option<&Money> {
        self.attribute(name)?.money()
    }

    /// A choice column.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.choice()
    }

    /// A multi-select choice column.
    #[must_use]
    pub fn choices(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name)?.choices()
    }

    /// A lookup column.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&EntityReference> {
        self.attribute(name)?.lookup()
    }

    /// A date column.
    #[must_use]
    pub fn when(&self, name: &str) -> Option<Date> {
        self.attribute(name)?.when()
    }

    pub(crate) fn from_members(mut members: Reader) -> Result<Self, Error> {
        Ok(Entity {
            logical_name: members.text("LogicalName"),
            id: members.text("Id"),
            attributes: Pairs::take(&mut members, "Attributes")?,
            formatted_values: Pairs::take(&mut members, "FormattedValues")?,
            key_attributes: Pairs::take(&mut members, "KeyAttributes")?,
            row_version: members.text("RowVersion"),
            extra: members.0,
        })
    }

    pub(crate) fn to_members(&self) -> Members {
        let mut members = Writer(self.extra.clone());
        members.put("LogicalName", self.logical_name.as_deref());
        members.put("Id", self.id.as_deref());
        self.attributes.put(&mut members, "Attributes");
        self.formatted_values.put(&mut members, "FormattedValues");
        self.key_attributes.put(&mut members, "KeyAttributes");
        members.put("RowVersion", self.row_version.as_deref());
        members.0
    }

    fn from_json(json: Json) -> Result<Self, Error> {
        match json {
            Json::Object(members) => Entity::from_members(Reader(members)),
            other => Err(Error::shape("", &other, "a record: an object")),
        }
    }
}

impl EntityReference {
    /// The record's id without braces, unless it is missing or zero.
    #[must_use]
    pub fn known_id(&self) -> Option<&str> {
        let id = self.id.as_deref();
        id.or_else(|| boxed_text(&self.extra, "Id"))
            .and_then(guid::known)
    }

    pub(crate) fn from_members(mut members: Reader) -> Result<Self, Error> {
        Ok(EntityReference {
            logical_name: members.text("LogicalName"),
            id: members.text("Id"),
            name: members.text("Name"),
            key_attributes: Pairs::take(&mut members, "KeyAttributes")?,
            row_version: members.text("RowVersion"),
            extra: members.0,
        })
    }

    pub(crate) fn to_members(&self) -> Members {
        let mut members = Writer(self.extra.clone());
        members.put("LogicalName", self.logical_name.as_deref());
        members.put("Id", self.id.as_deref());
        members.put("Name", self.name.as_deref());
        self.key_attributes.put(&mut members, "KeyAttributes");
        members.put("RowVersion", self.row_version.as_deref());
        members.0
    }
}

impl EntityCollection {
    pub(crate) fn from_members(mut members: Reader) -> Result<Self, Error> {
        Ok(EntityCollection {
            entities: members.list("Entities", "a list of records, or null", Entity::from_json)?,
            entity_name: members.text("EntityName"),
            extra: members.0,
        })
    }

    pub(crate) fn to_members(&self) -> Members {
        let mut members = Writer(self.extra.clone());
        members.list("Entities", &self.entities, |entity| {
            Json::Object(entity.to_members())
        });
        members.put("EntityName", self.entity_name.as_deref());
        members.0
    }
}

impl Relationship {
    pub(crate) fn from_members(mut members: Reader) -> Self {
        Relationship {
            schema_name: members.text("SchemaName"),
            extra: members.0,
        }
    }

    pub(crate) fn to_members(&self) -> Members {
        let mut members = Writer(self.extra.clone());
        members.put("SchemaName", self.schema_name.as_deref());
        members.0
    }
}

impl Image {
    /// Takes the images of this name out of an object.
    pub(crate) fn take(members: &mut Reader, name: &str) -> Result<Vec<Self>, Error> {
        members.list(name, pairs::ACCEPTED_LIST, |json| {
            let (name, value, extra) = pairs::split(json)?;
            let entity = Entity::from_json(value).map_err(|error| error.within("value"))?;
            Ok(Image {
                name,
                entity,
                extra,
            })
        })
    }

    /// Puts them into an object.
    pub(crate) fn put(images: &[Self], members: &mut Writer, name: &str) {
        members.list(name, images, |image| {
            let entity = Json::Object(image.entity.to_members());
            pairs::join(&image.name, entity, &image.extra)
        });
    }
}
