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
    pub(crate) credit_limit: Option<Decimal>,
    pub(crate) contacts: u64,
    pub(crate) open_opportunities: u64,
    /// In the base currency's digits as they come: no rates are known here.
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
