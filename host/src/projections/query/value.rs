//! Takes the text of a value in an address, gives what a member is compared with.

/// What a member is compared with.
///
/// | text | what it meets |
/// |---|---|
/// | `null` | a member that is null or absent |
/// | `true`, `false` | that, and the text that reads so |
/// | a JSON number, `42`, `-1.5` | the number, and the text that reads so |
/// | `"…"` in quotes, a JSON string | that text and nothing else |
/// | everything else | that text |
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number, and how it was written.
    Number(Number, String),
    /// A text.
    Text(String),
}

/// 64 bits, whole or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole one.
    Whole(i64),
    /// Another one.
    Real(f64),
}

impl Value {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        match text {
            "null" => return Self::Null,
            "true" => return Self::Boolean(true),
            "false" => return Self::Boolean(false),
            _ => {}
        }
        if let Some(number) = number(text) {
            return Self::Number(number, text.to_owned());
        }
        self::text(text)
    }
}

/// A text, in quotes or without.
pub(super) fn text(text: &str) -> Value {
    let quoted = text
        .starts_with('"')
        .then(|| serde_json::from_str(text).ok());
    Value::Text(quoted.flatten().unwrap_or_else(|| text.to_owned()))
}

fn number(text: &str) -> Option<Number> {
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() && first != b'-' {
        return None;
    }
    // JSON's form of a number and no other: 007 is a text.
    serde_json::from_str::<serde_json::Number>(text).ok()?;
    if let Ok(whole) = text.parse() {
        return Some(Number::Whole(whole));
    }
    let real: f64 = text.parse().ok()?;
    real.is_finite().then_some(Number::Real(real))
}

/// `a,b,c`, or a JSON array.
pub(super) fn list(text: &str) -> Result<Vec<Value>, String> {
    const MOST: usize = 200;
    let values: Vec<Value> = if text.starts_with('[') {
        let values: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_str(text).map_err(|error| format!("no JSON array: {error}"))?;
        values
            .iter()
            .map(|value| Value::parse(value.get()))
            .collect()
    } else {
        text.split(',').map(Value::parse).collect()
    };
    match values.len() {
        1..=MOST => Ok(values),
        found => Err(format!(
            "1 to {MOST} values are allowed, and {found} were given"
        )),
    }
}
