//! Takes a Rust value, gives the value of a column.

use crate::{Choice, Date, Decimal, Entity, EntityReference, Json, Money, Number, Value};

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Value::Number(number.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Number(number.into())
    }
}

/// A decimal column, with every digit. A currency column is a [`Money`].
impl From<Decimal> for Value {
    fn from(decimal: Decimal) -> Self {
        // Written without an exponent and with a digit on both sides of its point: a JSON number.
        match decimal.to_string().parse::<Number>() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Text(decimal.to_string()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Value::Date(date)
    }
}

impl From<Money> for Value {
    fn from(money: Money) -> Self {
        Value::Money(money)
    }
}

impl From<Choice> for Value {
    fn from(choice: Choice) -> Self {
        Value::Choice(choice)
    }
}

impl From<EntityReference> for Value {
    fn from(reference: EntityReference) -> Self {
        Value::Reference(Box::new(reference))
    }
}

impl From<Entity> for Value {
    fn from(entity: Entity) -> Self {
        Value::Entity(Box::new(entity))
    }
}

/// An amount of money, exactly.
impl From<Decimal> for Money {
    fn from(amount: Decimal) -> Self {
        match amount.to_string().parse() {
            Ok(money) => money,
            Err(_) => Money::new(0.into(), crate::Members::new()),
        }
    }
}

/// The JSON that a body holds for the value.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        value.to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_is_lost_on_the_way() {
        for digits in [
            "0",
            "-0.10",
            "79228162514264337593543950335",
            "0.0000000001",
        ] {
            let decimal: Decimal = digits.parse().unwrap();
            assert_eq!(Value::from(decimal).to_json().to_string(), digits);
            assert_eq!(Money::from(decimal).text(), digits);
        }
    }
}
