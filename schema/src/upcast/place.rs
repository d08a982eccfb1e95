//! Takes a body and a path, gives the places that the path leads to.

use serde_json::{Map, Value};

use super::UpcastError;
use crate::path::names;
use crate::shape::{KEY, VALUE, pairs};

/// What stands for each element of a list.
pub(super) const EACH: &str = "*";

/// What has members.
pub(super) enum Place<'a> {
    Object(&'a mut Map<String, Value>),
    /// A Dataverse list.
    Pairs(&'a mut Vec<Value>),
}

impl Place<'_> {
    fn of(value: &mut Value) -> Option<Place<'_>> {
        match value {
            Value::Object(object) => Some(Place::Object(object)),
            // An empty list may become one of pairs.
            Value::Array(elements) if pairs(elements).is_some() => Some(Place::Pairs(elements)),
            _ => None,
        }
    }

    pub(super) fn get(&mut self, name: &str) -> Option<&mut Value> {
        match self {
            Self::Object(object) => object.get_mut(name),
            Self::Pairs(list) => {
                let pair = list.iter_mut().find(|pair| is_named(pair, name))?;
                pair.get_mut(VALUE)
            }
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        match self {
            Self::Object(object) => object.remove(name),
            Self::Pairs(list) => {
                let index = list.iter().position(|pair| is_named(pair, name))?;
                list.remove(index).get_mut(VALUE).map(Value::take)
            }
        }
    }

    pub(super) fn put(&mut self, name: &str, value: Value) {
        match self {
            Self::Object(object) => {
                object.insert(name.to_owned(), value);
            }
            Self::Pairs(list) => list.push(serde_json::json!({ KEY: name, VALUE: value })),
        }
    }
}

fn is_named(pair: &Value, name: &str) -> bool {
    pair.get(KEY).and_then(Value::as_str) == Some(name)
}

pub(super) type Change<'a> = &'a mut dyn FnMut(&mut Value) -> Result<(), UpcastError>;

/// Calls `change` with each place that the path leads to, and the name in it.
pub(super) fn at(
    body: &mut Value,
    path: &str,
    change: &mut dyn FnMut(&mut Place<'_>, &str) -> Result<(), UpcastError>,
) -> Result<(), UpcastError> {
    let mut names: Vec<String> = names(path).collect();
    let Some(last) = names.pop() else {
        return Ok(());
    };
    each(body, &names, &mut |value| match Place::of(value) {
        Some(mut place) => change(&mut place, &last),
        None => Ok(()),
    })
}

/// Calls `change` with each value that the path leads to, but not with null: a column that was
/// cleared is null, whatever it is.
pub(super) fn value_at(
    body: &mut Value,
    path: &str,
    change: Change<'_>,
) -> Result<(), UpcastError> {
    let names: Vec<String> = names(path).collect();
    each(body, &names, &mut |value| match value {
        Value::Null => Ok(()),
        value => change(value),
    })
}

fn each(value: &mut Value, names: &[String], change: Change<'_>) -> Result<(), UpcastError> {
    let Some((name, rest)) = names.split_first() else {
        return change(value);
    };
    if let Some(mut place) = Place::of(value)
        && let Some(below) = place.get(name)
    {
        return each(below, rest, change);
    }
    match value {
        Value::Array(elements) if name == EACH => elements
            .iter_mut()
            .try_for_each(|below| each(below, rest, change)),
        Value::Object(members) if name == EACH => members
            .values_mut()
            .try_for_each(|below| each(below, rest, change)),
        _ => Ok(()),
    }
}
