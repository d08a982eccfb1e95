//! Takes calls outside the host, gives them to the fake of [`crate::testing`] that this thread
//! runs, or a panic that says what to do.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::http::{Address, Error, Request, Response};
use crate::testing::{Answers, Emitted, Line};
use crate::{Event, log::Level};

/// A table and a key.
pub(crate) type Place = (String, String);

/// What plays the host.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) rows: BTreeMap<Place, Vec<u8>>,
    pub(crate) answers: Option<Answers>,
    /// A saga runs, which has no state but its own.
    pub(crate) is_saga: bool,
    pub(crate) staged: Staged,
}

/// What one call did.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    pub(crate) writes: BTreeMap<String, Option<Vec<u8>>>,
    pub(crate) rows: BTreeMap<Place, Option<Vec<u8>>>,
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) logs: Vec<Line>,
    pub(crate) requests: Vec<Request>,
}

thread_local! {
    static FAKE: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// Takes the fake away again when a handler panics.
struct Gone;

impl Drop for Gone {
    fn drop(&mut self) {
        FAKE.take();
    }
}

/// Runs a call with the fake as its host, and gives the fake back.
pub(crate) fn with<R>(fake: Fake, call: impl FnOnce() -> R) -> (R, Fake) {
    let gone = Gone;
    FAKE.replace(Some(fake));
    let returned = call();
    let fake = FAKE.take().unwrap_or_default();
    drop(gone);
    (returned, fake)
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:<5} {message}");
    FAKE.with_borrow_mut(|fake| {
        if let Some(fake) = fake {
            fake.staged.logs.push(Line {
                level,
                message: message.to_owned(),
            });
        }
    });
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    let call = || format!("config::get({key:?})");
    on(call, |fake| fake.config.get(key).cloned())
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    let call = || format!("state::get({key:?})");
    on_state(call, |fake| match fake.staged.writes.get(key) {
        Some(staged) => staged.clone(),
        None => fake.state.get(key).cloned(),
    })
}

pub(crate) fn state_put(key: &str, value: &[u8]) {
    let call = || format!("state::put({key:?}, …)");
    on_state(call, |fake| {
        let value = Some(value.to_vec());
        fake.staged.writes.insert(key.to_owned(), value);
    });
}

pub(crate) fn state_delete(key: &str) {
    let call = || format!("state::delete({key:?})");
    on_state(call, |fake| {
        fake.staged.writes.insert(key.to_owned(), None);
    });
}

pub(crate) fn rows_get(table: &str, key: &str) -> Option<Vec<u8>> {
    let call = || format!("rows::get({table:?}, {key:?})");
    let place = (table.to_owned(), key.to_owned());
    on(call, |fake| match fake.staged.rows.get(&place) {
        Some(staged) => staged.clone(),
        None => fake.rows.get(&place).cloned(),
    })
}

pub(crate) fn rows_put(table: &str, key: &str, row: &[u8]) {
    let call = || format!("rows::put({table:?}, {key:?}, …)");
    let place = (table.to_owned(), key.to_owned());
    on(call, |fake| {
        drop(fake.staged.rows.insert(place, Some(row.to_vec())))
    });
}

pub(crate) fn rows_delete(table: &str, key: &str) {
    let call = || format!("rows::delete({table:?}, {key:?})");
    let place = (table.to_owned(), key.to_owned());
    on(call, |fake| drop(fake.staged.rows.insert(place, None)));
}

pub(crate) fn emit(subject: &str, event: Event) {
    let call = || format!("outbox::emit({subject:?}, …)");
    on(call, |fake| {
        fake.staged.emitted.push(Emitted {
            subject: subject.to_owned(),
            event,
        });
    });
}

pub(crate) fn send(request: &Request, address: &Address<'_>) -> Result<Response, Error> {
    let Address {
        scheme,
        authority,
        path,
    } = address;
    let method = &request.method;
    let call = || format!("{method} {scheme}://{authority}{path}");
    let answers = on(call, |fake| {
        fake.staged.requests.push(request.clone());
        fake.answers.take()
    });
    let Some(mut answers) = answers else {
        return Err(Error::NoAnswer {
            origin: format!("{scheme}://{authority}"),
            reason: "the test has no answers; give some with testing::Host::with_answers"
                .to_owned(),
        });
    };
    // Not inside `on`: what answers may log.
    let answer = answers.to(request, address);
    on(call, |fake| fake.answers = Some(answers));
    answer
}

fn on_state<T>(call: impl Fn() -> String, what: impl FnOnce(&mut Fake) -> T) -> T {
    let asked = call();
    on(call, |fake| match fake.is_saga {
        false => what(fake),
        true => panic!("{asked}: a saga has no state but its own; make it a field of the type"),
    })
}

fn on<T>(call: impl Fn() -> String, what: impl FnOnce(&mut Fake) -> T) -> T {
    FAKE.with_borrow_mut(|fake| match fake {
        Some(fake) => what(fake),
        None => panic!(
            "{} needs a host and this is a native build: call the handler by \
             sluicegate_guest::testing::Host, or test the built plug-in with `sluice test`",
            call()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "state::get(\"total\") needs a host")]
    fn a_call_outside_the_host_says_so() {
        state_get("total");
    }
}
