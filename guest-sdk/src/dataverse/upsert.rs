//! Takes a row and what its columns are to be, gives the request that writes it.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use super::{Error, Row, Value, name};
use crate::d365::{Json, Members};
use crate::{Delivery, http};

/// Where the Web API lies in an environment; 9.2 is its current version ("Compose HTTP
/// requests and handle errors").
pub(super) const WEB_API: &str = "/api/data/v9.2";

/// A write of one row, under construction.
///
/// Names and values are looked at by [`build`](Self::build), which says what is wrong. The
/// last value of a column counts.
#[derive(Debug, Clone)]
#[must_use = "build() gives the request"]
pub struct Upsert {
    row: Row,
    when: When,
    body: Vec<(Member, Content)>,
    returned: Vec<String>,
}

/// On which state of the table the row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Any,
    There,
    Absent,
}

/// What is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    Column(String),
    Navigation(String),
}

/// What is written.
#[derive(Debug, Clone)]
enum Content {
    Value(Value),
    Row(Row),
    NoRow,
}

/// A request to Dataverse's Web API, complete but for the environment's address before the
/// path and the `Authorization` header.
///
/// As JSON it is one object with the four members, so that an event can carry it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Request {
    /// `PATCH`, or `POST` for a create by an alternate key.
    pub method: &'static str,
    /// Path and query, percent-encoded: `/api/data/v9.2/accounts(accountnumber='A-1')`.
    pub path: String,
    /// Headers by name.
    pub headers: BTreeMap<&'static str, &'static str>,
    /// The body, an object; `to_string()` gives the JSON to send.
    pub body: Json,
}

impl Request {
    /// The request to this environment, `https://contoso.crm.dynamics.com`. The host adds the
    /// token that the operator has set for it.
    pub fn to(&self, environment: &str) -> http::Request {
        let url = format!("{}{}", environment.trim_end_matches('/'), self.path);
        let request = http::Request::new(self.method, url);
        let headers = self.headers.iter();
        let mut request = headers.fold(request, |request, (name, value)| {
            request.header(*name, value)
        });
        request.body = self.body.to_string().into_bytes();
        request
    }

    /// Sends it to this environment. A create whose row is there already (412) has been done, by
    /// an attempt before this one.
    ///
    /// # Errors
    /// As [`http::Request::send`].
    pub fn send(&self, environment: &str) -> Result<http::Response, http::Error> {
        self.done(self.to(environment).send())
    }

    pub(super) fn done(
        &self,
        answer: Result<http::Response, http::Error>,
    ) -> Result<http::Response, http::Error> {
        let creates = self.method == "POST" || self.headers.contains_key("If-None-Match");
        match answer {
            Err(http::Error::Status(answer)) if creates && answer.status() == 412 => Ok(*answer),
            other => other,
        }
    }
}

impl Upsert {
    /// Creates the row when there is none, changes the columns named here when there is one.
    pub fn new(row: Row) -> Self {
        Self {
            row,
            when: When::Any,
            body: Vec::new(),
            returned: Vec::new(),
        }
    }

    /// Creates one row for this event, however often the event is handled.
    ///
    /// `column` is a text column of at least 32 characters with an alternate key on it alone;
    /// it gets the delivery's idempotency key. An attempt after one that succeeded changes
    /// nothing and is answered 412: see [the module](super) for the statuses. For several rows
    /// of a table by one event, use [`once_for`](Self::once_for).
    pub fn once(table: &str, column: &str, delivery: &Delivery) -> Self {
        let key = delivery.idempotency_key.as_str();
        Self::new(Row::by_key(table, column, key)).create_only()
    }

    /// Like [`once`](Self::once), for one of several rows of a table that one event creates.
    ///
    /// The column gets `<idempotency key>-<part>` and has to be that long. The part must be the
    /// same in every attempt: take it from the event (a line's number), never from what has
    /// been done so far.
    ///
    /// ```
    /// # use sluicegate_guest::{Delivery, dataverse::Upsert};
    /// # let delivery = Delivery { idempotency_key: "ab12".to_owned(), ..Delivery::default() };
    /// let line = Upsert::once_for("new_lines", "new_idempotencykey", &delivery, 7).build()?;
    /// assert_eq!(line.body.to_string(), r#"{"new_idempotencykey":"ab12-7"}"#);
    /// # Ok::<(), sluicegate_guest::dataverse::Error>(())
    /// ```
    pub fn once_for(table: &str, column: &str, delivery: &Delivery, part: impl Display) -> Self {
        let key = match delivery.idempotency_key.as_str() {
            // Refused by `build`; with the part it would pass for a key.
            "" => String::new(),
            key => format!("{key}-{part}"),
        };
        Self::new(Row::by_key(table, column, key)).create_only()
    }

