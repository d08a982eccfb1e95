//! Takes what is known of an account and a new credit limit, gives what is to be done.

use serde::{Deserialize, Serialize};
use sluicegate_guest::d365::{Decimal, Value};
use sluicegate_guest::{Failure, reject};

/// What the plug-in remembers of an account.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// How many holds there have been, the present one included.
    pub(crate) count: u32,
    /// Whether the last one is still there.
    pub(crate) raised: bool,
}

/// What is to be done about an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Nothing,
    Raise,
    Lift,
}

impl Step {
    /// The last word of the event's type and subject.
    pub(crate) fn action(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Raise => Some("raised"),
            Self::Lift => Some("lifted"),
        }
    }
}

impl Hold {
    /// Goes on to what the amount asks for. An account without a credit limit is within it.
    pub(crate) fn step(&mut self, amount: Option<Decimal>, limit: Decimal) -> Step {
        let over = amount.is_some_and(|amount| limit < amount);
        match (self.raised, over) {
            (false, true) => {
                *self = Self {
                    count: self.count + 1,
                    raised: true,
                };
                Step::Raise
            }
            (true, false) => {
                self.raised = false;
                Step::Lift
            }
            (false, false) | (true, true) => Step::Nothing,
        }
    }

    /// The same for every repetition, another for the next hold of the same account.
    pub(crate) fn event_id(&self, key: &str, limit: Decimal, action: &str) -> String {
        format!("{key}/{limit}/{}/{action}", self.count)
    }
}

/// The credit limit, exactly; `None` when it was cleared.
pub(crate) fn amount(value: &Value) -> Result<Option<Decimal>, Failure> {
    if value.is_null() {
        return Ok(None);
    }
    let amount = value.decimal().ok_or_else(|| {
        reject(format_args!(
            "creditlimit is {}, which is no amount of up to 28 digits",
            value.to_json()
        ))
    })?;
    Ok(Some(amount))
}

#[cfg(test)]
mod tests {
    use sluicegate_guest::d365::Json;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// The steps of one account whose limit becomes each of these.
    fn steps(amounts: &[Option<&str>]) -> Vec<Step> {
        let mut hold = Hold::default();
        let amounts = amounts.iter();
        amounts
            .map(|amount| hold.step(amount.map(decimal), decimal("50000")))
            .collect()
    }

    #[test]
    fn raised_once_above_the_limit_and_lifted_once_below() {
        use Step::{Lift, Nothing, Raise};
        let amounts = [
            Some("50000.0000"),
            Some("50000.0001"),
            Some("99999999999.9999"),
            Some("50000"),
            Some("0"),
            Some("75000"),
            None,
        ];
        assert_eq!(
            steps(&amounts),
            [Nothing, Raise, Nothing, Lift, Nothing, Raise, Lift]
        );
    }

    #[test]
    fn the_smallest_part_of_a_large_amount_counts() {
        // As a binary floating-point number both would be the same.
        let limit = decimal("9007199254740993.0000");
        assert_eq!(
            Hold::default().step(Some(decimal("9007199254740993.0001")), limit),
            Step::Raise
        );
        assert_eq!(
            Hold::default().step(Some(decimal("9007199254740993")), limit),
            Step::Nothing
        );
    }

    #[test]
    fn an_id_belongs_to_one_hold() {
        let mut hold = Hold::default();
        let limit = decimal("50000");
        let mut ids = Vec::new();
        for amount in ["60000", "1", "60000", "1"] {
            let step = hold.step(Some(decimal(amount)), limit);
            ids.push(hold.event_id("account/1", limit, step.action().unwrap()));
        }
        assert_eq!(
            ids,
            [
                "account/1/50000/1/raised",
                "account/1/50000/1/lifted",
                "account/1/50000/2/raised",
                "account/1/50000/2/lifted"
            ]
        );
    }

    #[test]
    fn what_is_no_amount_is_rejected_in_words() {
        let value = |json: Json| Value::from_json(json).unwrap();
        assert_eq!(amount(&value(Json::Null)).unwrap(), None);
        let number = serde_json::from_str("75000.0000").unwrap();
        assert_eq!(amount(&value(number)).unwrap(), Some(decimal("75000")));
        let error = amount(&value("much".into())).unwrap_err().to_string();
        assert!(error.contains("creditlimit is \"much\""), "{error}");
    }
}
