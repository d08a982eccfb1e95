//! Takes what a guest asks of the host, gives it: log, config, state, outbox; for the rows of a
//! projection see `rows`.

use bytes::Bytes;
use tracing::Level;

use super::bindings::sluicegate::plugin::{config, log, outbox, state, types};
use super::convert;
use super::emit;
use super::state_version;
use super::store::{Abort, MAX_EMITTED, MAX_KEY, MAX_VALUE, StoreData, patience};
use super::traced;

impl types::Host for StoreData {}

impl log::Host for StoreData {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::TRACE,
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        self.lines.log(level, message);
        Ok(())
    }
}

impl config::Host for StoreData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.config.get(&key).cloned())
    }
}

impl state::Host for StoreData {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let key = self.state_key(key)?;
        if let Some(written) = self.staged.writes.get(&key) {
            return Ok(written.as_deref().map(<[u8]>::to_vec));
        }
        let call = self.call()?;
        let (value, version) = call
            .state
            .get(&key, patience(self.deadline))
            .map_err(Abort::from)?;
        self.read(key, version, value.as_ref().map_or(0, Bytes::len))?;
        Ok(value.as_deref().map(<[u8]>::to_vec))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        let key = self.state_key(key)?;
        self.call()?;
        if MAX_VALUE < value.len() {
            let size = value.len();
            return Err(limit(format!(
                "the value of state key {:?} has {size} bytes; {MAX_VALUE} are allowed",
                state_version::of_plugin(&key)
            )));
        }
        self.before_a_write(&key)?;
        Ok(self.write(key, Some(Bytes::from(value)))?)
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        let key = self.state_key(key)?;
        self.call()?;
        self.before_a_write(&key)?;
        Ok(self.write(key, None)?)
    }
}

impl outbox::Host for StoreData {
    fn emit(&mut self, subject: String, event: types::EventResult) -> wasmtime::Result<()> {
        let index = self.staged.emitted.len();
        if MAX_EMITTED <= index {
            return Err(limit(format!(
                "the call emits more than {MAX_EMITTED} events"
            )));
        }
        let event = convert::emitted(event);
        let call = self.call()?;
        let emitted = emit::complete(&subject, event, call, index, &self.labels, &self.emit)?;
        if self.requests.may_leave() {
            traced::emitted(&call.span, &emitted.subject, &emitted.event.id);
        }
        self.stage(emit::size(&emitted.event))?;
        self.staged.emitted.push(emitted);
        Ok(())
    }
}

impl StoreData {
    /// Where what keys had is kept, it has to be known, and to be so still when the call counts.
    fn before_a_write(&mut self, key: &str) -> wasmtime::Result<()> {
        let state = &self.call()?.state;
        if !state.keeps_past() || self.staged.reads.contains_key(key) {
            return Ok(());
        }
        let read = state.get(key, patience(self.deadline));
        let (_, version) = read.map_err(Abort::from)?;
        self.staged.reads.insert(key.to_owned(), version);
        Ok(())
    }

    /// The key in the ledger.
    fn state_key(&self, key: String) -> wasmtime::Result<String> {
        if key.is_empty() || MAX_KEY < key.len() {
            let length = key.len();
            return Err(limit(format!(
                "a state key has {length} bytes; 1 to {MAX_KEY} are allowed"
            )));
        }
        Ok(state_version::in_ledger(self.state_version, key))
    }
}

pub(super) fn limit(text: String) -> wasmtime::Error {
    Abort::Limit(text).into()
}
