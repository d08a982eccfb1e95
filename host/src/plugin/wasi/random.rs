//! Takes a number of bytes, gives as many by chance; not more at once than a guest has use for.

use rand::RngCore as _;
use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::random::{insecure, random};

use crate::plugin::store::Abort;

/// Bytes of one request: what `crypto.getRandomValues` of a browser gives.
const MAX_BYTES: u64 = 64 << 10;

/// Chance; the secure source for both interfaces.
pub(super) struct Random;

/// Names [`Random`] for the linker.
pub(super) struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = Random;
}

impl random::Host for Random {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if MAX_BYTES < len {
            return Err(Abort::Limit(format!(
                "the call asks for {len} random bytes at once; {MAX_BYTES} are allowed"
            ))
            .into());
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        rand::rng().fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(rand::rng().next_u64())
    }
}

impl insecure::Host for Random {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        random::Host::get_random_bytes(self, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self)
    }
}
