//! Takes conditions and an order, gives the SQL of a question for SQLite, and its parameters.
//!
//! What comes from an address gets into the text of SQL in one way only: as a member's path, whose
//! words have letters, digits, `_` and `-`. Values are parameters.

use rusqlite::types::Value as Sql;

use super::schema;
use crate::projections::query::value::Number;
use crate::projections::query::{By, Condition, KEY, Operator, Value};

/// A part of a question: its text, and its parameters in their order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Part {
    pub(super) text: String,
    pub(super) parameters: Vec<Sql>,
}

impl Part {
    fn push(&mut self, text: &str, parameters: impl IntoIterator<Item = Sql>) {
        self.text.push_str(text);
        self.parameters.extend(parameters);
    }

    fn of(text: String, parameters: impl IntoIterator<Item = Sql>) -> Self {
        Self {
            text,
            parameters: parameters.into_iter().collect(),
        }
    }
}

/// What a member is in SQL.
pub(super) fn expression(member: &str) -> String {
    match member {
        KEY => "key".to_owned(),
        member => schema::member(member),
    }
}

/// `null`, `true`, `integer`, `text`, …: SQLite gives true as 1, and an object as a text.
fn kind(member: &str) -> String {
    match member {
        KEY => "'text'".to_owned(),
        member => format!("json_type(row, '{}')", schema::pointer(member)),
    }
}

/// What holds of the rows that meet a condition.
pub(super) fn condition(condition: &Condition) -> Part {
    let Condition {
        member,
        operator,
        values,
    } = condition;
    let mut part = Part::default();
    match operator {
        Operator::Equal | Operator::In => any(&mut part, member, values),
        Operator::NotEqual => {
            part.push("NOT (", []);
            any(&mut part, member, values);
            part.push(")", []);
        }
        Operator::Greater => compared(&mut part, member, ">", values),
        Operator::GreaterOrEqual => compared(&mut part, member, ">=", values),
        Operator::Less => compared(&mut part, member, "<", values),
        Operator::LessOrEqual => compared(&mut part, member, "<=", values),
        Operator::Prefix => {
            let Some(Value::Text(prefix)) = values.first() else {
                part.push("0", []);
                return part;
            };
            let (it, kind) = (expression(member), kind(member));
            // The last character there is comes behind all that can follow.
            let end = format!("{prefix}{}", char::MAX);
            let text = format!("({it} >= ? AND {it} < ? AND {kind} = 'text')");
            part.push(&text, [Sql::Text(prefix.clone()), Sql::Text(end)]);
        }
    }
    part
}

/// True or false and never null, so that it can be turned round.
fn any(part: &mut Part, member: &str, values: &[Value]) {
    let (it, kind) = (expression(member), kind(member));
    let mut plain = Vec::new();
    let mut others = Vec::new();
    for value in values {
        match value {
            Value::Null => others.push(format!("{it} IS NULL")),
            Value::Boolean(boolean) => {
                others.push(format!("ifnull({kind} = '{boolean}', 0)"));
                plain.push(Sql::Text(boolean.to_string()));
            }
            Value::Number(number, text) => {
                plain.push(sql(*number));
                plain.push(Sql::Text(text.clone()));
            }
            Value::Text(text) => plain.push(Sql::Text(text.clone())),
        }
    }
    part.push("(", []);
    if !plain.is_empty() {
        let places = vec!["?"; plain.len()].join(", ");
        let text = format!(
            "({it} IN ({places}) AND {it} IS NOT NULL AND {kind} IN ('integer', 'real', 'text'))"
        );
        part.push(&text, plain);
        if !others.is_empty() {
            part.push(" OR ", []);
        }
    }
    part.push(&others.join(" OR "), []);
    part.push(")", []);
}

/// Numbers with numbers, texts with texts; nothing else is more or less than anything.
fn compared(part: &mut Part, member: &str, operator: &str, values: &[Value]) {
    let (it, kind) = (expression(member), kind(member));
    match values.first() {
        Some(Value::Number(number, text)) if member == KEY => {
            let _ = number;
            part.push(&format!("{it} {operator} ?"), [Sql::Text(text.clone())]);
        }
        Some(Value::Number(number, _)) => {
            let text = format!("({it} {operator} ? AND {kind} IN ('integer', 'real'))");
            part.push(&text, [sql(*number)]);
        }
        Some(Value::Text(text)) => {
            let condition = format!("({it} {operator} ? AND {kind} = 'text')");
            part.push(&condition, [Sql::Text(text.clone())]);
        }
        Some(Value::Null | Value::Boolean(_)) | None => part.push("0", []),
    }
}

fn sql(number: Number) -> Sql {
    match number {
        Number::Whole(number) => Sql::Integer(number),
        Number::Real(number) => Sql::Real(number),
    }
}

/// `ORDER BY`; the key comes last, so that no two rows are in the same place.
pub(super) fn order(order: &[By]) -> String {
    let mut text = String::from(" ORDER BY ");
    for By { member, descending } in order {
        let direction = if *descending { " DESC" } else { "" };
        text.push_str(&format!("{}{direction}, ", expression(member)));
    }
    text.push_str("key");
    text
}

/// What holds of the rows that come behind this place: the values of the order's members there,
/// and the key. Null comes before all else.
pub(super) fn behind(order: &[By], place: &[Sql]) -> Part {
    let key = By {
        member: KEY.to_owned(),
        descending: false,
    };
    let mut members: Vec<(&By, &Sql)> = order.iter().chain([&key]).zip(place).collect();
    let mut part = Part::of("0".to_owned(), []);
    while let Some((By { member, descending }, value)) = members.pop() {
        let it = expression(member);
        let is_null = *value == Sql::Null;
        let further = match (descending, is_null) {
            (false, true) => Part::of(format!("{it} IS NOT NULL"), []),
            (false, false) => Part::of(format!("{it} > ?"), [value.clone()]),
            (true, true) => Part::of("0".to_owned(), []),
            (true, false) => Part::of(format!("({it} < ? OR {it} IS NULL)"), [value.clone()]),
        };
        let same = match is_null {
            true => Part::of(format!("{it} IS NULL"), []),
            false => Part::of(format!("{it} = ?"), [value.clone()]),
        };
        let mut both = Part::default();
        both.push("(", []);
        both.push(&further.text, further.parameters);
        both.push(" OR (", []);
        both.push(&same.text, same.parameters);
        both.push(" AND ", []);
        both.push(&part.text, part.parameters);
        both.push("))", []);
        part = both;
    }
    part
}
