//! Takes conditions and an order, gives the SQL of a question for PostgreSQL, and its parameters.
//!
//! What comes from an address gets into the text of SQL in one way only: as a member's path, whose
//! words have letters, digits, `_` and `-`. Values are parameters. A member is compared by three
//! things: its rank (nothing, a number, a text), its number, and its text, byte by byte. An index has
//! the beginning of the text, since what PostgreSQL takes into one is bounded.

use tokio_postgres::types::{ToSql, Type};

use crate::projections::query::page::Place;
use crate::projections::query::value::Number;
use crate::projections::query::{By, Condition, KEY, Operator, Query, Value};

/// Characters of a text that an index has.
const HEAD: usize = 500;

/// A question that grows.
#[derive(Debug, Default)]
pub(super) struct Sql {
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Parameter {
    Whole(i64),
    Text(String),
}

impl Parameter {
    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Whole(number) => (number, Type::INT8),
            Self::Text(text) => (text, Type::TEXT),
        }
    }
}

/// A member of a row; an index and a question name it in the same way.
pub(super) fn member(path: &str) -> String {
    let words: Vec<String> = path.split('.').map(|word| format!("\"{word}\"")).collect();
    format!("row #> '{{{}}}'", words.join(","))
}

pub(super) fn rank(member: &str) -> String {
    format!("sluicegate.rank({member})")
}

pub(super) fn number(member: &str) -> String {
    format!("sluicegate.number({member})")
}

fn string(member: &str) -> String {
    format!("sluicegate.string({member}) COLLATE \"C\"")
}

pub(super) fn head(member: &str) -> String {
    format!("left(sluicegate.string({member}), {HEAD}) COLLATE \"C\"")
}

fn kind(member: &str) -> String {
    format!("coalesce(jsonb_typeof({member}), 'null')")
}

fn digits(number: Number) -> String {
    match number {
        Number::Whole(number) => number.to_string(),
        Number::Real(number) => number.to_string(),
    }
}

impl Sql {
    fn bind(&mut self, parameter: Parameter) -> String {
        self.parameters.push(parameter);
        format!("${}", self.parameters.len())
    }

    pub(super) fn whole(&mut self, number: i64) -> String {
        self.bind(Parameter::Whole(number))
    }

    fn text(&mut self, text: &str) -> String {
        // No text of PostgreSQL has a byte of zero, and so none is equal to this one.
        let text = text.replace('\0', "\u{10ffff}");
        self.bind(Parameter::Text(text))
    }

    fn number(&mut self, digits: &str) -> String {
        format!("{}::numeric", self.text(digits))
    }

    /// The whole question: key, change, row, and of each member of the order what it is compared by.
    pub(super) fn question(
        &mut self,
        query: &Query,
        from: &str,
        place: Option<&[Place]>,
    ) -> String {
        let mut text = "SELECT key, changed, row::text".to_owned();
        for By { member: path, .. } in &query.order {
            let columns = match path.as_str() {
                KEY => ", 2, '0', key".to_owned(),
                path => {
                    let it = member(path);
                    format!(", {}, {}::text, {}", rank(&it), number(&it), string(&it))
                }
            };
            text.push_str(&columns);
        }
        text.push_str(&format!(" FROM {from} WHERE row IS NOT NULL"));
        for condition in &query.conditions {
            text.push_str(&format!(" AND {}", self.condition(condition)));
        }
        if let Some(place) = place {
            text.push_str(&format!(" AND {}", self.behind(&query.order, place)));
        }
        text.push_str(" ORDER BY ");
        for By {
            member: path,
            descending,
        } in &query.order
        {
            let direction = if *descending { " DESC" } else { "" };
            let it = member(path);
            let by = match path.as_str() {
                KEY => vec!["key".to_owned()],
                _ => vec![rank(&it), number(&it), head(&it), string(&it)],
            };
            for by in by {
                text.push_str(&format!("{by}{direction}, "));
            }
        }
        text.push_str(&format!("key LIMIT {}", query.limit + 1));
        text
    }

    /// What holds of the rows that meet a condition: true or false, and never null.
    fn condition(&mut self, condition: &Condition) -> String {
        let Condition {
            member: path,
            operator,
            values,
        } = condition;
        let first = values.first().unwrap_or(&Value::Null);
        match operator {
            Operator::Equal | Operator::In => self.any(path, values),
            Operator::NotEqual => format!("NOT {}", self.any(path, values)),
            Operator::Greater => self.compared(path, (">", ">="), first),
            Operator::GreaterOrEqual => self.compared(path, (">=", ">="), first),
            Operator::Less => self.compared(path, ("<", "<="), first),
            Operator::LessOrEqual => self.compared(path, ("<=", "<="), first),
            Operator::Prefix => {
                let Value::Text(prefix) = first else {
                    return "false".to_owned();
                };
                // The last character there is comes behind all that can follow.
                let end = Value::Text(format!("{prefix}{}", char::MAX));
                let begin = self.compared(path, (">=", ">="), first);
                format!("({begin} AND {})", self.compared(path, ("<", "<="), &end))
            }
        }
    }

