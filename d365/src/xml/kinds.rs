//! Takes the name of a type or of a class's member, gives how its values are written into JSON.
//!
//! Classes and members are the data contracts of `Microsoft.Xrm.Sdk`, with those members that
//! came later and whose types are documented.

use super::CONTRACTS;
use super::element::Type;

const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";
const SERIALIZATION: &str = "http://schemas.microsoft.com/2003/10/Serialization/";
const ARRAYS: &str = "http://schemas.microsoft.com/2003/10/Serialization/Arrays";
const SYSTEM: &str = "http://schemas.datacontract.org/2004/07/System";
const GENERIC: &str = "http://schemas.datacontract.org/2004/07/System.Collections.Generic";
/// `Contracts` of all versions.
const SDK: &str = "http://schemas.microsoft.com/xrm/";

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    Number,
    Date,
    /// Base64 in XML, a list of numbers in JSON.
    Bytes,
    /// A number in XML, text in JSON.
    Char,
    /// A name in XML, its place in this list in JSON.
    Enum(&'static [&'static str]),
    Object(Class),
    List(&'static Kind),
    /// Of a key and a value.
    Pair(&'static Kind, &'static Kind),
    /// An `object` of .NET: its `i:type` says what it is.
    Any,
    /// Nothing says what it is.
    Unknown,
}

/// A class with members that are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    AliasedValue,
    BooleanManagedProperty,
    ColumnSet,
    ConditionExpression,
    Context,
    DateTimeOffset,
    Entity,
    EntityCollection,
    EntityReference,
    FilterExpression,
    Label,
    LinkEntity,
    LocalizedLabel,
    Money,
    OptionSetValue,
    OrderExpression,
    PagingInfo,
    QueryExpression,
    Relationship,
}

const ANY_PAIR: Kind = Kind::Pair(&Kind::Text, &Kind::Any);
const TEXT_PAIR: Kind = Kind::Pair(&Kind::Text, &Kind::Text);
const IMAGE_PAIR: Kind = Kind::Pair(&Kind::Text, &ENTITY);
const RELATED_PAIR: Kind = Kind::Pair(&RELATIONSHIP, &COLLECTION);
const UNKNOWN_PAIR: Kind = Kind::Pair(&Kind::Unknown, &Kind::Unknown);

const ENTITY: Kind = Kind::Object(Class::Entity);
const REFERENCE: Kind = Kind::Object(Class::EntityReference);
const COLLECTION: Kind = Kind::Object(Class::EntityCollection);
const RELATIONSHIP: Kind = Kind::Object(Class::Relationship);
const LABEL: Kind = Kind::Object(Class::LocalizedLabel);
const OPTION: Kind = Kind::Object(Class::OptionSetValue);
const MONEY: Kind = Kind::Object(Class::Money);

const PARAMETERS: Kind = Kind::List(&ANY_PAIR);
const FORMATTED: Kind = Kind::List(&TEXT_PAIR);
const IMAGES: Kind = Kind::List(&IMAGE_PAIR);
const RELATED: Kind = Kind::List(&RELATED_PAIR);

const STATES: Kind = Kind::Enum(&["Unchanged", "Created", "Changed"]);
const ROLES: Kind = Kind::Enum(&["Referencing", "Referenced"]);

/// By name. None for a class that is not in the table.
fn class(name: &str) -> Option<Class> {
    Some(match name {
        "AliasedValue" => Class::AliasedValue,
        "BooleanManagedProperty" => Class::BooleanManagedProperty,
        "ColumnSet" => Class::ColumnSet,
        "ConditionExpression" => Class::ConditionExpression,
        "RemoteExecutionContext" => Class::Context,
        "Entity" => Class::Entity,
        "EntityCollection" => Class::EntityCollection,
        "EntityReference" => Class::EntityReference,
        "FilterExpression" => Class::FilterExpression,
        "Label" => Class::Label,
        "LinkEntity" => Class::LinkEntity,
        "LocalizedLabel" => Class::LocalizedLabel,
        "Money" => Class::Money,
        "OptionSetValue" => Class::OptionSetValue,
        "OrderExpression" => Class::OrderExpression,
        "PagingInfo" => Class::PagingInfo,
        "QueryExpression" => Class::QueryExpression,
        "Relationship" => Class::Relationship,
        _ => return None,
    })
}

