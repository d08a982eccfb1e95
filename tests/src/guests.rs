//! The guests of `tests/guests`: which test attacks which promise with each, and what to tell them.

use serde_json::json;

use crate::events::Input;

/// Every guest and the test file that runs it.
///
/// `guests_are_tested.rs` fails when a guest is missing here, or is not named in its file.
pub const TESTED: &[(&str, &str)] = &[
    ("big_output", "a_plugin_stays_in_its_box.rs"),
    ("count", "effects_happen_once.rs"),
    ("decide", "dead_letters.rs"),
    ("emit_one", "nothing_is_lost.rs"),
    ("fail_by_data", "order_per_key.rs"),
    ("forbidden_emit", "a_plugin_stays_in_its_box.rs"),
    ("hostile", "hostile_plug_ins.rs"),
    ("grow_memory", "a_plugin_stays_in_its_box.rs"),
    ("journey", "sagas.rs"),
    ("keep_last", "time_travel.rs"),
    ("log_flood", "a_plugin_stays_in_its_box.rs"),
    ("mendable", "dead_letters.rs"),
    ("needs_state_ungranted", "a_plugin_stays_in_its_box.rs"),
    ("ok", "a_plugin_stays_in_its_box.rs"),
    ("outage", "an_outage_downstream.rs"),
    ("record_order", "order_per_key.rs"),
    ("project", "projections.rs"),
    ("reject", "dead_letters.rs"),
    ("relay", "traces.rs"),
    ("retry_forever", "dead_letters.rs"),
    ("retry_twice", "effects_happen_once.rs"),
    ("spin", "a_plugin_stays_in_its_box.rs"),
    ("sends", "outgoing_http.rs"),
    ("stamp", "hot_reload.rs"),
    ("tell_key", "idempotency_key.rs"),
    ("typed", "typed_handlers.rs"),
    ("trap", "a_plugin_stays_in_its_box.rs"),
    ("calls", "outgoing_http.rs"),
    ("carries", "state_is_carried_over.rs"),
    ("wasi", "wasi_gives_nothing_away.rs"),
];

/// An event at which `fail_by_data` asks for a retry `times` times, and then succeeds.
pub fn failing(key: &str, n: u64, times: u32) -> Input {
    Input::with_data(
        format!("{key}-{n}"),
        key,
        n,
        json!({ "do": "retry", "until": times }),
    )
}

/// The guests of `tests/languages`, and the test file that runs each.
pub const OTHER_LANGUAGES: &[(&str, &str)] = &[
    ("javascript", "other_languages.rs"),
    ("python", "other_languages.rs"),
];

/// An event at which `fail_by_data` does `what`: `reject`, `trap`, `spin`, or `replay`, which
/// fails until it is a replay. Others that are told what to do understand it too.
pub fn told(key: &str, n: u64, what: &str) -> Input {
    Input::with_data(format!("{key}-{n}"), key, n, json!({ "do": what }))
}
