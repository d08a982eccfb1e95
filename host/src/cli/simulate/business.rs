//! Takes the organization and a moment, gives a business event of Finance and Operations.

use uuid::Uuid;

use super::table::{CITIES, COMPANIES, Column, Kind, PEOPLE};
use super::wire::Wire;
use super::world::{World, mix, rank};

/// One kind of business event: how often of a hundred it comes, what its
/// `ContextRecordSubject` starts with (none: it is blank, as of many events), its own members.
struct Shape {
    id: &'static str,
    percent: u64,
    about: Option<&'static str>,
    members: &'static [(&'static str, Member)],
}

enum Member {
    /// The record that the event is about.
    About,
    Text(Kind),
    Amount(u64),
    Company,
    Date,
    /// 1900-01-01, which stands for none.
    NoDate,
    YesNo,
    /// The symbol of an enumeration's value.
    Symbol(&'static [&'static str]),
    /// The number of a record, 64 bits.
    RecId,
    Contact,
}

use Member::{About, Amount, Company, Contact, Date, NoDate, RecId, Symbol, Text, YesNo};

const ACCOUNT: Kind = Kind::Numbered("C-");
const CURRENCY: Member = Symbol(&["USD", "EUR", "GBP", "DKK"]);

static SHAPES: [Shape; 8] = [
    Shape {
        id: "SalesOrderConfirmedBusinessEvent",
        percent: 25,
        about: Some("SO-"),
        members: &[
            ("CurrencyCode", CURRENCY),
            ("ConfirmedShippingDate", Date),
            ("CustomerAccount", Text(ACCOUNT)),
            ("LegalEntity", Company),
            ("RequestedShippingDate", Date),
            ("SalesOrderId", About),
            ("SalesOrigin", Symbol(&["Web", "Phone", "Fair"])),
            ("Total Amount", Amount(90_000)),
        ],
    },
    Shape {
        id: "SalesInvoicePostedBusinessEvent",
        percent: 15,
        about: Some("SO-"),
        members: &[
            ("InvoiceAccount", Text(ACCOUNT)),
            ("InvoiceAmount", Amount(90_000)),
            ("InvoiceDate", Date),
            ("InvoiceDueDate", NoDate),
            ("InvoiceId", Text(Kind::Numbered("CIV-"))),
            ("LegalEntity", Company),
            ("SalesOrderId", About),
        ],
    },
    Shape {
        id: "CustomerChangedBusinessEvent",
        percent: 18,
        about: None,
        members: &[
            ("Account", Text(ACCOUNT)),
            ("CommissionSalesGroupId", Symbol(&[""])),
            ("Contact", Contact),
            ("CreditMax", Amount(250_000)),
            ("InterCompanyDirectDelivery", YesNo),
            ("LegalEntity", Company),
            ("Name", Text(COMPANIES)),
            ("OnHold", Symbol(&["No", "Invoice", "All"])),
        ],
    },
    Shape {
        id: "PurchaseOrderConfirmedBusinessEvent",
        percent: 14,
        about: Some("PO-"),
        members: &[
            ("LegalEntity", Company),
            ("PurchaseJournal", RecId),
            ("PurchaseOrderDate", Date),
            ("PurchaseOrderNumber", About),
            ("PurchaseType", Symbol(&["Purch", "ReturnItem", "Journal"])),
            ("TransactionCurrencyAmount", Amount(60_000)),
            ("TransactionCurrencyCode", CURRENCY),
            ("VendorAccount", Text(Kind::Numbered("V-"))),
        ],
    },
    Shape {
        id: "VendorInvoicePostedBusinessEvent",
        percent: 10,
        about: Some("PO-"),
        members: &[
            ("InvoiceAmount", Amount(60_000)),
            ("InvoiceDate", Date),
            ("InvoiceNumber", Text(Kind::Numbered("VI-"))),
            ("LegalEntity", Company),
            ("PurchaseOrderNumber", About),
            ("VendorAccount", Text(Kind::Numbered("V-"))),
        ],
    },
    Shape {
        id: "InventoryReservationChangedBusinessEvent",
        percent: 10,
        about: Some("LOT-"),
        members: &[
            ("InventoryTransaction", RecId),
            ("IsReservedPhysically", YesNo),
            ("ItemNumber", Text(Kind::Numbered("D"))),
            ("LegalEntity", Company),
            ("Quantity", Amount(500)),
        ],
    },
    Shape {
        id: "Workflow_PurchReqReview_000002_Started",
        percent: 5,
        about: None,
        members: &[
            ("Initiator", Text(PEOPLE)),
            ("WorkflowDocument", Symbol(&["PurchReqTable"])),
            ("WorkflowInstanceRecId", RecId),
            ("WorkflowType", Symbol(&["PurchReqReview"])),
        ],
    },
    Shape {
        id: "Workflow_PurchReqReview_000002_PurchReqApproval_WorkItem",
        percent: 3,
        about: None,
        members: &[
            ("AssignedTo", Text(PEOPLE)),
            ("DueDateTime", Date),
            ("WorkflowDocument", Symbol(&["PurchReqTable"])),
            ("WorkflowInstanceRecId", RecId),
            (
                "WorkItemSubject",
                Symbol(&["Approve purchase requisition PR-000712 / urgent"]),
            ),
        ],
    },
];
const COMPANY_IDS: [&str; 3] = ["USMF", "DEMF", "GBSI"];
/// Orders, lots and so on that there are of each kind.
const SUBJECTS: usize = 3_000;
/// How F&O writes "no date".
const NO_DATE_MS: i64 = -2_208_988_800_000;
/// A record number and a control number are beyond 32 bits.
const FIRST_NUMBER: u64 = 5_637_144_576;

