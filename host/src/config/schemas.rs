//! Takes `[schemas]`, gives what becomes of events whose bodies do not fit their schema.

use super::Error;
use super::raw::RawSchemas;
use super::resolve::File;
use crate::manifest::TypePattern;

const TYPE: &str =
    "a CloudEvents type such as \"d365.fno.customerchanged\", or its start and one * at the end";

/// `[schemas]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schemas {
    /// Of all types that are not named.
    pub policy: Policy,
    /// Of those that are; the pattern that says most comes first.
    pub types: Vec<(TypePattern, Policy)>,
}

/// What becomes of an event whose body does not fit the schema of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Nobody looks.
    Off,
    /// It is counted and handled.
    Warn,
    /// Each plug-in that gets it makes a dead letter of it, and is not called.
    DeadLetter,
}

impl Default for Schemas {
    fn default() -> Self {
        Self {
            policy: Policy::Warn,
            types: Vec::new(),
        }
    }
}

impl Schemas {
    /// For one type.
    pub fn policy(&self, event_type: &str) -> Policy {
        let mut types = self.types.iter();
        let named = types.find(|(pattern, _)| pattern.matches(event_type));
        named.map_or(self.policy, |(_, policy)| *policy)
    }
}

impl File<'_> {
    pub(super) fn schemas(&self, raw: &RawSchemas) -> Result<Schemas, Error> {
        let words = [
            ("off", Policy::Off),
            ("warn", Policy::Warn),
            ("dead-letter", Policy::DeadLetter),
        ];
        let section = self.section("[schemas]");
        let policy = section.choice("policy", &raw.policy, &words)?;
        let section = self.section("[schemas.types]");
        let mut types = Vec::new();
        for (name, leaf) in &raw.types {
            let Some(policy) = section.choice(name, leaf, &words)? else {
                continue;
            };
            let pattern = TypePattern::parse(name);
            let expected = || format!("found the type {name:?}; expected {TYPE}");
            let pattern = pattern.ok_or_else(|| section.rule(name, leaf.as_ref(), &expected()))?;
            types.push((pattern, policy));
        }
        // Whole types before beginnings, longer beginnings before shorter ones.
        types.sort_by_key(|(pattern, _)| match pattern {
            TypePattern::Exact(_) => 0,
            TypePattern::Prefix(start) => usize::MAX - start.len(),
        });
        Ok(Schemas {
            policy: policy.unwrap_or(Schemas::default().policy),
            types,
        })
    }
}
