//! Takes words of addresses, gives what they ask.

use super::value::Number;
use super::*;

fn parse(words: &[(&str, &str)]) -> Result<Query, Wrong> {
    Query::parse(words.iter().copied())
}

#[test]
fn a_value_is_what_its_form_says() {
    for (text, value) in [
        ("null", Value::Null),
        ("true", Value::Boolean(true)),
        ("42", Value::Number(Number::Whole(42), "42".to_owned())),
        ("-1.5", Value::Number(Number::Real(-1.5), "-1.5".to_owned())),
        ("007", Value::Text("007".to_owned())),
        ("\"42\"", Value::Text("42".to_owned())),
        ("1e999", Value::Text("1e999".to_owned())),
        ("SE", Value::Text("SE".to_owned())),
        ("", Value::Text(String::new())),
        ("'; --", Value::Text("'; --".to_owned())),
    ] {
        assert_eq!(Value::parse(text), value, "{text}");
    }
}

#[test]
fn words_are_conditions_an_order_and_a_page() {
    let query = parse(&[
        ("address.city", "Lund"),
        ("value.gte", "10"),
        ("limit.eq", "3"),
        ("order", "-value,@key"),
        ("limit", "7"),
        ("after", "12"),
        ("wait", "2s"),
        ("as-of", "2026-11-30T09:00:00.5Z"),
    ])
    .unwrap();
    assert_eq!(query.conditions.len(), 3);
    assert_eq!(query.conditions[0].member, "address.city");
    assert_eq!(query.conditions[2].member, "limit");
    assert_eq!((query.limit, query.after), (7, Some(12)));
    assert_eq!(query.as_of, Some(Moment::Time(1_796_029_200_500)));
    assert!(query.order[0].descending && query.order[1].member == KEY);
}

#[test]
fn what_is_no_question_says_what_is_one() {
    for (word, value, told) in [
        ("value.above", "3", "gt, gte"),
        ("a b", "1", "order, limit"),
        ("a'", "1", "letters"),
        ("a..b", "1", "letters"),
        ("order", "a,,b", "no member"),
        ("limit", "-1", "1 to 1000"),
        ("wait", "1h", "30s"),
        ("value.in", "[1,", "JSON array"),
    ] {
        let error = parse(&[(word, value)]).unwrap_err().to_string();
        assert!(error.contains(told), "{word}: {error}");
    }
    let many: Vec<(&str, &str)> = vec![("a", "1"); 40];
    assert!(parse(&many).is_err());
}
