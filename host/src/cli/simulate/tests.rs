//! The traffic is what it says it is: real in form, in proportion, in size, and repeatable.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use sluicegate_d365::{
    BusinessEvent, Json, Kind as SubjectKind, RemoteExecutionContext, Subject, map,
};

use super::faults::Faults;
use super::traffic::{Body, Kind, Kinds, Plan, Traffic};

fn plan(seed: u64, kinds: Kinds, count: u64) -> Plan {
    Plan {
        seed,
        start_ms: 1_769_592_305_250,
        kinds,
        rate: 100.0,
        burst: 0,
        count: Some(count),
        until: None,
        truncate: 0.0,
        duplicates: 0.0,
        reorder: 0.0,
    }
}

fn traffic(seed: u64, kinds: Kinds, count: u64) -> Vec<Body> {
    Traffic::new(&plan(seed, kinds, count)).collect()
}

fn text(body: &Body) -> &str {
    std::str::from_utf8(&body.bytes).unwrap()
}

fn id(body: &Body) -> (String, String) {
    let mapped = map("contoso", &body.bytes).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    (mapped.source, mapped.id)
}

#[test]
fn every_body_maps_and_is_one_line() {
    for body in traffic(1, Kinds::All, 2_000) {
        let mapped =
            map("contoso", &body.bytes).unwrap_or_else(|error| panic!("{error}: {}", text(&body)));
        let subject: Subject = mapped.nats_subject.parse().unwrap();
        let kind = match body.kind {
            Kind::Business => SubjectKind::Business,
            Kind::Dataverse if body.table == "none" => SubjectKind::Custom,
            Kind::Dataverse | Kind::Data => SubjectKind::Record,
        };
        assert_eq!(subject.kind, kind, "{}", mapped.nats_subject);
        let origin = if body.kind == Kind::Dataverse {
            "dataverse"
        } else {
            "fno"
        };
        assert_eq!(subject.origin.as_str(), origin);
        assert!(!text(&body).contains(['\n', '\r']));
        let time = mapped.time.expect("every event has its time");
        assert!(time.starts_with("2026-01-28T09:2"), "{time}");
    }
}

