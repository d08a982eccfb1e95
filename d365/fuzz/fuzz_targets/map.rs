//! Takes any bytes, gives them to `map`: it says what the typed path says, and its attributes
//! are fit for a header and a NATS subject.
#![no_main]

use std::error::Error as _;

use libfuzzer_sys::fuzz_target;
use sluicegate_d365::{Error, Mapped, Subject, map, map_by_types};

fn said(result: Result<Mapped, Error>) -> Result<Mapped, String> {
    result.map_err(|error| format!("{error}: {:?}", error.source().map(ToString::to_string)))
}

fuzz_target!(|body: &[u8]| {
    let mapped = said(map("contoso", body));
    assert_eq!(mapped, said(map_by_types("contoso", body)));
    let Ok(mapped) = mapped else { return };
    let texts = [
        &mapped.id,
        &mapped.source,
        &mapped.event_type,
        &mapped.partition_key,
    ]
    .into_iter()
    .chain(&mapped.subject)
    .chain(&mapped.time)
    .chain(mapped.extensions.iter().map(|(_, value)| value));
    for text in texts {
        assert!(
            !text.is_empty() && !text.contains(char::is_control),
            "{text:?}"
        );
    }
    assert!(mapped.source.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(mapped.nats_subject.len() < 1200);
    mapped.nats_subject.parse::<Subject>().expect("a subject");
});
