//! Takes what the gateway sent, gives its status, and what it says of events and of problems.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What the gateway said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers as they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its status line and headers, without the empty line at their end.
    pub(crate) fn parse(head: &[u8]) -> Result<Self> {
        let head = std::str::from_utf8(head)?;
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default();
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .with_context(|| format!("no status line: {line:?}"))?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Ok(Self {
            status: status.parse()?,
            headers: lines.filter_map(header).collect(),
            body: Vec::new(),
        })
    }

    /// The value of a header, the first one of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself, if it has this status.
    ///
    /// # Errors
    /// With what it said instead.
    pub fn of(self, status: u16) -> Result<Self> {
        ensure!(
            self.status == status,
            "status {} instead of {status}: {}",
            self.status,
            self.text()
        );
        Ok(self)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none, or its media type says something else.
    pub fn json(&self) -> Result<Value> {
        let media = self.header("content-type").unwrap_or_default();
        ensure!(media.contains("json"), "content-type {media:?}");
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The events that an answer 202 names in `accepted`.
    ///
    /// # Errors
    /// When it is another answer, or not of the agreed shape.
    pub fn accepted(self) -> Result<Vec<Value>> {
        let told = self.of(202)?.json()?;
        ensure!(told.get("accepted").is_some_and(Value::is_array), "{told}");
        ensure!(told.get("spooled").is_some_and(Value::is_boolean), "{told}");
        let accepted = told.get("accepted").and_then(Value::as_array);
        Ok(accepted.cloned().unwrap_or_default())
    }

    /// The one event that an answer 202 names, when there is neither another one nor a dead letter.
    ///
    /// # Errors
    /// As [`Answer::accepted`], and when there is not exactly one.
    pub fn one(self) -> Result<Value> {
        let text = self.text();
        ensure!(
            self.clone().dead_letters()?.is_empty(),
            "it has dead letters: {text}"
        );
        let mut accepted = self.accepted()?;
        ensure!(accepted.len() == 1, "not one event: {text}");
        accepted.pop().context("not one event")
    }

    /// What an answer 202 names in `dead_letters`.
    ///
    /// # Errors
    /// As [`Answer::accepted`].
    pub fn dead_letters(self) -> Result<Vec<Value>> {
        let told = self.of(202)?.json()?;
        let letters = told.get("dead_letters").and_then(Value::as_array);
        let letters = letters.with_context(|| format!("dead_letters is no array: {told}"))?;
        Ok(letters.clone())
    }

    /// The `detail` of a problem of this status, when it has the shape of RFC 9457.
    ///
    /// # Errors
    /// When it is another answer or another shape.
    pub fn problem(self, status: u16) -> Result<String> {
        let answer = self.of(status)?;
        let media = answer.header("content-type").unwrap_or_default();
        ensure!(
            media.starts_with("application/problem+json"),
            "the content-type of a problem is {media:?}"
        );
        let problem = answer.json()?;
        ensure!(
            problem.get("status").and_then(Value::as_u64) == Some(status.into()),
            "{problem}"
        );
        for member in ["type", "title", "detail"] {
            let text = problem.get(member).and_then(Value::as_str);
            ensure!(text.is_some_and(|text| !text.is_empty()), "{problem}");
        }
        let detail = problem.get("detail").and_then(Value::as_str);
        Ok(detail.unwrap_or_default().to_owned())
    }

    /// Itself, when it is the 503 of trouble that passes: `Retry-After` of whole seconds.
    ///
    /// # Errors
    /// When it is not.
    pub fn try_again(self) -> Result<Self> {
        let answer = self.of(503)?;
        let after = answer.header("retry-after").unwrap_or_default();
        ensure!(
            after.parse::<u32>().is_ok_and(|seconds| 0 < seconds),
            "retry-after of a 503 is {after:?}"
        );
        answer.clone().problem(503)?;
        Ok(answer)
    }
}