    fn any(&mut self, path: &str, values: &[Value]) -> String {
        let any: Vec<String> = values.iter().map(|value| self.equal(path, value)).collect();
        format!("({})", any.join(" OR "))
    }

    fn equal(&mut self, path: &str, value: &Value) -> String {
        let it = member(path);
        let same = ("=", "=");
        match value {
            Value::Null if path == KEY => "false".to_owned(),
            Value::Null => format!("{} = 0", rank(&it)),
            Value::Boolean(boolean) => {
                let text = self.compared(path, same, &Value::Text(boolean.to_string()));
                match path {
                    KEY => text,
                    _ => format!("(coalesce({it} = '{boolean}', false) OR {text})"),
                }
            }
            Value::Number(_, written) => {
                let text = self.compared(path, same, &Value::Text(written.clone()));
                match path {
                    KEY => text,
                    _ => format!("({} OR {text})", self.compared(path, same, value)),
                }
            }
            Value::Text(_) => self.compared(path, same, value),
        }
    }

    /// Numbers with numbers, texts with texts; nothing else is more or less than anything. The
    /// second operator is that between the beginnings of two texts.
    fn compared(&mut self, path: &str, (operator, of_heads): (&str, &str), to: &Value) -> String {
        let it = member(path);
        match to {
            Value::Text(text) | Value::Number(_, text) if path == KEY => {
                format!("key {operator} {}", self.text(text))
            }
            Value::Number(to, _) => {
                let (rank, kind, it) = (rank(&it), kind(&it), number(&it));
                let to = self.number(&digits(*to));
                format!("({rank} = 1 AND {kind} = 'number' AND {it} {operator} {to})")
            }
            Value::Text(to) => {
                let to = self.text(to);
                format!(
                    "({} = 2 AND {} = 0 AND {} = 'string' AND {} {of_heads} left({to}, {HEAD}) \
                     AND {} {operator} {to})",
                    rank(&it),
                    number(&it),
                    kind(&it),
                    head(&it),
                    string(&it)
                )
            }
            Value::Null | Value::Boolean(_) => "false".to_owned(),
        }
    }

    /// What holds of the rows that come behind this place: the values of the order's members there,
    /// and the key.
    fn behind(&mut self, order: &[By], place: &[Place]) -> String {
        let key = By {
            member: KEY.to_owned(),
            descending: false,
        };
        let mut behind = "false".to_owned();
        let mut members: Vec<(&By, &Place)> = order.iter().chain([&key]).zip(place).collect();
        while let Some((
            By {
                member: path,
                descending,
            },
            value,
        )) = members.pop()
        {
            let further = if *descending { "<" } else { ">" };
            let it = member(path);
            let (it, there) = match (path.as_str(), value) {
                (KEY, Place::Text(text)) => ("key".to_owned(), self.text(text)),
                (KEY, _) => return "false".to_owned(),
                (_, value) => {
                    let it = format!("({}, {}, {})", rank(&it), number(&it), string(&it));
                    (it, self.there(value))
                }
            };
            behind = format!("({it} {further} {there} OR ({it} = {there} AND {behind}))");
        }
        behind
    }

    fn there(&mut self, value: &Place) -> String {
        match value {
            Place::Null => "(0, 0::numeric, '')".to_owned(),
            Place::Whole(number) => format!("(1, {}, '')", self.number(&number.to_string())),
            Place::Real(bits) => {
                let digits = f64::from_bits(*bits).to_string();
                format!("(1, {}, '')", self.number(&digits))
            }
            Place::Number(digits) => format!("(1, {}, '')", self.number(digits)),
            Place::Text(text) => format!("(2, 0::numeric, {})", self.text(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_parameter_and_a_member_is_a_path() {
        let value = "'; DROP SCHEMA sluicegate; --";
        let words = [
            ("address.city", value),
            ("sum.gte", "1.5"),
            ("text.in", "true,null,3"),
            ("@key.prefix", value),
            ("order", "-address.city,@key"),
        ];
        let query = Query::parse(words).unwrap();
        let place = [
            Place::Text(value.to_owned()),
            Place::Text("k".to_owned()),
            Place::Text("k".to_owned()),
        ];
        let mut sql = Sql::default();
        let text = sql.question(&query, "t", Some(&place));
        assert!(!text.contains("DROP"), "{text}");
        assert!(text.contains("row #> '{\"address\",\"city\"}'"), "{text}");
        let last = format!("${}", sql.parameters.len());
        assert!(text.contains(&last), "{text}");
        assert!(sql.parameters.contains(&Parameter::Text(value.to_owned())));
        let none = Query::parse([("text", "a\0b")]).unwrap();
        let mut sql = Sql::default();
        sql.question(&none, "t", None);
        let [Parameter::Text(text)] = sql.parameters.as_slice() else {
            panic!("{:?}", sql.parameters);
        };
        assert!(!text.contains('\0'));
    }
}
