//! Takes any bytes, gives them to the reader of text XML: what it makes of them is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_d365::{json, map, xml::json_of_xml};

fuzz_target!(|body: &[u8]| {
    if let Ok(body) = json_of_xml(body) {
        assert!(json(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
        let _ = map("contoso", &body);
    }
});