impl Class {
    /// Its name and namespace, for an object in a list that says no types itself.
    pub(super) fn contract(self) -> (String, &'static str) {
        let namespace = match self {
            Class::DateTimeOffset => SYSTEM,
            _ => CONTRACTS,
        };
        let name = match self {
            Class::Context => super::CONTEXT.to_owned(),
            other => format!("{other:?}"),
        };
        (name, namespace)
    }

    /// How a member is written.
    pub(super) fn member(self, name: &str) -> Kind {
        match self {
            Class::Context => of_context(name),
            Class::Entity | Class::EntityReference | Class::EntityCollection => of_row(name),
            Class::AliasedValue => match name {
                "AttributeLogicalName" | "EntityLogicalName" => Kind::Text,
                "Value" => Kind::Any,
                _ => Kind::Unknown,
            },
            Class::Money | Class::OptionSetValue => match name {
                "Value" => Kind::Number,
                _ => Kind::Unknown,
            },
            Class::Relationship => match name {
                "PrimaryEntityRole" => ROLES,
                "SchemaName" => Kind::Text,
                _ => Kind::Unknown,
            },
            Class::BooleanManagedProperty => match name {
                "CanBeChanged" | "Value" => Kind::Bool,
                _ => Kind::Unknown,
            },
            Class::DateTimeOffset => match name {
                "DateTime" => Kind::Date,
                "OffsetMinutes" => Kind::Number,
                _ => Kind::Unknown,
            },
            Class::Label => match name {
                "LocalizedLabels" => Kind::List(&LABEL),
                "UserLocalizedLabel" => LABEL,
                _ => Kind::Unknown,
            },
            Class::LocalizedLabel => match name {
                "HasChanged" | "IsManaged" => Kind::Bool,
                "LanguageCode" => Kind::Number,
                _ => Kind::Unknown,
            },
            Class::ColumnSet
            | Class::ConditionExpression
            | Class::FilterExpression
            | Class::LinkEntity
            | Class::OrderExpression
            | Class::PagingInfo
            | Class::QueryExpression => super::query::member(self, name),
        }
    }
}

fn of_context(name: &str) -> Kind {
    match name {
        "BusinessUnitId"
        | "CorrelationId"
        | "InitiatingUserId"
        | "MessageName"
        | "OperationId"
        | "OrganizationId"
        | "OrganizationName"
        | "PrimaryEntityId"
        | "PrimaryEntityName"
        | "RequestId"
        | "SecondaryEntityName"
        | "UserId" => Kind::Text,
        "Depth" | "IsolationMode" | "Mode" | "Stage" => Kind::Number,
        "IsApplicationUser"
        | "IsExecutingOffline"
        | "IsInTransaction"
        | "IsOfflinePlayback"
        | "IsPortalsClientCall" => Kind::Bool,
        "OperationCreatedOn" => Kind::Date,
        "InputParameters" | "OutputParameters" | "SharedVariables" => PARAMETERS,
        "PreEntityImages" | "PostEntityImages" => IMAGES,
        "PreEntityImagesCollection" | "PostEntityImagesCollection" => Kind::List(&IMAGES),
        "OwningExtension" => REFERENCE,
        "ParentContext" => Kind::Object(Class::Context),
        _ => Kind::Unknown,
    }
}

/// Of a row, of what refers to one, and of many: no name means two things.
fn of_row(name: &str) -> Kind {
    match name {
        "EntityName"
        | "Id"
        | "LogicalName"
        | "MinActiveRowVersion"
        | "Name"
        | "PagingCookie"
        | "RowVersion" => Kind::Text,
        "Attributes" | "KeyAttributes" => PARAMETERS,
        "Entities" => Kind::List(&ENTITY),
        "EntityState" => STATES,
        "FormattedValues" => FORMATTED,
        "MoreRecords" | "TotalRecordCountLimitExceeded" => Kind::Bool,
        "RelatedEntities" => RELATED,
        "TotalRecordCount" => Kind::Number,
        _ => Kind::Unknown,
    }
}

