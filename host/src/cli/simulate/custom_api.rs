//! Takes the organization and a moment, gives the call of a custom API.

use super::context::Context;
use super::dataverse::{empty, envelope};
use super::entity::{Entity, Stamp};
use super::table::Table;
use super::wire::Wire;
use super::world::{Record, World, mix};

/// Unbound, and with a record.
const UNBOUND: [&str; 3] = [
    "contoso_OnCreditChecked",
    "contoso_OnShipmentDelayed",
    "contoso_OnPricesRecalculated",
];
const BOUND: &str = "contoso_OnDocumentSigned";
/// Of a hundred calls so many are of an API that is bound to a table.
const OF_A_RECORD: f64 = 25.0;

/// One call. Between them, its parameters have every type that a custom API's can have.
pub(super) fn call(world: &mut World, at_ms: i64) -> Context {
    let record = world.some_record();
    let is_bound = world.chance(OF_A_RECORD);
    let number = world.below(u64::MAX);
    let message = if is_bound {
        BOUND
    } else {
        let index = usize::try_from(number % UNBOUND.len() as u64).unwrap_or_default();
        UNBOUND.get(index).copied().unwrap_or(BOUND)
    };
    let mut context = envelope(world, message, at_ms, is_bound.then_some(record));
    context.inputs = Wire::list(|wire| {
        if is_bound {
            wire.pair("Target", |wire| {
                wire.reference(context.table, context.record)
            });
        }
        parameters(wire, world, record, at_ms, number);
    });
    context.shared = Wire::list(|wire| {
        wire.pair("IsAutoTransact", |wire| wire.raw(format_args!("true")));
        let tag = world.guid("tag", number % 50);
        wire.pair("tag", |wire| boxed(wire, "Guid", &format!("\"{tag}\"")));
        let attempts = number % 4 + 1;
        wire.pair("attempts", |wire| {
            boxed(wire, "Int32", &attempts.to_string())
        });
    });
    context.outputs = empty();
    context
}

fn parameters(wire: &mut Wire, world: &World, record: Record, at_ms: i64, number: u64) {
    let entity = |record, columns: std::ops::Range<usize>| Entity {
        world,
        record,
        columns: columns.collect(),
        stamp: Stamp::Nothing,
    };
    let id = record.id(world);
    wire.pair("IsFinal", |wire| {
        wire.raw(format_args!("{}", number.is_multiple_of(2)))
    });
    wire.pair("CheckedOn", |wire| wire.date(at_ms));
    wire.pair("Score", |wire| {
        wire.raw(format_args!("0.{:04}", number % 10_000))
    });
    wire.pair("Latitude", |wire| {
        wire.raw(format_args!("{}.5", number % 90))
    });
    wire.pair("Days", |wire| wire.raw(format_args!("{}", number % 120)));
    let amount = i64::try_from(number % 500_000_000).unwrap_or_default();
    wire.pair("Limit", |wire| wire.money(amount * 100));
    wire.pair("Verdict", |wire| {
        wire.choice(100_000_000 + i64::try_from(number % 5).unwrap_or_default());
    });
    wire.pair("Reason", |wire| {
        wire.string("Rating B+ / reviewed\nby the \"credit desk\"")
    });
    wire.pair("Tags", |wire| {
        wire.array(|wire| {
            wire.item().string("credit");
            wire.item().string("Q4/2026");
        });
    });
    wire.pair("RecordId", |wire| wire.guid(id));
    wire.pair("Record", |wire| wire.reference(record.table().name, id));
    wire.pair("Snapshot", |wire| entity(record, 0..9).value(wire));
    let lines = mix(number) % 3 + 1;
    wire.pair("Lines", |wire| {
        collection(wire, record, lines, |wire| {
            for _ in 0..lines {
                // Entities of a collection have no __type.
                entity(record, 0..4).image(wire.item());
            }
        })
    });
}

fn collection(wire: &mut Wire, record: Record, count: u64, entities: impl FnOnce(&mut Wire)) {
    wire.object(|wire| {
        wire.contract("EntityCollection");
        wire.member("Entities").array(entities);
        wire.member("EntityName").string(record.table().name);
        wire.member("MinActiveRowVersion").null();
        wire.member("MoreRecords").raw(format_args!("false"));
        wire.member("PagingCookie").null();
        wire.member("TotalRecordCount").raw(format_args!("{count}"));
        wire.member("TotalRecordCountLimitExceeded")
            .raw(format_args!("false"));
    });
}

/// A primitive that .NET had in a box.
fn boxed(wire: &mut Wire, name: &str, value: &str) {
    wire.object(|wire| {
        wire.member("__type").string(&format!("{name}:#System"));
        wire.member("__value").raw(format_args!("{value}"));
    });
}

/// A `QueryExpression`: what was not touched for three years.
pub(super) fn query(wire: &mut Wire, table: &Table, at_ms: i64) {
    wire.object(|wire| {
        wire.contract("QueryExpression");
        wire.member("ColumnSet").object(|wire| {
            wire.member("AllColumns").raw(format_args!("false"));
            wire.member("AttributeExpressions").array(|_| ());
            wire.member("Columns")
                .array(|wire| wire.item().string(table.id));
        });
        wire.member("Criteria").object(|wire| {
            wire.member("Conditions").array(|wire| {
                wire.item().object(|wire| {
                    wire.member("AttributeName").string("modifiedon");
                    wire.member("CompareColumns").raw(format_args!("false"));
                    wire.member("EntityName").null();
                    wire.member("Operator").raw(format_args!("3"));
                    let long_ago = at_ms / 1_000 * 1_000 - 3 * 365 * 24 * 3_600_000;
                    wire.member("Values")
                        .array(|wire| wire.item().date(long_ago));
                });
            });
            wire.member("FilterOperator").raw(format_args!("0"));
            wire.member("Filters").array(|_| ());
            wire.member("IsQuickFindFilter").raw(format_args!("false"));
        });
        wire.member("Distinct").raw(format_args!("false"));
        wire.member("EntityName").string(table.name);
        wire.member("LinkEntities").array(|_| ());
        wire.member("NoLock").raw(format_args!("false"));
        wire.member("Orders").array(|_| ());
        wire.member("PageInfo").object(|wire| {
            wire.member("Count").raw(format_args!("0"));
            wire.member("PageNumber").raw(format_args!("0"));
            wire.member("PagingCookie").null();
            wire.member("ReturnTotalRecordCount")
                .raw(format_args!("false"));
        });
        wire.member("TopCount").null();
    });
}
