//! Takes what a test wants to answer, gives the answer that a request gets.

use std::fmt;

use serde::Serialize;

use crate::http::{Address, Error, Request, Response};

/// The answer to a request.
#[derive(Debug, Clone)]
#[must_use = "return it from the function given to with_answers"]
pub struct Answer(Result<Response, String>);

impl Answer {
    /// An answer without headers and body.
    pub fn status(status: u16) -> Self {
        Self(Ok(Response {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }))
    }

    /// No answer: a connection that is refused, a name that is not known, a certificate.
    pub fn none(reason: impl Into<String>) -> Self {
        Self(Err(reason.into()))
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        if let Ok(response) = &mut self.0 {
            let value = value.to_string().into_bytes();
            response.headers.push((name.to_owned(), value));
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Ok(response) = &mut self.0 {
            response.body = body.into();
        }
        self
    }

    /// Sets the body to this value as JSON.
    ///
    /// # Panics
    /// When JSON has no form for the value.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => panic!("the answer cannot be written as JSON: {error}"),
        }
    }
}

/// What a test answers with.
pub(crate) struct Answers(pub(crate) Box<dyn FnMut(&Request) -> Answer>);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl Answers {
    pub(crate) fn to(
        &mut self,
        request: &Request,
        address: &Address<'_>,
    ) -> Result<Response, Error> {
        let Answer(answer) = (self.0)(request);
        answer.map_err(|reason| Error::NoAnswer {
            origin: format!("{}://{}", address.scheme, address.authority),
            reason,
        })
    }
}
