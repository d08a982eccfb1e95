//! Takes the value of a column, gives its JSON for the body of a request.

use crate::d365::{self, Date, Decimal, Json, Money, Number};

/// The value of a column, by the column's type.
///
/// There is no conversion from an `Option`: in an event, a column that is absent was not
/// changed, one that is null was cleared, and the accessors say `None` for both. Ask
/// `context.changed("column")` and say [`Value::Null`] where you mean it.
///
/// A floating-point column takes [`Number`], as an `f64` can be no number.
///
/// Source: "Web API Properties" (types), "Choices columns", "Behavior and format of the date
/// and time column".
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Clears the column. One whose requirement level is `SystemRequired` refuses it.
    Null,
    /// Yes/no.
    Bool(bool),
    /// Whole number, or choice: the number of the option, not its label.
    Integer(i64),
    /// Decimal, currency or floating-point number, every digit as it is.
    Number(Number),
    /// Text, or a GUID.
    Text(String),
    /// Date and time, as an instant in UTC: `2026-11-24T09:30:00Z`. Dataverse stores nothing
    /// before 1753.
    Instant(Date),
    /// Date only: the day in UTC, `2026-11-24`. Such a column takes nothing longer.
    Day(Date),
    /// Choices: `"1,9"`; none clears the column. At most 150 can be chosen.
    Choices(Vec<i64>),
    /// Anything else, as it is.
    Json(Json),
}

impl Value {
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Integer(number) => (*number).into(),
            Self::Number(number) => Json::Number(number.clone()),
            Self::Text(text) => Json::String(text.clone()),
            Self::Instant(date) => Json::String(date.rfc3339()),
            Self::Day(date) => Json::String(day(date)),
            Self::Choices(choices) if choices.is_empty() => Json::Null,
            Self::Choices(choices) => {
                let numbers: Vec<String> = choices.iter().map(i64::to_string).collect();
                Json::String(numbers.join(","))
            }
            Self::Json(json) => json.clone(),
        }
    }
}

/// `yyyy-mm-dd` in UTC.
pub(super) fn day(date: &Date) -> String {
    date.rfc3339().chars().take("yyyy-mm-dd".len()).collect()
}

/// The number with every digit.
pub(super) fn number(decimal: Decimal) -> Json {
    d365::Value::from(decimal).to_json()
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<Decimal> for Value {
    fn from(decimal: Decimal) -> Self {
        Self::Json(number(decimal))
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<&Money> for Value {
    fn from(money: &Money) -> Self {
        Self::Number(money.number().clone())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Instant(date)
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn json(value: impl Into<Value>) -> String {
        value.into().to_json().to_string()
    }

    #[test]
    fn each_type_has_the_form_that_the_web_api_takes() {
        assert_eq!(json(Value::Null), "null");
        assert_eq!(json(true), "true");
        assert_eq!(json(-7), "-7");
        assert_eq!(json(100_000_001_i64), "100000001");
        assert_eq!(json("Contoso \"A\""), r#""Contoso \"A\"""#);
        assert_eq!(json(Value::Choices(vec![1, 9])), r#""1,9""#);
        assert_eq!(json(Value::Choices(Vec::new())), "null");
        assert_eq!(json(serde_json::json!({"a": [1]})), r#"{"a":[1]}"#);
    }

    #[test]
    fn no_digit_is_lost() {
        for digits in [
            "0",
            "-0.10",
            "12345678901.0987",
            "922337203685477.5807",
            "79228162514264337593543950335",
            "0.0000000000000000000000000001",
        ] {
            assert_eq!(json(Decimal::from_str(digits).unwrap()), digits);
            assert_eq!(json(&Money::from_str(digits).unwrap()), digits);
            assert_eq!(json(Number::from_str(digits).unwrap()), digits);
        }
    }

    #[test]
    fn dates_are_in_utc() {
        let date = Date::parse("2026-11-24T23:30:00.25-02:00").unwrap();
        assert_eq!(json(date.clone()), r#""2026-11-25T01:30:00.25Z""#);
        assert_eq!(json(Value::Day(date)), r#""2026-11-25""#);
    }
}
