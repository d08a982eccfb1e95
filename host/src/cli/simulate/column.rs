//! Takes a column and the number of its value, gives the value and its formatted text.

use super::table::{Column, Kind};
use super::wire::Wire;
use super::world::{World, mix};

const SENTENCES: [&str; 6] = [
    "Called the customer; they will answer by the end of the week. ",
    "See https://contoso.sharepoint.com/sites/crm/docs/4711 for the signed offer. ",
    "Delivery has to reach dock 4\\B before noon. ",
    "The customer asked for \"express\" and accepts the surcharge.\n",
    "Rückruf vereinbart, Ansprechpartnerin ist Frau Øster. ",
    "Credit check passed, no further action.\t",
];
/// One column in so many is empty, where it may be.
const EMPTY: u64 = 14;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Writes the value; `null` for a cleared one.
pub(super) fn value(wire: &mut Wire, world: &World, column: &Column, number: u64) {
    if is_empty(column, number) {
        return wire.null();
    }
    match column.kind {
        Kind::Text(texts) => wire.string(pick(texts, number)),
        Kind::Numbered(start) => wire.string(&format!("{start}{:06}", number % 1_000_000)),
        Kind::Prose(most) => wire.string(&prose(most, number)),
        Kind::Email => wire.string(&format!("someone{}@example.com", number % 10_000)),
        Kind::Phone => wire.string(&format!("+1 (425) 555-{:04}", number % 10_000)),
        Kind::Lookup(table) => wire.reference(table, world.guid(table, number % 200)),
        Kind::Choice(first, labels) => wire.choice(first + index(labels, number)),
        Kind::Choices(first, labels) => wire.array(|wire| {
            for (at, _) in (0..).zip(labels).filter(|(at, _)| number >> at & 1 == 1) {
                wire.item().choice(first + at);
            }
        }),
        Kind::Money(most) => wire.money(amount(most, number)),
        Kind::Whole(most) => wire.raw(format_args!("{}", number % most)),
        Kind::Decimal => wire.raw(format_args!(
            "{}.{:010}",
            number % 3,
            mix(number) % 10_000_000_000
        )),
        Kind::Double => wire.raw(format_args!(
            "{}.{:06}",
            number % 90,
            (mix(number) % 1_000_000) | 1
        )),
        Kind::Flag => wire.raw(format_args!("{}", number & 1 == 1)),
        Kind::Date => wire.date(date_ms(world, number)),
    }
}

/// Writes the column's entry of `FormattedValues`, if its kind has one: text in the user's
/// language, which nobody should parse.
pub(super) fn formatted(wire: &mut Wire, world: &World, column: &Column, number: u64) {
    if is_empty(column, number) {
        return;
    }
    let text = match column.kind {
        Kind::Choice(_, labels) => pick(labels, number).to_owned(),
        Kind::Choices(_, labels) => {
            let chosen: Vec<&str> = (0..)
                .zip(labels)
                .filter(|(at, _)| number >> at & 1 == 1)
                .map(|(_, label)| *label)
                .collect();
            chosen.join("; ")
        }
        Kind::Money(most) => {
            let amount = amount(most, number) / 100;
            format!("€ {},{:02}", amount / 100, amount % 100)
        }
        Kind::Flag if number & 1 == 1 => "Yes".to_owned(),
        Kind::Flag => "No".to_owned(),
        Kind::Whole(most) => (number % most).to_string(),
        Kind::Date => iso(date_ms(world, number)),
        Kind::Lookup(_) => return wire.pair(column.name, Wire::null),
        _ => return,
    };
    wire.pair(column.name, |wire| wire.string(&text));
}

/// A point in time as it stands in `FormattedValues`.
pub(super) fn iso(unix_ms: i64) -> String {
    let ms = u64::try_from(unix_ms).unwrap_or_default();
    crate::clock::rfc3339(ms / 1_000 * 1_000).replace(".000Z", "+00:00")
}

/// Whether the column is cleared.
pub(super) fn is_empty(column: &Column, number: u64) -> bool {
    let may_be = !matches!(
        column.kind,
        Kind::Text(_) | Kind::Choice(..) | Kind::Flag | Kind::Numbered(_)
    );
    may_be && mix(number).is_multiple_of(EMPTY)
}

fn amount(most: i64, number: u64) -> i64 {
    // Ten-thousandths; most amounts are of whole cents.
    let cents = i64::try_from(number % 1_000_000_007).unwrap_or_default() % (most * 100);
    cents * 100 + if number.is_multiple_of(8) { 25 } else { 0 }
}

fn date_ms(world: &World, number: u64) -> i64 {
    let days = i64::try_from(number % 365).unwrap_or_default();
    let day = world.start_ms() / DAY_MS + days - 90;
    day * DAY_MS + i64::try_from(number % 86_400).unwrap_or_default() * 1_000
}

fn prose(most: u64, number: u64) -> String {
    let count = mix(number) % most + 1;
    (0..count)
        .map(|n| pick(&SENTENCES, mix(number ^ n)))
        .collect()
}

fn index(list: &[&str], number: u64) -> i64 {
    i64::try_from(number % list.len() as u64).unwrap_or_default()
}

fn pick<'a>(list: &[&'a str], number: u64) -> &'a str {
    let index = usize::try_from(index(list, number)).unwrap_or_default();
    list.get(index).copied().unwrap_or_default()
}
