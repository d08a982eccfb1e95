//! Takes a Dynamics 365 body, gives its row or its members as a type of the plug-in's own.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::d365::{self, Entity, RemoteExecutionContext, RowError};
use crate::{Call, Extract, Failure};

/// A change of a Dataverse record (or a data event of Finance and Operations), with the columns
/// that the message carries as a type of the plug-in's own.
///
/// `T` has a field for each column that the plug-in reads, called as the column or by
/// `#[serde(rename = "…")]`; [`d365::Entity::row`] lists what type goes with which column. An
/// update carries the columns that were submitted and a delete none, so make every field an
/// `Option` that the plug-in can do without.
///
/// Everything else of the message is there too: a `Record` derefs to
/// [`RemoteExecutionContext`], whose [`changed`](RemoteExecutionContext::changed) tells a column
/// that was cleared from one that was not touched.
///
/// ```
/// use serde::Deserialize;
/// use sluicegate_guest::d365::Decimal;
/// use sluicegate_guest::*;
///
/// #[derive(Deserialize)]
/// struct Account {
///     name: Option<String>,
///     creditlimit: Option<Decimal>,
/// }
///
/// #[consumer]
/// fn handle(account: Record<Account>) -> Outcome {
///     let before = account.before::<Account>("before")?;
///     if account.changed("creditlimit") {
///         let before = before.and_then(|row| row.creditlimit);
///         info!("{:?}: {before:?} -> {:?}", account.record_id(), account.row.creditlimit);
///     }
///     Ok(())
/// }
///
/// let event = testing::record("account")
///     .update()
///     .set("creditlimit", Decimal::from(75_000))
///     .pre_image("before", [("creditlimit", Decimal::from(50_000))])
///     .event();
/// let called = testing::Host::new().call(handle, event);
/// assert_eq!(called.outcome, Ok(()));
/// assert!(called.logs[0].message.ends_with("Some(50000) -> Some(75000)"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    /// The columns that the message carries.
    pub row: T,
    context: RemoteExecutionContext,
}

impl<T> Record<T> {
    /// The record before the operation, from the image that the step registers under this name;
    /// `None` when there is no such image.
    ///
    /// # Errors
    /// When the image does not fit `I`, which is `T` or a type with other columns.
    pub fn before<I: DeserializeOwned>(&self, image: &str) -> Result<Option<I>, Error> {
        let place = "pre-image";
        read(self.context.pre_image(image), place, image)
    }

    /// The record after the operation, from the image of this name; `None` when there is none.
    ///
    /// # Errors
    /// When the image does not fit `I`.
    pub fn after<I: DeserializeOwned>(&self, image: &str) -> Result<Option<I>, Error> {
        let place = "post-image";
        read(self.context.post_image(image), place, image)
    }

    /// The row and the message that it is from.
    pub fn into_parts(self) -> (T, RemoteExecutionContext) {
        (self.row, self.context)
    }
}

fn read<I: DeserializeOwned>(
    image: Option<&Entity>,
    place: &'static str,
    name: &str,
) -> Result<Option<I>, Error> {
    image.map(Entity::row).transpose().map_err(|source| Error {
        place: format!("{place} {name}"),
        wanted: std::any::type_name::<I>(),
        source,
    })
}

/// Why a record is not what the plug-in reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {place} does not fit {wanted}")]
pub struct Error {
    place: String,
    wanted: &'static str,
    source: RowError,
}

impl<T: DeserializeOwned> Extract for Record<T> {
    fn extract(call: &mut Call) -> Result<Self, Failure> {
        let context = call.event().record()?;
        let nothing = Entity::default();
        let target = context.target().unwrap_or(&nothing);
        let row = target.row().map_err(|source| Error {
            place: format!(
                "Target of {} {}",
                context.message(),
                context.table().unwrap_or("without a table")
            ),
            wanted: std::any::type_name::<T>(),
            source,
        })?;
        Ok(Self { row, context })
    }
}

impl<T> Deref for Record<T> {
    type Target = RemoteExecutionContext;

    fn deref(&self) -> &RemoteExecutionContext {
        &self.context
    }
}

