//! Takes a body of one version of a type and the steps to the next, gives the body as that one has it.
//!
//! Steps are data, kept beside the version that they lead to, so that whoever reads version 3 is
//! given events of version 1 in its own words. A path is as in schemas: a pair of a Dataverse
//! list is named by its key, each element of another list by `*`. A step whose member is not
//! there does nothing, since an update has only what was changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use self::place::{EACH, at, value_at};
use crate::path::names;

mod place;
#[cfg(test)]
mod tests;

/// Steps of one upcast.
pub const MAX_STEPS: usize = 200;

/// What makes a body of the version before one of this version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Upcast(Vec<Step>);

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Step {
    /// Calls a member something else, where it stands.
    Rename {
        /// Which.
        path: String,
        /// Its new name.
        to: String,
    },
    /// Puts a member elsewhere; not out of lists, and not into them.
    Move {
        /// Which.
        from: String,
        /// Where, with its name.
        to: String,
    },
    /// Gives a member a value where it has none.
    Default {
        /// Which.
        path: String,
        /// The value.
        value: Value,
    },
    /// Takes a member away.
    Remove {
        /// Which.
        path: String,
    },
    /// Writes a value as another kind.
    Convert {
        /// Which.
        path: String,
        /// As what.
        to: Kind,
    },
    /// Puts values in place of others; one that is not named stays.
    Replace {
        /// Which.
        path: String,
        /// New values by old ones, as their texts.
        values: Map<String, Value>,
    },
    /// Puts a value into an object: a number into `Money`.
    Wrap {
        /// Which.
        path: String,
        /// The name that it has there.
        member: String,
        /// What else the object has.
        #[serde(default)]
        with: Map<String, Value>,
    },
    /// Takes the value of a member for the object that has it.
    Unwrap {
        /// Which object.
        path: String,
        /// The member of it.
        member: String,
    },
}

/// What a value can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of a number or a boolean: its text.
    String,
    /// Of a text: its digits.
    Number,
    /// Of a text, or of 0 and 1.
    Boolean,
}

