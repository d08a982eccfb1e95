//! Takes the organization and a moment, gives a data event of Finance and Operations.
//!
//! Its body is Dataverse's, for the virtual table that stands for an entity of F&O there.

use uuid::Uuid;

use super::column::{formatted, is_empty, value};
use super::context::Context;
use super::dataverse::{empty, envelope, one};
use super::table::{CITIES, COMPANIES, Column, Kind};
use super::wire::Wire;
use super::world::{World, mix, rank};

struct VirtualTable {
    name: &'static str,
    /// The number of the table in F&O, the first part of the record's id.
    number: u32,
    columns: &'static [Column],
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Enumerations begin at 200,000,000 in virtual tables.
const FIRST: i64 = 200_000_000;

static TABLES: [VirtualTable; 3] = [
    VirtualTable {
        name: "mserp_custcustomerv3entity",
        number: 0x4951,
        columns: &[
            column("mserp_customeraccount", Kind::Numbered("C-")),
            column("mserp_organizationname", COMPANIES),
            column("mserp_creditlimit", Kind::Money(250_000)),
            column(
                "mserp_onholdstatus",
                Kind::Choice(FIRST, &["No", "Invoice", "All"]),
            ),
            column("mserp_addresscity", CITIES),
            column("mserp_primarycontactphone", Kind::Phone),
            column("mserp_primarycontactemail", Kind::Email),
            column("mserp_discountpercentage", Kind::Decimal),
            column(
                "mserp_deliverymode",
                Kind::Text(&["Truck", "Air", "Ship/Rail"]),
            ),
            column(
                "mserp_isonetimecustomer",
                Kind::Choice(FIRST, &["No", "Yes"]),
            ),
        ],
    },
    VirtualTable {
        name: "mserp_salesorderheaderv2entity",
        number: 0x2c1a,
        columns: &[
            column("mserp_salesordernumber", Kind::Numbered("SO-")),
            column("mserp_orderingcustomeraccountnumber", Kind::Numbered("C-")),
            column(
                "mserp_salesorderstatus",
                Kind::Choice(FIRST, &["None", "Backorder", "Delivered", "Invoiced"]),
            ),
            column("mserp_requestedshippingdate", Kind::Date),
            column("mserp_ordertotalamount", Kind::Money(90_000)),
            column("mserp_currencycode", Kind::Text(&["USD", "EUR", "GBP"])),
            column("mserp_deliveryaddresscity", CITIES),
            column("mserp_totaldiscountpercentage", Kind::Decimal),
        ],
    },
    VirtualTable {
        name: "mserp_ecoresreleasedproductv2entity",
        number: 0x11f7,
        columns: &[
            column("mserp_itemnumber", Kind::Numbered("D")),
            column(
                "mserp_productsearchname",
                Kind::Text(&["Speaker", "Cable 5m", "Amplifier", "Rack 19\""]),
            ),
            column("mserp_salesprice", Kind::Money(4_000)),
            column("mserp_netproductweight", Kind::Double),
            column(
                "mserp_productlifecyclestate",
                Kind::Choice(FIRST, &["New", "Operational", "Obsolete"]),
            ),
            column("mserp_bestbeforeperioddays", Kind::Whole(700)),
        ],
    },
];
const RECORDS: usize = 3_000;

/// The next data event: of a hundred 25 of a record that is new, 70 of a changed one, 5 of one
/// that is gone.
pub(super) fn operation(world: &mut World, at_ms: i64) -> Context {
    let message = match world.below(100) {
        0..25 => "OnExternalCreated",
        25..95 => "OnExternalUpdated",
        _ => "OnExternalDeleted",
    };
    let table = rank(&mut world.rng, TABLES.len());
    let table = TABLES.get(table).expect("the number of a table");
    let number = rank(&mut world.rng, RECORDS) as u64;
    let id = record_id(table, number);
    let state = world.below(u64::MAX);

    let mut context = envelope(world, message, at_ms, None);
    context.table = table.name;
    context.is_asynchronous = true;
    context.inputs = if message == "OnExternalDeleted" {
        one("Target", |wire| wire.reference(table.name, id))
    } else {
        one("Target", |wire| entity(wire, world, table, id, state))
    };
    context.shared = empty();
    context
}

fn entity(wire: &mut Wire, world: &World, table: &VirtualTable, id: Uuid, state: u64) {
    // A date that is not there is left out; everything else that is not there is null.
    let columns = || {
        let columns = table.columns.iter().zip(0_u64..);
        columns
            .map(|(column, place)| (column, mix(state ^ place)))
            .filter(|(column, number)| {
                !(matches!(column.kind, Kind::Date) && is_empty(column, *number))
            })
    };
    wire.object(|wire| {
        wire.contract("Entity");
        wire.member("Attributes").array(|wire| {
            for (column, number) in columns() {
                wire.pair(column.name, |wire| value(wire, world, column, number));
            }
            wire.pair("mserp_dataareaid", |wire| wire.string("usmf"));
            let id_column = format!("{}id", table.name);
            wire.pair(&id_column, |wire| wire.guid(id));
        });
        wire.member("EntityState").null();
        wire.member("FormattedValues").array(|wire| {
            for (column, number) in columns() {
                formatted(wire, world, column, number);
            }
        });
        wire.member("Id").guid(id);
        wire.member("KeyAttributes").array(|_| ());
        wire.member("LogicalName").string(table.name);
        wire.member("RelatedEntities").array(|_| ());
        wire.member("RowVersion").null();
    });
}

/// No random guid: `00004951-0000-0000-5e1a-005001000000` is table and record number.
fn record_id(table: &VirtualTable, number: u64) -> Uuid {
    let record = 5_637_144_576 + number * 7;
    Uuid::from_fields(table.number, 0, 0, &record.to_le_bytes())
}
