//! Takes names and values, gives JSON text as Dynamics 365 writes it: one line, no blanks.

use std::fmt::{Arguments, Write as _};

use uuid::Uuid;

/// The namespace that ends the `__type` of a value of `Microsoft.Xrm.Sdk`, as it stands in a
/// body, with `/` written as `\/` (.NET's `DataContractJsonSerializer`).
const CONTRACTS: &str = r":http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts";

/// JSON that is being written. Commas come by themselves.
#[derive(Debug)]
pub(super) struct Wire {
    text: String,
    /// Dataverse writes `\/`, Finance and Operations `/`.
    escapes_slash: bool,
}

impl Wire {
    pub(super) fn dataverse() -> Self {
        Self {
            text: String::with_capacity(2048),
            escapes_slash: true,
        }
    }

    pub(super) fn fno() -> Self {
        Self {
            text: String::with_capacity(1024),
            escapes_slash: false,
        }
    }

    /// An array of Dataverse's, whole.
    pub(super) fn list(content: impl FnOnce(&mut Self)) -> String {
        let mut wire = Self::dataverse();
        wire.array(content);
        wire.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn object(&mut self, content: impl FnOnce(&mut Self)) {
        self.text.push('{');
        content(self);
        self.text.push('}');
    }

    pub(super) fn array(&mut self, content: impl FnOnce(&mut Self)) {
        self.text.push('[');
        content(self);
        self.text.push(']');
    }

    /// The name of the next member; its value is to be written next.
    pub(super) fn member(&mut self, name: &str) -> &mut Self {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.string(name);
        self.text.push(':');
        self
    }

    /// The next item of an array is to be written next.
    pub(super) fn item(&mut self) -> &mut Self {
        if !self.text.ends_with('[') {
            self.text.push(',');
        }
        self
    }

    pub(super) fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '/' if self.escapes_slash => self.text.push_str("\\/"),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// A number, a flag, `null`, or JSON that was written before.
    pub(super) fn raw(&mut self, json: Arguments<'_>) {
        self.text
            .write_fmt(json)
            .expect("a string takes all that is written to it");
    }

    pub(super) fn null(&mut self) {
        self.text.push_str("null");
    }

    pub(super) fn guid(&mut self, id: Uuid) {
        self.raw(format_args!("\"{id}\""));
    }

    /// `/Date(ms)/`.
    pub(super) fn date(&mut self, unix_ms: i64) {
        if self.escapes_slash {
            self.raw(format_args!("\"\\/Date({unix_ms})\\/\""));
        } else {
            self.raw(format_args!("\"/Date({unix_ms})/\""));
        }
    }

    /// `__type` of a value of `Microsoft.Xrm.Sdk`; first in its object, as the serializer needs it.
    pub(super) fn contract(&mut self, name: &str) {
        self.member("__type");
        self.raw(format_args!("\"{name}{CONTRACTS}\""));
    }

    /// The next `{"key":…,"value":…}`; the value is written by `value`.
    pub(super) fn pair(&mut self, key: &str, value: impl FnOnce(&mut Self)) {
        self.item().object(|wire| {
            wire.member("key").string(key);
            value(wire.member("value"));
        });
    }

    /// An `EntityReference`.
    pub(super) fn reference(&mut self, table: &str, id: Uuid) {
        self.object(|wire| {
            wire.contract("EntityReference");
            wire.reference_members(table, id, None);
        });
    }

    /// The members of a reference without its `__type`, as `OwningExtension` has them.
    pub(super) fn reference_members(&mut self, table: &str, id: Uuid, name: Option<&str>) {
        self.member("Id").guid(id);
        self.member("KeyAttributes").array(|_| ());
        self.member("LogicalName").string(table);
        match name {
            Some(name) => self.member("Name").string(name),
            None => self.member("Name").null(),
        }
        self.member("RowVersion").null();
    }

    pub(super) fn choice(&mut self, value: i64) {
        self.object(|wire| {
            wire.contract("OptionSetValue");
            wire.member("Value").raw(format_args!("{value}"));
        });
    }

    /// `Money`, with the four digits that Dataverse stores.
    pub(super) fn money(&mut self, ten_thousandths: i64) {
        let (whole, rest) = (ten_thousandths / 10_000, ten_thousandths % 10_000);
        self.object(|wire| {
            wire.contract("Money");
            wire.member("Value").raw(format_args!("{whole}.{rest:04}"));
        });
    }
}
