//! Takes any bytes, gives them to `RemoteExecutionContext`: what is read is written again as
//! it was, and every accessor can be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_d365::{RemoteExecutionContext, json};

fuzz_target!(|body: &[u8]| {
    let Ok(context) = RemoteExecutionContext::parse(body) else {
        return;
    };
    let written = context.to_json();
    let text = written.to_string();
    // A name in another case is written in its own, an item without a value with null.
    assert!(text.len() >= json(body).expect("JSON").to_string().len());
    let again = RemoteExecutionContext::parse(text.as_bytes()).expect("what was read");
    assert_eq!(again, context);

    let _ = (
        context.table(),
        context.record_id(),
        context.operation_time(),
    );
    let _ = (context.is_truncated(), context.target_reference());
    for (column, value) in context.changes() {
        assert!(context.changed(column));
        let _ = (
            context.money(column),
            context.choice(column),
            context.lookup(column),
        );
        if let Some(date) = value.when() {
            assert_eq!(value.text(), Some(date.raw()));
            assert!(!date.rfc3339().is_empty());
        }
        if let Some(decimal) = value.decimal() {
            let _ = decimal.to_string();
        }
    }
});
