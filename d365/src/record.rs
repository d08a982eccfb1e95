//! Takes an execution context, gives what it says of its record: which one, when, its columns.

use crate::members::boxed_text;
use crate::{
    Date, Decimal, Entity, EntityReference, Image, Json, Money, RemoteExecutionContext, Value, guid,
};

/// What happened, to which record.
impl RemoteExecutionContext {
    /// The message's name, as it came: `Update`.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message_name
    }

    /// Logical name of the table: `PrimaryEntityName`, else the Target's. `None` for an
    /// unbound custom API.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        let named = |name: &&str| is_table(name);
        let primary = self.primary_entity_name.as_deref().filter(named);
        let target = || self.target()?.logical_name.as_deref();
        let reference = || self.target_reference()?.logical_name.as_deref();
        primary
            .or_else(|| target().filter(named))
            .or_else(|| reference().filter(named))
    }

    /// The record's id without braces: `PrimaryEntityId`, or the Target's where that is the
    /// zero GUID (it is in data events). `None` when there is no one record.
    #[must_use]
    pub fn record_id(&self) -> Option<&str> {
        let id = self.primary_entity_id.as_deref();
        let primary = id
            .or_else(|| boxed_text(&self.extra, "PrimaryEntityId"))
            .and_then(guid::known);
        primary
            .or_else(|| self.target()?.known_id())
            .or_else(|| self.target_reference()?.known_id())
    }

    /// A parameter of the message.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&Value> {
        self.input_parameters.get(name)
    }

    /// A result of the message.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Value> {
        self.output_parameters.get(name)
    }

    /// The Target of a create or an update: the submitted columns.
    #[must_use]
    pub fn target(&self) -> Option<&Entity> {
        self.input("Target")?.entity()
    }

    /// The Target of a delete, an assign, an associate: a reference.
    #[must_use]
    pub fn target_reference(&self) -> Option<&EntityReference> {
        self.input("Target")?.lookup()
    }

    /// When the operation began, in UTC; `None` when that is missing or no date.
    #[must_use]
    pub fn operation_time(&self) -> Option<Date> {
        let text = self.operation_created_on.as_deref();
        let text = text.or_else(|| boxed_text(&self.extra, "OperationCreatedOn"))?;
        Date::of_operation(text, self.mode).ok()
    }

    /// Whether the body was over the platform's limit, so that parameters, images and parent
    /// were taken out and only ids are left: read the record again. (The HTTP header
    /// `x-ms-dynamics-msg-size-exceeded` says the same.)
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        let gone = self.input_parameters.is_empty()
            && self.pre_entity_images.is_empty()
            && self.post_entity_images.is_empty()
            && self.parent_context.is_none();
        // An empty list is what a custom API without parameters has. A message about one
        // record always has a Target.
        let listed = self
            .extra
            .get("InputParameters")
            .is_some_and(Json::is_array);
        gone && (!listed || self.record_id().is_some())
    }
}

/// What the record looks like: columns of the Target, and images.
impl RemoteExecutionContext {
    /// Whether the message carries this column, be it cleared.
    #[must_use]
    pub fn changed(&self, column: &str) -> bool {
        self.attribute(column).is_some()
    }

    /// Every column that the message carries. A cleared one is [`Value::Null`].
    pub fn changes(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.target()
            .into_iter()
            .flat_map(|target| target.attributes.iter())
    }

    /// The record before the operation, from the image of this name.
    #[must_use]
    pub fn pre_image(&self, name: &str) -> Option<&Entity> {
        find(&self.pre_entity_images, name)
    }

    /// The record after the operation, from the image of this name.
    #[must_use]
    pub fn post_image(&self, name: &str) -> Option<&Entity> {
        find(&self.post_entity_images, name)
    }

    /// A column of the Target, cleared or not.
    #[must_use]
    pub fn attribute(&self, column: &str) -> Option<&Value> {
        self.target()?.attribute(column)
    }

    /// A text or GUID column of the Target.
    #[must_use]
    pub fn text(&self, column: &str) -> Option<&str> {
        self.target()?.text(column)
    }

    /// A two-option column of the Target.
    #[must_use]
    pub fn flag(&self, column: &str) -> Option<bool> {
        self.target()?.flag(column)
    }

    /// A whole-number column of the Target.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.target()?.integer(column)
    }

    /// A decimal, whole-number or money column of the Target, exactly.
    #[must_use]
    pub fn decimal(&self, column: &str) -> Option<Decimal> {
        self.target()?.decimal(column)
    }

    /// A money column of the Target.
    #[must_use]
    pub fn money(&self, column: &str) -> Option<&Money> {
        self.target()?.money(column)
    }

    /// A choice column of the Target.
    #[must_use]
    pub fn choice(&self, column: &str) -> Option<i64> {
        self.target()?.choice(column)
    }

    /// A multi-select choice column of the Target.
    #[must_use]
    pub fn choices(&self, column: &str) -> Option<Vec<i64>> {
        self.target()?.choices(column)
    }

    /// A lookup column of the Target.
    #[must_use]
    pub fn lookup(&self, column: &str) -> Option<&EntityReference> {
        self.target()?.lookup(column)
    }

    /// A date column of the Target.
    #[must_use]
    pub fn when(&self, column: &str) -> Option<Date> {
        self.target()?.when(column)
    }
}

/// Whether a name is a table's, and not how "none" is written.
pub(crate) fn is_table(name: &str) -> bool {
    !name.trim().is_empty() && !name.eq_ignore_ascii_case("none")
}

fn find<'a>(images: &'a [Image], name: &str) -> Option<&'a Entity> {
    images
        .iter()
        .find(|image| image.name == name)
        .map(|image| &image.entity)
}
