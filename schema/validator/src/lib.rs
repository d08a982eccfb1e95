//! Takes bodies, gives whether a validator that others use takes them by the schema that was learnt.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use sluicegate_schema::{Shape, What};

    const ACCOUNT: &str = include_str!("../../../tests/fixtures/dataverse-account-update.json");
    const FIXTURES: [&str; 6] = [
        ACCOUNT,
        include_str!("../../../d365/fixtures/account-create.json"),
        include_str!("../../../d365/fixtures/custom-api-unbound.json"),
        include_str!("../../../d365/fixtures/fno-business-event.json"),
        include_str!("../../../d365/fixtures/incident-delete.json"),
        include_str!("../../../d365/fixtures/task-create-boxed.json"),
    ];

    fn learnt(bodies: &[Value], least: u64) -> Shape {
        let mut shape = Shape::default();
        for body in bodies {
            shape.absorb(Shape::of(body));
        }
        shape.settle(least);
        shape
    }

    fn is_valid(shape: &Shape, body: &Value) -> bool {
        let schema = shape.schema("t");
        jsonschema::draft202012::new(&schema)
            .expect("a schema")
            .is_valid(body)
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from),
        ];
        let name = || {
            prop_oneof![
                4 => "[a-e]".prop_map(|name| name),
                1 => Just("FormattedValues".to_owned()),
                1 => "[0-9]{3}".prop_map(|name| name),
                1 => Just("__type".to_owned()),
            ]
        };
        scalar.prop_recursive(4, 40, 5, move |inner| {
            let members = || prop::collection::btree_map(name(), inner.clone(), 0..5);
            let object = |members: BTreeMap<String, Value>| Value::Object(Map::from_iter(members));
            let pairs = |members: BTreeMap<String, Value>| {
                let pairs = members.into_iter();
                Value::Array(
                    pairs
                        .map(|(key, value)| json!({"key": key, "value": value}))
                        .collect(),
                )
            };
            prop_oneof![
                3 => members().prop_map(object),
                2 => members().prop_map(pairs),
                1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_learnt_takes_what_it_was_learnt_of(
            bodies in prop::collection::vec(value(), 1..8), least in 1_u64..4,
        ) {
            let shape = learnt(&bodies, least);
            for body in &bodies {
                prop_assert!(is_valid(&shape, body), "{} does not take {body}", shape.schema("t"));
            }
        }

        #[test]
        fn a_column_that_is_removed_or_retyped_is_refused(which in 0_usize..12) {
            let body: Value = serde_json::from_str(ACCOUNT).expect("JSON");
            let shape = learnt(&vec![body.clone(); 20], 20);
            let changed = |change: &dyn Fn(&mut Vec<Value>)| {
                let mut body = body.clone();
                let columns = body.pointer_mut("/InputParameters/0/value/Attributes");
                change(columns.and_then(Value::as_array_mut).expect("columns"));
                let drift = shape.drift(&body);
                let is_added = |one: &What| *one == What::Added;
                let is_open = drift.iter().map(|one| one.kind).all(|kind| is_added(&kind));
                assert_eq!(is_valid(&shape, &body), is_open, "{drift:?}");
            };
            changed(&|columns| drop(columns.remove(which)));
            changed(&|columns| columns[which]["value"] = json!([[1]]));
            changed(&|columns| columns.insert(which, json!({"key": "new_x", "value": 1})));
        }
    }

    #[test]
    fn the_bodies_of_the_project_are_taken() {
        for text in FIXTURES {
            let body: Value = serde_json::from_str(text).expect("JSON");
            assert!(is_valid(&learnt(&vec![body.clone(); 3], 2), &body));
        }
    }
}
