//! Takes the members of a JSON object one by one by name and type, gives what is left over.

use crate::{Error, Json};

/// Members of a JSON object that no field holds.
pub type Members = serde_json::Map<String, Json>;

/// An object that is being read. What does not have the type asked for stays in it.
pub(crate) struct Reader(pub(crate) Members);

impl Reader {
    /// Takes a member if it fits. Its name is matched exactly, else without regard to case.
    pub(crate) fn take(&mut self, name: &str, fits: fn(&Json) -> bool) -> Option<Json> {
        if let Some(value) = self.0.get(name) {
            return if fits(value) {
                self.0.remove(name)
            } else {
                None
            };
        }
        let (other, _) = self
            .0
            .iter()
            .find(|(key, value)| key.eq_ignore_ascii_case(name) && fits(value))?;
        let other = other.clone();
        self.0.remove(&other)
    }

    /// Takes a text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name, Json::is_string)? {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// Takes a whole number of 64 bits.
    pub(crate) fn integer(&mut self, name: &str) -> Option<i64> {
        self.take(name, |json| plain_integer(json).is_some())
            .as_ref()
            .and_then(plain_integer)
    }

    /// Takes a boolean.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, Json::is_boolean)?.as_bool()
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, name: &str) -> Option<Members> {
        match self.take(name, Json::is_object)? {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Takes the items of a list and reads each one. Absent, null and empty lists have none
    /// (and stay); anything else that is no list is an error.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        accepted: &'static str,
        read: fn(Json) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        match self.take(name, |json| !is_nothing(json)) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    read(item).map_err(|error| error.within(&format!("{name}[{index}]")))
                })
                .collect(),
            Some(other) => Err(Error::shape(name, &other, accepted)),
        }
    }
}

/// Null, or a list without items: the wire uses both, and absence, for "nothing here".
fn is_nothing(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// What a member holds that is a boxed .NET primitive, `{"__type":"Guid:#System","__value":…}`.
/// Plug-ins that write a context again box ids and dates; such a member stays among those that
/// no field holds, and is read all the same.
pub(crate) fn boxed<'a>(extra: &'a Members, name: &str) -> Option<&'a Json> {
    let boxed = extra.get(name)?.as_object()?;
    let tag = boxed.get("__type")?.as_str()?;
    tag.ends_with(":#System").then(|| boxed.get("__value"))?
}

/// The text of a boxed member.
pub(crate) fn boxed_text<'a>(extra: &'a Members, name: &str) -> Option<&'a str> {
    boxed(extra, name)?.as_str()
}

/// A whole number in its shortest spelling, so that writing it again changes no digit.
pub(crate) fn plain_integer(json: &Json) -> Option<i64> {
    let Json::Number(number) = json else {
        return None;
    };
    let value = number.as_i64()?;
    (value.to_string() == number.as_str()).then_some(value)
}

/// An object that is being written, from the members that no field holds.
pub(crate) struct Writer(pub(crate) Members);

impl Writer {
    /// Puts a field over whatever `extra` has under its name; nothing leaves that as it is.
    pub(crate) fn put<T: Into<Json>>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// Puts a list; an empty one leaves what is there.
    pub(crate) fn list<T>(&mut self, name: &str, items: &[T], write: fn(&T) -> Json) {
        let items = (!items.is_empty()).then(|| items.iter().map(write).collect::<Vec<_>>());
        self.put(name, items);
    }
}