/// One event.
#[derive(Debug)]
pub(super) struct BusinessEvent {
    pub(super) id: &'static str,
    pub(super) body: String,
}

/// The next event; `control` is the last control number.
pub(super) fn event(world: &mut World, control: &mut u64, at_ms: i64) -> BusinessEvent {
    let mut dice = world.below(100);
    let shape = SHAPES
        .iter()
        .find(|shape| match dice.checked_sub(shape.percent) {
            Some(rest) => {
                dice = rest;
                false
            }
            None => true,
        });
    let shape = shape.expect("the percentages give a hundred");
    let subject = rank(&mut world.rng, SUBJECTS);
    let about = shape
        .about
        .map(|start| format!("{start}{:06}", subject + 1));
    // Several companies, most of it in the first one.
    let company = COMPANY_IDS
        .get(rank(&mut world.rng, COMPANY_IDS.len()))
        .copied();
    let company = company.unwrap_or_default();
    *control += 1 + world.below(40);
    let nanos = world.below(10_000_000);
    let user = world.user();
    let event_id = world.fresh_guid();
    let number = world.below(u64::MAX);

    let mut members: Vec<(&str, String)> = shape
        .members
        .iter()
        .zip(0_u64..)
        .map(|((name, member), place)| {
            let number = mix(number ^ place);
            let value = json(|wire| {
                value(
                    wire,
                    world,
                    member,
                    number,
                    about.as_deref(),
                    company,
                    at_ms,
                );
            });
            (*name, value)
        })
        .collect();
    let directory = upper(world.guid("aad", user.as_u64_pair().0));
    let seconds = at_ms.div_euclid(1_000);
    members.extend([
        ("BusinessEventId", text(shape.id)),
        ("BusinessEventLegalEntity", text(company)),
        (
            "ContextRecordSubject",
            text(about.as_deref().unwrap_or_default()),
        ),
        ("ControlNumber", (FIRST_NUMBER + *control).to_string()),
        ("EventId", text(&upper(event_id))),
        ("EventTime", json(|wire| wire.date(seconds * 1_000))),
        ("EventTimeIso8601", text(&iso8601(seconds, nanos))),
        (
            "InitiatingUserAADObjectId",
            text(&format!("{{{directory}}}")),
        ),
        ("MajorVersion", "0".to_owned()),
        ("MinorVersion", "0".to_owned()),
        ("ParentContextRecordSubjects", "[]".to_owned()),
    ]);
    // In alphabetical order, the event's own among those of the envelope.
    members.sort_unstable_by_key(|(name, _)| *name);
    let body = json(|wire| {
        wire.object(|wire| {
            for (name, value) in &members {
                wire.member(name).raw(format_args!("{value}"));
            }
        });
    });
    BusinessEvent { id: shape.id, body }
}

fn value(
    wire: &mut Wire,
    world: &World,
    member: &Member,
    number: u64,
    about: Option<&str>,
    company: &str,
    at_ms: i64,
) {
    let column = |wire: &mut Wire, kind| {
        super::column::value(wire, world, &Column { name: "", kind }, number);
    };
    match member {
        Member::About => wire.string(about.unwrap_or_default()),
        Member::Text(kind) => column(wire, *kind),
        Member::Amount(most) => {
            wire.raw(format_args!("{}.{:02}", number % most, mix(number) % 100));
        }
        Member::Company => wire.string(company),
        Member::Date => {
            let days = i64::try_from(number % 30).unwrap_or_default();
            wire.date((at_ms / 86_400_000 + days) * 86_400_000);
        }
        Member::NoDate => wire.date(NO_DATE_MS),
        Member::YesNo => wire.string(if number & 1 == 1 { "Yes" } else { "No" }),
        Member::Symbol(symbols) => {
            let index = usize::try_from(number % symbols.len() as u64).unwrap_or_default();
            wire.string(symbols.get(index).copied().unwrap_or_default());
        }
        Member::RecId => wire.raw(format_args!("{}", FIRST_NUMBER + number % 1_000_000)),
        Member::Contact => wire.object(|wire| {
            wire.member("Email").string("");
            wire.member("Person").null();
            wire.member("Phone").string("");
            wire.member("PostalAddress").object(|wire| {
                column(wire.member("City"), CITIES);
                wire.member("CountryId").string("USA");
                wire.member("Street").string("1 Example Avenue");
                wire.member("ZipCode").string("10022");
            });
        }),
    }
}

fn json(content: impl FnOnce(&mut Wire)) -> String {
    let mut wire = Wire::fno();
    content(&mut wire);
    wire.into_text()
}

fn text(text: &str) -> String {
    json(|wire| wire.string(text))
}

fn upper(id: Uuid) -> String {
    id.to_string().to_uppercase()
}

/// To 100 ns, of which `ticks` are below the second.
fn iso8601(seconds: i64, ticks: u64) -> String {
    let ms = u64::try_from(seconds).unwrap_or_default() * 1_000;
    crate::clock::rfc3339(ms).replace(".000Z", &format!(".{ticks:07}Z"))
}
