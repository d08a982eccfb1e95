//! Takes an execution context, gives what its CloudEvents attributes come from.

use std::borrow::Cow;

use crate::members::boxed_text;
use crate::{Date, Members, RemoteExecutionContext};

/// A text of the body.
pub(crate) type Text<'a> = Option<Cow<'a, str>>;

/// All that the attributes of an execution context come from, as it stands in the body.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Facts<'a> {
    /// `MessageName`: not blank.
    pub(crate) message: Cow<'a, str>,
    /// The table, if the message is about one.
    pub(crate) table: Text<'a>,
    /// The record's id without braces, if the message is about one and it is not zero.
    pub(crate) record_id: Text<'a>,
    pub(crate) organization_id: Text<'a>,
    /// `OwningExtension.Id`.
    pub(crate) step_id: Text<'a>,
    pub(crate) operation_id: Text<'a>,
    pub(crate) operation_created_on: Text<'a>,
    pub(crate) mode: Option<i64>,
    pub(crate) depth: Option<i64>,
    pub(crate) correlation_id: Text<'a>,
    pub(crate) initiating_user_id: Text<'a>,
    /// `ParentContext.OperationId`.
    pub(crate) parent_operation_id: Text<'a>,
    /// `modifiedon` of the Target.
    pub(crate) modified_on: Option<Date>,
    /// Whether parameters, images and parent were taken out.
    pub(crate) truncated: bool,
}

impl<'a> Facts<'a> {
    /// The facts of a context that was read.
    pub(crate) fn of(context: &'a RemoteExecutionContext) -> Self {
        let step = context.owning_extension.as_ref();
        let text = |text: Option<&'a str>| text.map(Cow::Borrowed);
        let member = |field: &'a Option<String>, extra: &'a Members, name: &str| {
            text(field.as_deref().or_else(|| boxed_text(extra, name)))
        };
        let of_context = |field, name| member(field, &context.extra, name);
        Facts {
            message: Cow::Borrowed(context.message()),
            table: text(context.table()),
            record_id: text(context.record_id()),
            organization_id: of_context(&context.organization_id, "OrganizationId"),
            step_id: text(step.and_then(|step| step.known_id())),
            operation_id: of_context(&context.operation_id, "OperationId"),
            operation_created_on: of_context(&context.operation_created_on, "OperationCreatedOn"),
            mode: context.mode,
            depth: context.depth,
            correlation_id: of_context(&context.correlation_id, "CorrelationId"),
            initiating_user_id: of_context(&context.initiating_user_id, "InitiatingUserId"),
            parent_operation_id: context
                .parent_context
                .as_deref()
                .and_then(|parent| member(&parent.operation_id, &parent.extra, "OperationId")),
            modified_on: context.when("modifiedon"),
            truncated: context.is_truncated(),
        }
    }
}
