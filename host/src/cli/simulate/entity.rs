//! Takes a record and which of its columns, gives an `Entity` as it stands in a body.

use uuid::Uuid;

use super::column;
use super::wire::Wire;
use super::world::{Record, World};

/// A record with some of its columns.
#[derive(Debug)]
pub(super) struct Entity<'a> {
    pub(super) world: &'a World,
    pub(super) record: Record,
    pub(super) columns: Vec<usize>,
    pub(super) stamp: Stamp,
}

/// What the platform adds to the columns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stamp {
    Created {
        by: Uuid,
        at_ms: i64,
    },
    Modified {
        by: Uuid,
        at_ms: i64,
    },
    /// An image, or the request before the platform has handled it.
    Nothing,
}

impl Entity<'_> {
    /// A value of a parameter.
    pub(super) fn value(&self, wire: &mut Wire) {
        wire.object(|wire| {
            wire.contract("Entity");
            self.members(wire, None);
        });
    }

    /// An image, which has no `__type`.
    pub(super) fn image(&self, wire: &mut Wire) {
        let row_version = self.record.row_version();
        wire.object(|wire| self.members(wire, Some(row_version)));
    }

    fn members(&self, wire: &mut Wire, row_version: Option<u64>) {
        let table = self.record.table();
        let id = self.record.id(self.world);
        wire.member("Attributes")
            .array(|wire| self.attributes(wire));
        wire.member("EntityState").null();
        wire.member("FormattedValues")
            .array(|wire| self.formatted(wire));
        wire.member("Id").guid(id);
        wire.member("KeyAttributes").array(|_| ());
        wire.member("LogicalName").string(table.name);
        wire.member("RelatedEntities").array(|_| ());
        match row_version {
            Some(version) => wire.member("RowVersion").raw(format_args!("\"{version}\"")),
            None => wire.member("RowVersion").null(),
        }
    }

    fn attributes(&self, wire: &mut Wire) {
        let table = self.record.table();
        for (column, number) in self.numbers() {
            wire.pair(column.name, |wire| {
                column::value(wire, self.world, column, number);
            });
        }
        let id = self.record.id(self.world);
        wire.pair(table.id, |wire| wire.guid(id));
        let (by, at_ms) = match self.stamp {
            Stamp::Nothing => return,
            Stamp::Modified { by, at_ms } => (by, at_ms),
            Stamp::Created { by, at_ms } => {
                wire.pair("createdon", |wire| wire.date(seconds(at_ms)));
                wire.pair("createdby", |wire| wire.reference("systemuser", by));
                let unit = self.world.guid("businessunit", 0);
                wire.pair("owningbusinessunit", |wire| {
                    wire.reference("businessunit", unit)
                });
                (by, at_ms)
            }
        };
        wire.pair("modifiedon", |wire| wire.date(seconds(at_ms)));
        wire.pair("modifiedby", |wire| wire.reference("systemuser", by));
        wire.pair("modifiedonbehalfby", Wire::null);
    }

    fn formatted(&self, wire: &mut Wire) {
        for (column, number) in self.numbers() {
            column::formatted(wire, self.world, column, number);
        }
        let (Stamp::Created { at_ms, .. } | Stamp::Modified { at_ms, .. }) = self.stamp else {
            return;
        };
        wire.pair("modifiedon", |wire| wire.string(&column::iso(at_ms)));
        wire.pair("modifiedby", Wire::null);
    }

    fn numbers(&self) -> impl Iterator<Item = (&'static super::table::Column, u64)> {
        let columns = self.record.table().columns;
        self.columns.iter().filter_map(move |index| {
            let column = columns.get(*index)?;
            Some((column, self.record.value(self.world, *index)))
        })
    }
}

/// Dataverse keeps the times of columns to the second.
fn seconds(unix_ms: i64) -> i64 {
    unix_ms / 1_000 * 1_000
}