/// A business event of Finance and Operations, with its own members as a type of the plug-in's.
///
/// What is common to all business events is there by deref: see [`d365::BusinessEvent`].
///
/// ```
/// use serde::Deserialize;
/// use sluicegate_guest::d365::Decimal;
/// use sluicegate_guest::*;
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "PascalCase")]
/// struct Invoice {
///     sales_order_id: String,
///     invoice_amount: Decimal,
/// }
///
/// #[consumer]
/// fn handle(invoice: BusinessEvent<Invoice>) -> Outcome {
///     let own = &invoice.data;
///     info!("{}: {} invoiced at {}", invoice.control_number.unwrap_or_default(),
///         own.sales_order_id, own.invoice_amount);
///     Ok(())
/// }
///
/// let event = testing::business_event("SalesOrderInvoicedBusinessEvent")
///     .set("SalesOrderId", "SO-1")
///     .amount("InvoiceAmount", Decimal::new(199_90, 2))
///     .event();
/// assert_eq!(testing::Host::new().call(handle, event).outcome, Ok(()));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BusinessEvent<T> {
    /// The event's own members.
    pub data: T,
    envelope: d365::BusinessEvent,
}

impl<T> BusinessEvent<T> {
    /// The own members, and the event that they are from.
    pub fn into_parts(self) -> (T, d365::BusinessEvent) {
        (self.data, self.envelope)
    }
}

impl<T: DeserializeOwned> Extract for BusinessEvent<T> {
    fn extract(call: &mut Call) -> Result<Self, Failure> {
        let envelope = call.event().business_event()?;
        let data = T::deserialize(&envelope.extra).map_err(|source| {
            let id = &envelope.business_event_id;
            crate::event::Error::Members {
                id: id.clone(),
                wanted: std::any::type_name::<T>(),
                source,
            }
        })?;
        Ok(Self { data, envelope })
    }
}

impl<T> Deref for BusinessEvent<T> {
    type Target = d365::BusinessEvent;

    fn deref(&self) -> &d365::BusinessEvent {
        &self.envelope
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::d365::Decimal;
    use crate::{Outcome, testing};

    #[derive(Debug, Deserialize, PartialEq)]
    struct Account {
        name: String,
        creditlimit: Option<Decimal>,
    }

    #[test]
    fn a_column_that_is_missing_rejects_and_names_itself() {
        fn handle(_: Record<Account>) -> Outcome {
            panic!("must not run");
        }
        let event = testing::record("account").update().event();
        let called = testing::Host::new().call(handle, event);
        let failure = called.outcome.unwrap_err().to_string();
        assert!(failure.starts_with("reject: the Target of Update account does not fit"));
        assert!(failure.contains("Account: column name: "), "{failure}");
    }

    #[test]
    fn images_are_rows_too() {
        fn handle(account: Record<serde_json::Value>) -> Outcome {
            assert_eq!(account.before::<Account>("other")?, None);
            let before = account.before::<Account>("pre")?.unwrap();
            assert_eq!(before.name, "Contoso");
            let wrong = account.after::<Account>("post").unwrap_err();
            assert!(
                wrong
                    .to_string()
                    .starts_with("the post-image post does not fit")
            );
            Ok(())
        }
        let event = testing::record("account")
            .delete()
            .pre_image("pre", [("name", "Contoso")])
            .post_image("post", [("other", "x")])
            .event();
        testing::Host::new().call(handle, event).outcome.unwrap();
    }

    #[test]
    fn a_business_event_that_does_not_fit_says_which() {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Order {
            #[expect(dead_code, reason = "never gets so far")]
            sales_id: String,
        }
        fn handle(_: BusinessEvent<Order>) -> Outcome {
            panic!("must not run");
        }
        let event = testing::business_event("SalesOrderConfirmed").event();
        let called = testing::Host::new().call(handle, event);
        let failure = called.outcome.unwrap_err().to_string();
        assert!(failure.contains("SalesOrderConfirmed"), "{failure}");
        assert!(failure.contains("SalesId"), "{failure}");
    }
}
