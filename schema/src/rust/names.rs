//! Takes names from outside, gives identifiers, literals and comments that none of them leaves.

use std::collections::{BTreeMap, BTreeSet};

/// Characters of a struct's name, so that a field of it fits on a line.
const MAX_TYPE: usize = 46;
/// Characters of a field's name.
const MAX_FIELD: usize = 64;
/// Characters of a name or a path in a comment.
const MAX_COMMENT: usize = 200;

/// What is in scope in the source.
const TAKEN: [&str; 17] = [
    "BTreeMap",
    "Clone",
    "Debug",
    "Decimal",
    "EntityReference",
    "Err",
    "Json",
    "Money",
    "None",
    "Ok",
    "Option",
    "PartialEq",
    "Result",
    "Self",
    "Some",
    "String",
    "Vec",
];

/// Keywords that are identifiers as `r#…`. What serde reads is without.
const RAW: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Keywords that are no identifiers at all.
const NEVER: [&str; 3] = ["crate", "self", "super"];

/// The names that items have.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// This name, or the first with a number behind it that is free.
    pub(super) fn claim(&mut self, name: &str) -> String {
        let name: String = name.chars().take(MAX_TYPE).collect();
        let is_free = |name: &String| !TAKEN.contains(&name.as_str()) && !self.0.contains(name);
        let name = numbered(&name, "", is_free);
        self.0.insert(name.clone());
        name
    }
}

/// `AccountUpdate` of `d365.dataverse.account.update`, `SalesInvoicePosted` of
/// `d365.fno.SalesInvoicePostedBusinessEvent`.
pub(super) fn of_event(event_type: &str) -> String {
    let known = ["d365.dataverse.", "d365.fno.", "d365.custom."];
    let known = known.iter().find_map(|one| event_type.strip_prefix(one));
    let name = known.unwrap_or(event_type);
    let short = name.strip_suffix("BusinessEvent");
    let name = pascal(short.filter(|short| !short.is_empty()).unwrap_or(name));
    match name.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("Event{name}"),
        false => name,
    }
}

/// A name as a part of a type's.
pub(super) fn pascal(name: &str) -> String {
    let words = words(name);
    if words.is_empty() {
        return "Member".to_owned();
    }
    let capital = |word: &String| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    words.iter().map(capital).collect()
}

/// The fields of a struct, one for each name in their order. Who is spelled as a field is called
/// so, whatever else would be.
pub(super) fn fields<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let names: Vec<&String> = names.collect();
    let mut taken = BTreeSet::new();
    let mut found: BTreeMap<&String, String> = BTreeMap::new();
    for is_spelled_so in [true, false] {
        for name in &names {
            let field = field(name);
            if (field == **name) == is_spelled_so {
                let field = numbered(&field, "_", |name| !taken.contains(name));
                taken.insert(field.clone());
                found.insert(*name, field);
            }
        }
    }
    names.iter().filter_map(|name| found.remove(name)).collect()
}

/// A field's name as it stands in the source.
pub(super) fn identifier(field: &str) -> String {
    match RAW.contains(&field) {
        true => format!("r#{field}"),
        false => field.to_owned(),
    }
}

/// A text that stands in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// A text that stays within its line, and within backticks.
pub(super) fn comment(text: &str) -> String {
    let mut found = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == MAX_COMMENT {
            found.push('…');
            break;
        }
        match c {
            '`' => found.push('\''),
            ' ' | '…' => found.push(c),
            c if c.is_ascii_graphic() || c.is_alphanumeric() => found.push(c),
            c => found.extend(c.escape_default()),
        }
    }
    found
}

fn field(name: &str) -> String {
    let snake: String = words(name).join("_").chars().take(MAX_FIELD).collect();
    let snake = snake.trim_end_matches('_');
    match snake.chars().next() {
        None => "member".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("member_{snake}"),
        Some(_) if NEVER.contains(&snake) => format!("{snake}_"),
        Some(_) => snake.to_owned(),
    }
}

fn numbered(name: &str, between: &str, is_free: impl Fn(&String) -> bool) -> String {
    let more = (2_u32..).map(|number| format!("{name}{between}{number}"));
    let mut all = std::iter::once(name.to_owned()).chain(more);
    all.find(is_free).unwrap_or_default()
}

/// The words of a name in lower case: `sales`, `order`, `id` of `SalesOrderId`, `sales_order_id`
/// and `sales order id`. Letters are those of ASCII.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        let is_lower = |c: &char| c.is_ascii_lowercase();
        let is_start = !c.is_ascii_alphanumeric()
            || (c.is_ascii_uppercase()
                && (!before.is_ascii_uppercase() || rest.peek().is_some_and(is_lower)));
        if is_start {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}
