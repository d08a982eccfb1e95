//! Takes any bytes, gives them to `BusinessEvent`: what is read is written again as it was,
//! and every accessor can be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_d365::{BusinessEvent, json};

fuzz_target!(|body: &[u8]| {
    let Ok(event) = BusinessEvent::parse(body) else {
        return;
    };
    let written = event.to_json();
    let text = written.to_string();
    // A name in another case is written in its own, an item without a value with null.
    assert!(text.len() >= json(body).expect("JSON").to_string().len());
    let again = BusinessEvent::parse(text.as_bytes()).expect("what was read");
    assert_eq!(again, event);

    let _ = (
        event.id(),
        event.user(),
        event.version(),
        event.legal_entity(),
    );
    if let Some(time) = event.time() {
        assert!(!time.is_null_date() && !time.rfc3339().is_empty());
    }
    for name in event.extra.keys() {
        let _ = (
            event.when(name),
            event.flag(name),
            event.decimal(name),
            event.guid(name),
        );
    }
});
