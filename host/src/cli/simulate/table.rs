//! Takes nothing, gives what a table is made of: kinds of columns, and columns that many share.

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Column of the record's own id.
    pub(super) id: &'static str,
    pub(super) columns: &'static [Column],
}

/// One column; the first one of a table is its primary name.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// One of these texts.
    Text(&'static [&'static str]),
    /// This text and six digits.
    Numbered(&'static str),
    /// Sentences, up to so many of them.
    Prose(u64),
    Email,
    Phone,
    /// A record of this table.
    Lookup(&'static str),
    /// One of these values, which are counted up from the first.
    Choice(i64, &'static [&'static str]),
    /// Several of these values.
    Choices(i64, &'static [&'static str]),
    /// Up to this amount.
    Money(i64),
    Whole(u64),
    Decimal,
    Double,
    Flag,
    Date,
}

use Kind::{Choice, Choices, Decimal, Lookup, Text};

pub(super) const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

pub(super) const COMPANIES: Kind = Text(&[
    "Adventure Works",
    "Alpine Ski House",
    "Blue Yonder Airlines",
    "City Power & Light",
    "Coho Winery",
    "Contoso Pharmaceuticals",
    "Fabrikam, Inc.",
    "Fourth Coffee",
    "Litware \"Home\" GmbH",
    "Margie's Travel",
    "Müller & Söhne KG",
    "Northwind Traders",
    "Proseware A/S",
    "Tailspin Toys",
    "Trey Research",
    "東京貿易株式会社",
]);
pub(super) const PEOPLE: Kind = Text(&[
    "Alicia Thomber",
    "Björn Ågren",
    "Cathan Cook",
    "Dana Birkby",
    "Eva Corets",
    "Jim Glynn",
    "José Ñuñez",
    "Maria Campbell",
    "Nancy Anderson",
    "Patrick Sands",
    "Rene Valdes",
    "Sidney Higa",
    "Sven Mortensen",
    "Thomas Andersen",
    "Vincent Lauriant",
    "Zoë Łukasik",
]);
pub(super) const STREETS: Kind = Text(&[
    "2137 Birchwood Dr",
    "Hauptstraße 12",
    "9068 Muir Road",
    "Rue de l'Été 5",
    "N/A",
]);
pub(super) const CITIES: Kind = Text(&[
    "Redmond",
    "Köln",
    "Lyon",
    "São Paulo",
    "København",
    "New York",
    "Gdańsk",
]);
pub(super) const COUNTRIES: Kind = Text(&[
    "United States",
    "Germany",
    "France",
    "Brazil",
    "Denmark",
    "Poland",
]);
pub(super) const JOBS: Kind = Text(&[
    "Purchasing Manager",
    "Owner",
    "CFO",
    "Sales Rep/Agent",
    "Head of IT",
]);
pub(super) const PRIORITY: Kind = Choice(1, &["High", "Normal", "Low"]);
pub(super) const SOURCES: Kind = Choice(
    1,
    &[
        "Advertisement",
        "Employee Referral",
        "Partner",
        "Seminar",
        "Trade Show",
        "Web",
        "Word of Mouth",
    ],
);
pub(super) const SEGMENTS: Kind = Choices(
    100_000_000,
    &["Retail", "Wholesale", "Public", "Export", "Key account"],
);
pub(super) const CURRENCY: Column = column("transactioncurrencyid", Lookup("transactioncurrency"));
pub(super) const RATE: Column = column("exchangerate", Decimal);
pub(super) const OWNER: Column = column("ownerid", Lookup("systemuser"));
pub(super) const STATE: Column = column("statecode", Choice(0, &["Active", "Inactive"]));
pub(super) const STATUS: Column = column(
    "statuscode",
    Choice(1, &["In Progress", "On Hold", "Won", "Canceled"]),
);