/// What `i:type` says.
pub(super) fn typed(said: &Type) -> Kind {
    let name = said.name.as_str();
    match said.namespace.as_str() {
        SCHEMA | SERIALIZATION => primitive(name),
        SYSTEM if name == "DateTimeOffset" => Kind::Object(Class::DateTimeOffset),
        GENERIC if name.starts_with("KeyValuePairOf") => *pair(name, "KeyValuePairOf"),
        ARRAYS => *array(name).unwrap_or(&Kind::Unknown),
        namespace if namespace.starts_with(SDK) => of_sdk(name),
        // An array of such is in their namespace.
        _ => *array(name).unwrap_or(&Kind::Unknown),
    }
}

fn of_sdk(name: &str) -> Kind {
    match name {
        "AttributeCollection" | "KeyAttributeCollection" | "ParameterCollection" => PARAMETERS,
        "EntityImageCollection" => IMAGES,
        "EntityReferenceCollection" => Kind::List(&REFERENCE),
        "EntityRole" => ROLES,
        "EntityState" => STATES,
        "FormattedValueCollection" => FORMATTED,
        "LocalizedLabelCollection" => Kind::List(&LABEL),
        "OptionSetValueCollection" => Kind::List(&OPTION),
        "RelatedEntityCollection" => RELATED,
        _ => match (class(name), array(name)) {
            (Some(class), _) => Kind::Object(class),
            (None, Some(array)) => *array,
            (None, None) => Kind::Unknown,
        },
    }
}

fn primitive(name: &str) -> Kind {
    match name {
        "anyURI" | "duration" | "guid" | "string" => Kind::Text,
        "boolean" => Kind::Bool,
        "byte" | "decimal" | "double" | "float" | "int" | "integer" | "long" | "short"
        | "unsignedByte" | "unsignedInt" | "unsignedLong" | "unsignedShort" => Kind::Number,
        "dateTime" => Kind::Date,
        "base64Binary" => Kind::Bytes,
        "char" => Kind::Char,
        "anyType" => Kind::Any,
        _ => Kind::Unknown,
    }
}

/// A list by its name, which says of what: `ArrayOfguid`, `ArrayOfKeyValueOfstringstring`.
fn array(name: &str) -> Option<&'static Kind> {
    let item = name.strip_prefix("ArrayOf")?;
    Some(match item {
        "Entity" => &Kind::List(&ENTITY),
        "EntityReference" => &Kind::List(&REFERENCE),
        "LocalizedLabel" => &Kind::List(&LABEL),
        "Money" => &Kind::List(&MONEY),
        "OptionSetValue" => &Kind::List(&OPTION),
        "ArrayOfstring" => &Kind::List(&Kind::List(&Kind::Text)),
        _ if item.starts_with("KeyValueOf") => match *pair(item, "KeyValueOf") {
            ANY_PAIR => &PARAMETERS,
            TEXT_PAIR => &FORMATTED,
            _ => &Kind::List(&UNKNOWN_PAIR),
        },
        _ => match primitive(item) {
            Kind::Text => &Kind::List(&Kind::Text),
            Kind::Bool => &Kind::List(&Kind::Bool),
            Kind::Number => &Kind::List(&Kind::Number),
            Kind::Date => &Kind::List(&Kind::Date),
            Kind::Bytes => &Kind::List(&Kind::Bytes),
            Kind::Char => &Kind::List(&Kind::Char),
            Kind::Any => &Kind::List(&Kind::Any),
            _ => &Kind::List(&Kind::Unknown),
        },
    })
}

fn pair(name: &str, prefix: &str) -> &'static Kind {
    match name.strip_prefix(prefix) {
        Some("stringanyType") => &ANY_PAIR,
        Some("stringstring") => &TEXT_PAIR,
        _ => &UNKNOWN_PAIR,
    }
}