    /// The value of a column, by its logical name.
    pub fn set(self, column: &str, value: impl Into<Value>) -> Self {
        self.put(
            Member::Column(column.to_owned()),
            Content::Value(value.into()),
        )
    }

    /// The value of a column, as its JSON. An `f64` that is no number becomes null there, which
    /// clears the column.
    ///
    /// # Errors
    /// [`Error::Write`] when JSON has no form for it (a map with keys that are no text).
    pub fn set_json<T: Serialize + ?Sized>(self, column: &str, value: &T) -> Result<Self, Error> {
        match serde_json::to_value(value) {
            Ok(json) => Ok(self.set(column, json)),
            Err(source) => Err(Error::Write {
                table: self.row.table,
                column: column.to_owned(),
                source,
            }),
        }
    }

    /// The row that a lookup points to.
    ///
    /// `navigation` is the navigation property, whose case counts: `primarycontactid`,
    /// `new_Customer`, and for a lookup into several tables one for each, `customerid_account`.
    pub fn bind(self, navigation: &str, row: Row) -> Self {
        self.put(Member::Navigation(navigation.to_owned()), Content::Row(row))
    }

    /// That a lookup points to nothing.
    pub fn unbind(self, navigation: &str) -> Self {
        self.put(Member::Navigation(navigation.to_owned()), Content::NoRow)
    }

    /// Changes the row when there is one, and creates none.
    pub fn update_only(mut self) -> Self {
        self.when = When::There;
        self
    }

    /// Creates the row when there is none, and changes none.
    pub fn create_only(mut self) -> Self {
        self.when = When::Absent;
        self
    }

    /// Creates or changes, which is what [`new`](Self::new) begins with: after
    /// [`once`](Self::once), so that a later attempt or a replay brings the row up to date.
    pub fn create_or_update(mut self) -> Self {
        self.when = When::Any;
        self
    }

    /// A column to have in the answer, whose status then tells 201 (created) from 200
    /// (changed). It costs Dataverse another read: ask for the table's id and no more.
    pub fn returning(mut self, column: &str) -> Self {
        self.returned.push(column.to_owned());
        self
    }

    /// The request.
    ///
    /// # Errors
    /// When a name or an id cannot be one, a key cannot name a row in a URL, or a column of
    /// the key is set as well.
    pub fn build(self) -> Result<Request, Error> {
        let table = name::table(&self.row.table)?;
        let mut body = self.members()?;
        // A create by an alternate key goes to the table. By the pages, `If-None-Match: *`
        // does it on the key's own URL too, but they show it with an id only, and it is
        // reported to be answered 404 for a row that is not there.
        let creates = self.when == When::Absent && !self.row.columns().is_empty();
        let resource = if creates {
            body.extend(self.row.in_body()?);
            table.to_owned()
        } else {
            self.row.in_path()?
        };
        Ok(Request {
            method: if creates { "POST" } else { "PATCH" },
            path: format!("{WEB_API}/{resource}{}", self.query()?),
            headers: self.headers(creates),
            body: Json::Object(body),
        })
    }

    fn put(mut self, member: Member, content: Content) -> Self {
        self.body.retain(|(own, _)| *own != member);
        self.body.push((member, content));
        self
    }

    /// What stands in the body, without the key.
    fn members(&self) -> Result<Members, Error> {
        let table = &self.row.table;
        let mut members = Members::new();
        for (member, content) in &self.body {
            let (own, name) = match member {
                Member::Column(own) => (own, name::column(table, own)?.to_owned()),
                Member::Navigation(own) => {
                    let navigation = name::navigation(table, own)?;
                    (own, format!("{navigation}@odata.bind"))
                }
            };
            let mut key = self.row.columns().iter();
            if key.any(|(column, _)| column.eq_ignore_ascii_case(own)) {
                return Err(Error::KeyInBody {
                    table: table.clone(),
                    column: own.clone(),
                });
            }
            let value = match content {
                Content::Value(value) => value.to_json(),
                Content::Row(row) => row.in_bind()?.into(),
                Content::NoRow => Json::Null,
            };
            members.insert(name, value);
        }
        Ok(members)
    }

    fn query(&self) -> Result<String, Error> {
        let columns = self.returned.iter();
        let columns = columns.map(|column| name::column(&self.row.table, column));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            return Ok(String::new());
        }
        Ok(format!("?$select={}", columns.join(",")))
    }

    fn headers(&self, creates: bool) -> BTreeMap<&'static str, &'static str> {
        let mut headers = BTreeMap::from([
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("OData-MaxVersion", "4.0"),
            ("OData-Version", "4.0"),
        ]);
        if self.when == When::There {
            headers.insert("If-Match", "*");
        }
        if self.when == When::Absent && !creates {
            headers.insert("If-None-Match", "*");
        }
        if !self.returned.is_empty() {
            headers.insert("Prefer", "return=representation");
        }
        headers
    }
}
