//! Takes a JSON number, gives its digits and its exact value.

use std::fmt;
use std::str::FromStr;

use crate::error::excerpt;
use crate::{Decimal, Error, Members, Number};

/// An amount of money: its digits as they came, never a binary floating-point number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    amount: Number,
    /// Members beside `Value`; none are known.
    pub extra: Members,
}

impl Money {
    pub(crate) fn new(amount: Number, extra: Members) -> Self {
        Money { amount, extra }
    }

    /// The digits as they stood in the body: `12345678901.0987`, `100`, `75000.0000`. (Of a
    /// number with an exponent the digits too, its `E` spelled `e+` or `e-`.)
    #[must_use]
    pub fn text(&self) -> &str {
        self.amount.as_str()
    }

    /// The exact value, to compare and to reckon with. `None` when it needs more than 28
    /// digits, which no column of type Money can hold.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        exact(&self.amount)
    }

    /// The JSON number.
    #[must_use]
    pub fn number(&self) -> &Number {
        &self.amount
    }
}

/// The digits, as they came.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Reads a JSON number and keeps every digit of it.
impl FromStr for Money {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let amount = Number::from_str(text).map_err(|_| Error::Amount {
            found: excerpt(text),
        })?;
        Ok(Money::new(amount, Members::new()))
    }
}

/// The exact value of a JSON number, exponent or not; trailing zeros count as digits. `None`
/// when it does not fit into 28 digits: nothing is ever rounded.
#[must_use]
pub fn exact(number: &Number) -> Option<Decimal> {
    let (digits, exponent) = match number.as_str().split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (number.as_str(), 0),
    };
    let base = Decimal::from_str_exact(digits).ok()?;
    if exponent == 0 || base.is_zero() {
        return Some(base);
    }
    let scale = i64::from(base.scale()) - i64::from(exponent);
    let (mantissa, scale) = if scale < 0 {
        let power = 10_i128.checked_pow(u32::try_from(-scale).ok()?)?;
        (base.mantissa().checked_mul(power)?, 0)
    } else {
        (base.mantissa(), u32::try_from(scale).ok()?)
    };
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn every_digit_is_kept() {
        for text in [
            "0",
            "-0",
            "100",
            "75000.0000",
            "12345678901.0987",
            "-922337203685477.5807",
        ] {
            assert_eq!(money(text).text(), text);
            assert_eq!(money(text).to_string(), text);
        }
        assert_eq!(
            money("12345678901.0987").decimal().unwrap().to_string(),
            "12345678901.0987"
        );
    }

    #[test]
    fn exponents_are_exact_and_too_many_digits_are_refused() {
        let value = |text| money(text).decimal().map(|value| value.to_string());
        assert_eq!(money("1.50E2").text(), "1.50e+2");
        assert_eq!(value("1E-05").as_deref(), Some("0.00001"));
        assert_eq!(value("1.25e3").as_deref(), Some("1250"));
        assert_eq!(value("0e999999").as_deref(), Some("0"));
        assert_eq!(value("1e-29"), None);
        assert_eq!(value("1e29"), None);
        assert_eq!(value("1e-99999999999"), None);
        assert_eq!(value("1e-2147483648"), None);
        assert_eq!(value("0.12345678901234567890123456789"), None);
        assert!(money("50000.01").decimal() > Some(Decimal::from(50_000)));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "1,5", "€ 5", "NaN", "1.", "+1"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }
}
