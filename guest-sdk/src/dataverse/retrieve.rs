//! Takes a row and the columns that are wanted, gives them as a type of the plug-in's own.

use serde::de::DeserializeOwned;

use super::upsert::WEB_API;
use super::{Error, Row, name};
use crate::d365::Json;
use crate::http;

/// What Dataverse answers, with 404, when no row has this id, and when none has this key.
const NO_SUCH_ROW: [&str; 2] = ["0x80040217", "0x80060891"];

/// A question for one row, under construction.
///
/// A column of the answer is a field of the type: lookups as `_<column>_value`, the id of the
/// record; choices as numbers; amounts as numbers with all their digits, for a
/// [`Decimal`](crate::d365::Decimal).
///
/// ```
/// use serde::Deserialize;
/// use sluicegate_guest::d365::Decimal;
/// use sluicegate_guest::dataverse::{Retrieve, Row};
/// use sluicegate_guest::testing::{self, Answer};
/// use sluicegate_guest::*;
///
/// #[derive(Deserialize)]
/// struct Account {
///     name: String,
///     creditlimit: Option<Decimal>,
/// }
///
/// #[consumer]
/// fn handle(event: Event) -> Outcome {
///     let order = event.record()?;
///     let number = order.text("new_accountnumber").ok_or_else(|| reject("no account number"))?;
///     let account = Retrieve::new(Row::by_key("accounts", "accountnumber", number))
///         .select(["name", "creditlimit"])
///         .from::<Account>("https://contoso.crm.dynamics.com")?;
///     match account {
///         Some(account) => info!("{}: {:?}", account.name, account.creditlimit),
///         None => return Err(retry(format!("no account {number} yet"))),
///     }
///     Ok(())
/// }
///
/// let mut host = testing::Host::new().with_answers(|request| {
///     assert!(request.url().ends_with("/accounts(accountnumber='A-1')?$select=name,creditlimit"));
///     Answer::status(200).body(r#"{"name":"Contoso","creditlimit":50000.0001}"#)
/// });
/// let order = testing::record("salesorder").set("new_accountnumber", "A-1");
/// let called = host.call(handle, order.event());
/// assert_eq!(called.logs[0].message, "Contoso: Some(50000.0001)");
/// ```
///
/// Source: "Retrieve a table row using the Web API"; the codes of a row that is not there: "Web
/// service error codes". Not tried on an environment.
#[derive(Debug, Clone)]
#[must_use = "from() asks"]
pub struct Retrieve {
    row: Row,
    columns: Vec<String>,
}

/// Why a row was not retrieved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrieveError {
    /// The row, or a column, is named as none can be.
    #[error("the row cannot be asked for")]
    Request(#[source] Error),
    /// No success was answered. By `?` it is done what the status says: see
    /// [`http`](crate::http).
    #[error("the row was not retrieved")]
    Http(#[source] http::Error),
    /// The answer does not fit the type.
    #[error("the row of {table} does not fit {wanted}")]
    Row {
        /// Entity set name of the table.
        table: String,
        /// The Rust type that was asked for.
        wanted: &'static str,
        /// What does not fit.
        source: serde_json::Error,
    },
}

impl Retrieve {
    /// All columns of the row, until some are selected: ask for those that are read.
    pub fn new(row: Row) -> Self {
        Self {
            row,
            columns: Vec::new(),
        }
    }

    /// These columns too; a lookup as `_<column>_value`.
    pub fn select<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.columns.extend(columns.into_iter().map(Into::into));
        self
    }

    /// The request, for an environment such as `https://contoso.crm.dynamics.com`.
    ///
    /// # Errors
    /// When the row or a column is named as none can be.
    pub fn build(&self, environment: &str) -> Result<http::Request, Error> {
        let table = self.row.table.as_str();
        let columns = self.columns.iter().map(|own| name::column(table, own));
        let columns = columns.collect::<Result<Vec<_>, _>>()?.join(",");
        let query = match columns.as_str() {
            "" => String::new(),
            columns => format!("?$select={columns}"),
        };
        let environment = environment.trim_end_matches('/');
        let url = format!("{environment}{WEB_API}/{}{query}", self.row.in_path()?);
        Ok(http::get(url)
            .header("Accept", "application/json")
            .header("OData-MaxVersion", "4.0")
            .header("OData-Version", "4.0"))
    }

    /// Asks this environment; the host adds the token that the operator has set for it. `None`
    /// when there is no such row.
    ///
    /// # Errors
    /// When it cannot be asked, is not answered with a success, or answers with a row that does
    /// not fit.
    pub fn from<T: DeserializeOwned>(&self, environment: &str) -> Result<Option<T>, RetrieveError> {
        let request = self.build(environment).map_err(RetrieveError::Request)?;
        let answer = match request.send() {
            Err(http::Error::Status(answer)) if is_no_such_row(&answer) => return Ok(None),
            other => other.map_err(RetrieveError::Http)?,
        };
        let row = answer.json().map_err(|source| RetrieveError::Row {
            table: self.row.table.clone(),
            wanted: std::any::type_name::<T>(),
            source,
        })?;
        Ok(Some(row))
    }
}

/// A table that is not there is 404 too, and no answer to the question.
fn is_no_such_row(answer: &http::Response) -> bool {
    let body = answer.json::<Json>().unwrap_or_default();
    let code = body.pointer("/error/code").and_then(Json::as_str);
    answer.status() == 404 && code.is_some_and(|code| NO_SUCH_ROW.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Host};
    use crate::{Event, Failure, Outcome};

    fn asks(_: Event) -> Outcome {
        let row = Row::by_id("accounts", "7c1f2d68-4e0b-4a37-8b59-2d6e9f1a3c05");
        let found = Retrieve::new(row)
            .select(["name"])
            .from::<Json>("https://contoso.crm.dynamics.com/")?;
        crate::info!("{found:?}");
        Ok(())
    }

    fn answered(answer: Answer) -> Result<String, Failure> {
        let event = Event::builder("t").build();
        let called = Host::new()
            .with_answers(move |_| answer.clone())
            .call(asks, event);
        called.outcome.map(|()| called.logs[0].message.clone())
    }

    fn no(status: u16, code: &str) -> Answer {
        Answer::status(status).json(&serde_json::json!({"error": {"code": code, "message": "no"}}))
    }

    #[test]
    fn a_row_that_is_not_there_is_none_and_a_table_that_is_not_is_an_error() {
        for code in NO_SUCH_ROW {
            assert_eq!(answered(no(404, code)).unwrap(), "None");
        }
        let failure = answered(no(404, "0x8006088a")).unwrap_err();
        assert!(matches!(failure, Failure::Reject { .. }), "{failure}");
        assert!(failure.message().contains("answered 404"), "{failure}");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let busy = answered(no(429, "0x80072322").header("retry-after", 7)).unwrap_err();
        assert!(busy.to_string().starts_with("retry after 7s: "), "{busy}");
        let gone = answered(Answer::none("refused")).unwrap_err();
        assert!(gone.to_string().starts_with("retry: "), "{gone}");
    }

    #[test]
    fn what_does_not_fit_or_cannot_be_asked_is_rejected() {
        let wrong = answered(Answer::status(200).body("no JSON")).unwrap_err();
        assert!(
            wrong.message().contains("the row of accounts does not fit"),
            "{wrong}"
        );
        let row = Row::by_id("accounts", "x");
        assert!(Retrieve::new(row).build("https://a").is_err());
        let row = Row::by_key("accounts", "accountnumber", "A-1");
        assert!(
            Retrieve::new(row)
                .select(["No Column"])
                .build("https://a")
                .is_err()
        );
    }
}