/// Why an upcast is none, or a body cannot be made one of the next version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpcastError {
    /// The steps are not what they should be.
    #[error("step {number}: {reason}")]
    Step {
        /// From 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It has other members than are said here.
    #[error("{0}")]
    Shape(String),
    /// A value cannot be written so.
    #[error("{path}: {found} cannot be written as a {wanted}")]
    Value {
        /// Where.
        path: String,
        /// What is there.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Upcast {
    /// Reads steps: a list of objects, each with its `op`.
    ///
    /// # Errors
    /// What is wrong with which step.
    pub fn read(steps: &Value) -> Result<Self, UpcastError> {
        let Value::Array(list) = steps else {
            let reason = "expected a list of steps, [{\"op\": \"rename\", …}, …]";
            return Err(UpcastError::Shape(reason.to_owned()));
        };
        if MAX_STEPS < list.len() {
            let reason = format!("found {} steps, expected at most {MAX_STEPS}", list.len());
            return Err(UpcastError::Shape(reason));
        }
        let mut steps = Vec::with_capacity(list.len());
        for (index, step) in list.iter().enumerate() {
            let wrong = |reason: String| UpcastError::Step {
                number: index + 1,
                reason,
            };
            let step = Step::deserialize(step).map_err(|error| wrong(error.to_string()))?;
            step.check().map_err(wrong)?;
            steps.push(step);
        }
        Ok(Self(steps))
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the body one of the next version.
    ///
    /// # Errors
    /// [`UpcastError::Value`]: a value that cannot be written as it should be.
    pub fn apply(&self, body: &mut Value) -> Result<(), UpcastError> {
        self.0.iter().try_for_each(|step| step.apply(body))
    }
}

impl Step {
    fn check(&self) -> Result<(), String> {
        let is_path = |path: &str| path.starts_with('/') && path.len() > 1;
        let paths = match self {
            Self::Move { from, to } => vec![from, to],
            Self::Rename { path, .. }
            | Self::Default { path, .. }
            | Self::Remove { path }
            | Self::Convert { path, .. }
            | Self::Replace { path, .. }
            | Self::Wrap { path, .. }
            | Self::Unwrap { path, .. } => vec![path],
        };
        if let Some(path) = paths.iter().find(|path| !is_path(path)) {
            return Err(format!(
                "found the path {path:?}; expected one such as \"/Lines/*/Amount\""
            ));
        }
        let has_each = |path: &str| names(path).any(|name| name == EACH);
        match self {
            Self::Move { from, to } if has_each(from) || has_each(to) => {
                Err("a member is not moved out of a list or into one; rename it there".to_owned())
            }
            Self::Rename { path, .. } | Self::Remove { path } | Self::Default { path, .. }
                if path.ends_with("/*") =>
            {
                Err(format!(
                    "{path} is an element; expected a member, which has a name"
                ))
            }
            _ => Ok(()),
        }
    }

    fn apply(&self, body: &mut Value) -> Result<(), UpcastError> {
        match self {
            Self::Rename { path, to } => at(body, path, &mut |place, name| {
                if place.get(to).is_none()
                    && let Some(value) = place.take(name)
                {
                    place.put(to, value);
                }
                Ok(())
            }),
            Self::Move { from, to } => {
                let mut taken = None;
                at(body, from, &mut |place, name| {
                    taken = place.get(name).cloned();
                    Ok(())
                })?;
                let Some(value) = taken else {
                    return Ok(());
                };
                let mut is_put = false;
                at(body, to, &mut |place, name| {
                    if place.get(name).is_none() {
                        place.put(name, value.clone());
                        is_put = true;
                    }
                    Ok(())
                })?;
                match is_put {
                    true => at(body, from, &mut |place, name| {
                        place.take(name);
                        Ok(())
                    }),
                    false => Ok(()),
                }
            }
            Self::Default { path, value } => at(body, path, &mut |place, name| {
                if place.get(name).is_none() {
                    place.put(name, value.clone());
                }
                Ok(())
            }),
            Self::Remove { path } => at(body, path, &mut |place, name| {
                place.take(name);
                Ok(())
            }),
            Self::Convert { path, to } => {
                value_at(body, path, &mut |value| to.convert(value, path))
            }
            Self::Replace { path, values } => value_at(body, path, &mut |value| {
                if let Some(new) = values.get(&text(value)) {
                    *value = new.clone();
                }
                Ok(())
            }),
            Self::Wrap { path, member, with } => value_at(body, path, &mut |value| {
                let mut object = with.clone();
                object.insert(member.clone(), value.take());
                *value = Value::Object(object);
                Ok(())
            }),
            Self::Unwrap { path, member } => value_at(body, path, &mut |value| {
                if let Some(inner) = value.get_mut(member) {
                    *value = inner.take();
                }
                Ok(())
            }),
        }
    }
}

impl Kind {
    fn convert(self, value: &mut Value, path: &str) -> Result<(), UpcastError> {
        let wrong = |found: &Value, wanted| UpcastError::Value {
            path: path.to_owned(),
            found: found.to_string().chars().take(80).collect(),
            wanted,
        };
        let converted = match (self, &*value) {
            (Self::String, Value::String(_))
            | (Self::Number, Value::Number(_))
            | (Self::Boolean, Value::Bool(_)) => return Ok(()),
            (Self::String, Value::Bool(_) | Value::Number(_)) => Value::String(text(value)),
            (Self::Number, Value::String(digits)) => {
                let number: Result<Number, _> = digits.trim().parse();
                Value::Number(number.map_err(|_| wrong(value, "number"))?)
            }
            (Self::Boolean, Value::String(_) | Value::Number(_)) => match text(value).as_str() {
                "true" | "True" | "1" => Value::Bool(true),
                "false" | "False" | "0" => Value::Bool(false),
                _ => return Err(wrong(value, "boolean")),
            },
            (Self::String, _) => return Err(wrong(value, "string")),
            (Self::Number, _) => return Err(wrong(value, "number")),
            (Self::Boolean, _) => return Err(wrong(value, "boolean")),
        };
        *value = converted;
        Ok(())
    }
}

/// A value's text: of a string what it says, of anything else its JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
