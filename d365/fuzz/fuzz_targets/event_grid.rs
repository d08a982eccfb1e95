//! Takes any bytes, gives them to `event_grid`: every event of a delivery is a part of it, and
//! what it is mapped to is fit for a header and a NATS subject.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate_d365::{EventGridEvent, Subject, event_grid, json, map};

fuzz_target!(|body: &[u8]| {
    let Ok(items) = event_grid("contoso", body) else {
        return;
    };
    for item in items {
        let inside = |part: &str| body.as_ptr_range().contains(&part.as_ptr());
        assert!(inside(item.raw) && item.data.is_none_or(inside));
        let _ = item.validation_code();
        let Ok(mapped) = item.mapped else { continue };

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

        if let Some(Ok(direct)) = item.data.map(|data| map("contoso", data.as_bytes())) {
            assert_eq!(
                (direct.id, direct.nats_subject),
                (mapped.id, mapped.nats_subject)
            );
        }
        // The event alone may be nested too deep to be read as one document.
        if let Ok(event) = EventGridEvent::parse(item.raw.as_bytes()) {
            let (written, read) = (event.to_json(), json(item.raw.as_bytes()).expect("JSON"));
            assert_eq!(written.to_string().len(), read.to_string().len());
            assert_eq!(
                EventGridEvent::from_json(written).expect("what was read"),
                event
            );
        }
    }
});
