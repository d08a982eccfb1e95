//! Takes calls outside the host, gives a log line on stderr, or a panic that says what to do.

use crate::http::{Address, Error, Request, Response};
use crate::{Event, log::Level};

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:<5} {message}");
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    absent(&format!("config::get({key:?})"))
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    absent(&format!("state::get({key:?})"))
}

pub(crate) fn state_put(key: &str, _: &[u8]) {
    absent(&format!("state::put({key:?}, …)"))
}

pub(crate) fn state_delete(key: &str) {
    absent(&format!("state::delete({key:?})"))
}

pub(crate) fn emit(subject: &str, _: Event) {
    absent(&format!("outbox::emit({subject:?}, …)"))
}

pub(crate) fn send(request: &Request, address: &Address<'_>) -> Result<Response, Error> {
    let Address {
        scheme,
        authority,
        path,
    } = address;
    let method = &request.method;
    absent(&format!("{method} {scheme}://{authority}{path}"))
}

fn absent<T>(call: &str) -> T {
    panic!(
        "{call} needs the Sluicegate host and this is a native build; test the functions that \
         decide natively, and the plug-in as a whole with `sluice test`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "state::get(\"total\") needs the Sluicegate host")]
    fn a_call_outside_the_host_says_so() {
        state_get("total");
    }
}