#[test]
fn the_time_of_the_event_is_when_it_is_due() {
    for body in traffic(2, Kinds::All, 2_000) {
        let mapped = map("contoso", &body.bytes).unwrap();
        let time = crate::clock::parse_rfc3339(&mapped.time.unwrap()).unwrap();
        let due = 1_769_592_305_250 + u64::try_from(body.due.as_millis()).unwrap();
        // Columns are kept to the second, F&O adds what is below it.
        assert!(
            time.abs_diff(due) < 1_000,
            "{time} is not near {due}: {}",
            text(&body)
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let first = traffic(7, Kinds::All, 2_000);
    assert_eq!(first, traffic(7, Kinds::All, 2_000));
    let other = traffic(8, Kinds::All, 2_000);
    assert!(
        first
            .iter()
            .zip(&other)
            .all(|(one, two)| one.bytes != two.bytes)
    );
    // Faults change the order and the number, never the bodies.
    let faulty = Plan {
        duplicates: 10.0,
        reorder: 10.0,
        ..plan(7, Kinds::All, 2_000)
    };
    let distinct: HashSet<_> = Faults::new(&faulty).map(|body| body.bytes).collect();
    assert_eq!(distinct, first.into_iter().map(|body| body.bytes).collect());
}

#[test]
fn messages_come_in_proportion() {
    let bodies = traffic(3, Kinds::Dataverse, 10_000);
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for body in &bodies {
        let name = if body.message.starts_with("contoso_") {
            "custom"
        } else {
            body.message
        };
        *counts.entry(name).or_default() += 1;
    }
    for (message, percent) in [
        ("Create", 20.0),
        ("Update", 60.0),
        ("Delete", 5.0),
        ("Assign", 5.0),
        ("custom", 9.0),
        ("Associate", 1.0),
    ] {
        let found = f64::from(counts[message]) / 100.0;
        assert!((found - percent).abs() < 1.5, "{message}: {found} %");
    }
    let bodies = traffic(4, Kinds::All, 10_000);
    let of_kind = |kind| bodies.iter().filter(|body| body.kind == kind).count() as f64 / 100.0;
    for (kind, percent) in [
        (Kind::Dataverse, 70.0),
        (Kind::Business, 18.0),
        (Kind::Data, 12.0),
    ] {
        let found = of_kind(kind);
        assert!((found - percent).abs() < 1.5, "{kind:?}: {found} %");
    }
}

#[test]
fn bodies_have_the_sizes_of_real_ones() {
    let is_nested = |body: &Body| text(body).contains(r#""ParentContext":{"#);
    let mut nested: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut plain: HashMap<&str, Vec<usize>> = HashMap::new();
    for body in traffic(5, Kinds::Dataverse, 4_000) {
        let sizes = if is_nested(&body) {
            &mut nested
        } else {
            &mut plain
        };
        sizes
            .entry(body.message)
            .or_default()
            .push(body.bytes.len());
    }
    let between = |sizes: &[usize], least, most| {
        assert!(
            sizes.iter().all(|size| (least..=most).contains(size)),
            "{:?} to {:?}",
            sizes.iter().min(),
            sizes.iter().max()
        );
    };
    between(&plain["Create"], 4_000, 12_000);
    between(&plain["Update"], 2_000, 8_000);
    let mean = |sizes: &[usize]| sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    for message in ["Create", "Update"] {
        let growth = mean(&nested[message]) / mean(&plain[message]);
        assert!(
            (1.5..2.5).contains(&growth),
            "{message} grows {growth} times"
        );
    }
}

#[test]
fn every_kind_of_value_appears() {
    let bodies = traffic(6, Kinds::All, 3_000);
    let all: String = bodies.iter().map(text).collect::<Vec<_>>().join("\n");
    const T: &str = r":http:\/\/schemas.microsoft.com\/xrm\/2011\/Contracts";
    for name in [
        "Entity",
        "EntityReference",
        "OptionSetValue",
        "Money",
        "EntityCollection",
        "Relationship",
        "QueryExpression",
    ] {
        assert!(
            all.contains(&format!(r#""__type":"{name}{T}""#)),
            "no {name}"
        );
    }
    for part in [
        r#""__type":"KeyValuePairOfstringstring:#System.Collections.Generic""#,
        r#"{"__type":"Guid:#System","__value":""#,
        r#"{"__type":"Int32:#System","__value":"#,
        // A choice of several values: an array of choices.
        r#"","value":[{"__type":"OptionSetValue:"#,
        r#"","value":[]"#,
        r#"","value":null"#,
        r#"","value":true"#,
        r#""RowVersion":null"#,
        r#""RowVersion":"8"#,
        r#"+0000)\/""#,
        r#"+0200)\/""#,
        r#""value":"\/Date("#,
        r#""ParentContext":{"#,
        r#""AsynchronousStepPrimaryName""#,
        r#""PrimaryEntityName":"none""#,
        r#""mserp_dataareaid""#,
        r#""EventTime":"/Date("#,
        r#""/Date(-2208988800000)/""#,
        r#"\n"#,
        r#"\""#,
        "Müller",
        "東京",
    ] {
        assert!(all.contains(part), "no {part}");
    }
}

#[test]
fn money_has_four_digits_and_a_control_number_more_than_32_bits() {
    let mut last = 0;
    for body in traffic(9, Kinds::All, 2_000) {
        if body.kind != Kind::Business {
            for amount in text(&body).split(r#"Contracts","Value":"#).skip(1) {
                let number = amount.split('}').next().unwrap();
                let digits = number.split_once('.').map(|(_, digits)| digits.len());
                assert!(matches!(digits, None | Some(4)), "{number}");
            }
            continue;
        }
        let event = BusinessEvent::parse(&body.bytes).unwrap();
        let number = event.control_number.unwrap();
        assert!(last < number && i64::from(u32::MAX) < number);
        last = number;
        let id = event.event_id.unwrap();
        assert_eq!(id, id.to_uppercase());
        assert!(
            event
                .initiating_user_aad_object_id
                .unwrap()
                .starts_with('{')
        );
    }
}

#[test]
fn an_update_tells_what_changed_from_one_image_to_the_other() {
    let mut changed = 0;
    for body in traffic(10, Kinds::Dataverse, 2_000)
        .iter()
        .filter(|body| body.message == "Update")
    {
        let context = RemoteExecutionContext::parse(&body.bytes).unwrap();
        let json: Json = context.to_json();
        let image = |member: &str, key: &str| -> HashMap<String, Json> {
            let images = json[member].as_array().unwrap();
            let image = images.iter().find(|image| image["key"] == key).unwrap();
            let attributes = image["value"]["Attributes"].as_array().unwrap();
            attributes
                .iter()
                .map(|pair| {
                    (
                        pair["key"].as_str().unwrap().to_owned(),
                        pair["value"].clone(),
                    )
                })
                .collect()
        };
        let (pre, post) = (
            image("PreEntityImages", "PreImage"),
            image("PostEntityImages", "PostImage"),
        );
        for (name, after) in &post {
            if context.changed(name) {
                changed += 1;
            } else {
                assert_eq!(&pre[name], after, "{name} changed unsaid");
            }
        }
    }
    assert!(500 < changed, "{changed}");
}

#[test]
fn keys_repeat_and_some_are_hot() {
    let mut keys: HashMap<String, u32> = HashMap::new();
    for body in traffic(11, Kinds::Dataverse, 6_000) {
        *keys
            .entry(map("contoso", &body.bytes).unwrap().partition_key)
            .or_default() += 1;
    }
    let hottest = keys
        .iter()
        .filter(|(key, _)| !key.starts_with("custom/"))
        .map(|(_, count)| *count)
        .max();
    assert!((30..300).contains(&hottest.unwrap()), "{hottest:?}");
    assert!(
        1_500 < keys.len() && keys.len() < 4_500,
        "{} keys",
        keys.len()
    );
}

#[test]
fn truncated_bodies_have_lost_the_four_members() {
    let plan = Plan {
        truncate: 100.0,
        ..plan(12, Kinds::All, 500)
    };
    for body in Traffic::new(&plan) {
        assert_eq!(body.is_truncated, body.kind != Kind::Business);
        if body.is_truncated {
            for member in [
                "ParentContext",
                "InputParameters",
                "PreEntityImages",
                "PostEntityImages",
            ] {
                assert!(!text(&body).contains(member), "{member} in {}", text(&body));
            }
            let mapped = map("contoso", &body.bytes).unwrap();
            let mark = ("d365truncated".to_owned(), "true".to_owned());
            assert!(mapped.extensions.contains(&mark), "{mapped:?}");
        }
    }
}

#[test]
fn faults_come_as_often_as_asked_and_near() {
    let faulty = Plan {
        duplicates: 10.0,
        reorder: 20.0,
        ..plan(13, Kinds::All, 5_000)
    };
    let ordered: HashMap<_, usize> = Traffic::new(&faulty)
        .map(|body| body.bytes)
        .zip(0..)
        .collect();
    let (mut seen, mut again, mut late, mut due) = (HashSet::new(), 0, 0, Duration::ZERO);
    let mut highest = 0;
    for body in Faults::new(&faulty) {
        assert!(due <= body.due, "what comes later is not due earlier");
        due = body.due;
        let place = ordered[&body.bytes];
        if !seen.insert(body.bytes) {
            again += 1;
            continue;
        }
        if place < highest {
            late += 1;
            assert!(highest - place <= 8, "{place} behind {highest}");
        }
        highest = highest.max(place);
    }
    assert_eq!(seen.len(), 5_000);
    assert!((400..600).contains(&again), "{again} duplicates");
    assert!((700..1_100).contains(&late), "{late} out of order");
}

#[test]
fn a_run_ends_by_number_or_by_time() {
    let timed = Plan {
        until: Some(Duration::from_secs(10)),
        count: None,
        burst: 7,
        ..plan(14, Kinds::All, 0)
    };
    assert_eq!(Traffic::new(&timed).count(), 10 * 100 + 7);
    let both = Plan {
        count: Some(30),
        ..timed
    };
    assert_eq!(Traffic::new(&both).count(), 30);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_two_events_share_an_id(seed: u64, truncate in 0.0..100.0_f64) {
        let plan = Plan { truncate, ..plan(seed, Kinds::All, 400) };
        let mut ids = HashSet::new();
        for body in Traffic::new(&plan) {
            prop_assert!(ids.insert(id(&body)), "{}", text(&body));
        }
    }
}
