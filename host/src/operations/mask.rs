//! Takes a body and what of it is not for everybody, gives what may be shown.

use serde_json::Value;

/// What stands in the place of a masked value.
const MASK: &str = "•••";
/// Bytes of a body that is not text which are shown.
const FIRST: usize = 256;

/// A body, to be shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// Text, indented where it is JSON and something is hidden or it can be without harm.
    Text {
        /// It.
        text: String,
        /// How many values are hidden.
        hidden: usize,
    },
    /// What is to be hidden cannot be found in it.
    Hidden,
    /// Its first bytes, in hex.
    Binary(String),
    /// Nothing.
    Empty,
}

/// The body with what the pointers lead to hidden. A pointer is one of RFC 6901, where `*`
/// stands for every member or element.
pub fn shown(body: &[u8], mask: &[String]) -> Shown {
    if body.is_empty() {
        return Shown::Empty;
    }
    let json = serde_json::from_slice::<Value>(body);
    if mask.is_empty() {
        return match (std::str::from_utf8(body), json) {
            // Members that stand twice, or digits, must not get lost on the way.
            (Ok(text), Ok(_)) => Shown::Text {
                text: indented(text),
                hidden: 0,
            },
            (Ok(text), Err(_)) => Shown::Text {
                text: text.to_owned(),
                hidden: 0,
            },
            (Err(_), _) => Shown::Binary(hex(body)),
        };
    }
    let Ok(mut value) = json else {
        return Shown::Hidden;
    };
    let mut hidden = 0;
    for pointer in mask {
        let tokens: Vec<String> = pointer
            .split('/')
            .skip(1)
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        hide(&mut value, &tokens, &mut hidden);
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    Shown::Text { text, hidden }
}

fn hide(value: &mut Value, tokens: &[String], hidden: &mut usize) {
    let Some((token, rest)) = tokens.split_first() else {
        *value = Value::from(MASK);
        *hidden += 1;
        return;
    };
    match value {
        Value::Object(members) if token == "*" => {
            members
                .values_mut()
                .for_each(|member| hide(member, rest, hidden));
        }
        Value::Object(members) => {
            if let Some(member) = members.get_mut(token) {
                hide(member, rest, hidden);
            }
        }
        Value::Array(elements) if token == "*" => {
            elements
                .iter_mut()
                .for_each(|element| hide(element, rest, hidden));
        }
        Value::Array(elements) => {
            let index = token.parse::<usize>().ok();
            if let Some(element) = index.and_then(|index| elements.get_mut(index)) {
                hide(element, rest, hidden);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// JSON with line ends and indents where it had none: not a digit or member is touched.
fn indented(text: &str) -> String {
    if text.trim_end().contains('\n') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn hex(body: &[u8]) -> String {
    let bytes: Vec<String> = body
        .iter()
        .take(FIRST)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    bytes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, mask: &[&str]) -> (String, usize) {
        let mask: Vec<String> = mask.iter().map(|pointer| (*pointer).to_owned()).collect();
        match shown(body.as_bytes(), &mask) {
            Shown::Text { text, hidden } => (text, hidden),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_pointer_leads_to_is_hidden_and_nothing_else() {
        let body = r#"{"a":{"b/c":1,"d":[{"x":1.50},{"x":2}]},"e":"f"}"#;
        for (mask, gone, hidden) in [
            (vec!["/e"], "\"f\"", 1),
            (vec!["/a/b~1c"], ": 1,", 1),
            (vec!["/a/d/*/x"], "1.50", 2),
            (vec!["/a/d/0/x"], "1.50", 1),
            (vec!["/a"], "1.50", 1),
            (vec!["/*"], "f\"", 2),
        ] {
            let (shown, count) = text(body, &mask);
            assert!(!shown.contains(gone), "{mask:?}: {shown}");
            assert_eq!(count, hidden, "{mask:?}");
        }
        assert_eq!(text(body, &["/nothing/here", "/e/1"]).1, 0);
        assert!(text(body, &["/e"]).0.contains("1.50"), "digits stay");
    }

    #[test]
    fn where_nothing_can_be_found_nothing_is_shown() {
        let mask = ["/a".to_owned()];
        assert_eq!(shown(b"no json", &mask), Shown::Hidden);
        assert_eq!(shown(b"", &mask), Shown::Empty);
        assert_eq!(shown(b"\xff\x00", &[]), Shown::Binary("ff 00".to_owned()));
    }

    #[test]
    fn indenting_changes_no_token() {
        for body in [
            r#"{"a":1,"a":2.500,"b":[],"c":{},"d":[1,[2]],"e":"x{\"y\\"}"#,
            "[ ]",
            "{ \"a\" : [ 1 , 2 ] }",
            "5",
        ] {
            let (shown, _) = text(body, &[]);
            let bare = |text: &str| {
                text.chars()
                    .filter(|c| !c.is_whitespace())
                    .collect::<String>()
            };
            assert_eq!(bare(&shown), bare(body));
        }
        assert_eq!(
            text(r#"{"a":[1,{}]}"#, &[]).0,
            "{\n  \"a\": [\n    1,\n    {}\n  ]\n}"
        );
    }
}
