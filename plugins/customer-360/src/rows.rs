//! The rows: what is known of a customer, and what each thing counts for.

use serde::{Deserialize, Serialize};
use sluicegate_guest::d365::Decimal;

/// A customer: an account of Dataverse, by its id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Customer {
    /// Its account came, and not only what belongs to it.
    pub(crate) is_known: bool,
    pub(crate) name: Option<String>,
    /// `accountnumber`, by which F&O knows it.
    pub(crate) number: Option<String>,
    pub(crate) country: Option<String>,
    #[serde(with = "number::optional")]
    pub(crate) credit_limit: Option<Decimal>,
    pub(crate) contacts: u64,
    pub(crate) open_opportunities: u64,
    /// In the base currency's digits as they come: no rates are known here.
    #[serde(with = "number")]
    pub(crate) open_value: Decimal,
    /// The customer of Finance and Operations that has its number.
    pub(crate) fno: Option<FnoCustomer>,
}

/// A contact, by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) name: Option<String>,
    pub(crate) customer: Option<String>,
}

/// An opportunity, by its id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Opportunity {
    pub(crate) customer: Option<String>,
    #[serde(with = "number")]
    pub(crate) value: Decimal,
    /// Won or lost.
    pub(crate) is_closed: bool,
}

impl Opportunity {
    /// The customer to whose open opportunities it counts.
    pub(crate) fn counts_for(&self) -> Option<&str> {
        self.customer.as_deref().filter(|_| !self.is_closed)
    }
}

/// A customer of Finance and Operations, by its record's id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FnoCustomer {
    pub(crate) account: Option<String>,
    pub(crate) name: Option<String>,
    #[serde(with = "number::optional")]
    pub(crate) credit_limit: Option<Decimal>,
}

/// Whose a number is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    /// The account's id.
    pub(crate) customer: Option<String>,
    /// The id of the F&O customer's record.
    pub(crate) fno: Option<String>,
}

/// An amount as a JSON number with all its digits, so that rows can be compared by it.
mod number {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Number;
    use sluicegate_guest::d365::Decimal;

    pub(super) fn serialize<S: Serializer>(amount: &Decimal, to: S) -> Result<S::Ok, S::Error> {
        let number: Result<Number, _> = amount.to_string().parse();
        number.map_err(serde::ser::Error::custom)?.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
        let number = Number::deserialize(from)?;
        number.to_string().parse().map_err(D::Error::custom)
    }

    pub(super) mod optional {
        use super::{Decimal, Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Amount(#[serde(with = "super")] Decimal);

        pub(in super::super) fn serialize<S: Serializer>(
            amount: &Option<Decimal>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            amount.map(Amount).serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Decimal>, D::Error> {
            let amount = Option::<Amount>::deserialize(from)?;
            Ok(amount.map(|Amount(amount)| amount))
        }
    }
}
