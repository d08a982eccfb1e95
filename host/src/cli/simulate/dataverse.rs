//! Takes the organization and a moment, gives what one operation in Dataverse sends.

use uuid::Uuid;

use super::context::Context;
use super::custom_api;
use super::entity::{Entity, Stamp};
use super::table::Kind;
use super::wire::Wire;
use super::world::{Record, World};

/// Of a hundred events so many: the rest are updates.
const CREATES: u64 = 20;
const DELETES: u64 = 5;
const ASSIGNS: u64 = 5;
const ASSOCIATIONS: u64 = 1;
const CUSTOM_APIS: u64 = 9;
/// Of a hundred creates, updates and deletes so many are part of another operation.
const NESTED: f64 = 20.0;
const SYNCHRONOUS: f64 = 30.0;
/// Of a hundred asynchronous ones so many come from a server that is not on UTC.
const OFF_UTC: f64 = 2.0;
/// The registered images have so many of the first columns at least.
const IMAGE_COLUMNS: usize = 5;
const COUNTRY_LANGUAGE: &str = "1033";

/// The next operation.
pub(super) fn operation(world: &mut World, at_ms: i64) -> Context {
    let dice = world.below(100);
    let mut bounds = [CREATES, DELETES, ASSIGNS, ASSOCIATIONS, CUSTOM_APIS].into_iter();
    let mut under = 0;
    let mut is = || {
        under += bounds.next().unwrap_or_default();
        dice < under
    };
    if is() {
        create(world, at_ms)
    } else if is() {
        delete(world, at_ms)
    } else if is() {
        assign(world, at_ms)
    } else if is() {
        associate(world, at_ms)
    } else if is() {
        custom_api::call(world, at_ms)
    } else {
        update(world, at_ms)
    }
}

/// An operation without parameters and images.
pub(super) fn envelope(
    world: &mut World,
    message: &'static str,
    at_ms: i64,
    about: Option<Record>,
) -> Context {
    let is_asynchronous = !world.chance(SYNCHRONOUS);
    let operation = world.fresh_guid();
    let request = if is_asynchronous {
        world.fresh_guid()
    } else {
        operation
    };
    let is_off_utc = is_asynchronous && world.chance(OFF_UTC);
    let table = about.map_or("none", |record| record.table().name);
    let step = format!("step {message} {table}");
    Context {
        message,
        table,
        record: about.map_or(Uuid::nil(), |record| record.id(world)),
        depth: 1,
        stage: 40,
        is_asynchronous,
        hours_east: if is_off_utc { 2 } else { 0 },
        at_ms,
        user: world.user(),
        correlation: world.fresh_guid(),
        operation,
        request,
        step: world.guid(&step, u64::from(is_asynchronous)),
        inputs: empty(),
        outputs: empty(),
        shared: Wire::list(|wire| {
            wire.pair("IsAutoTransact", |wire| wire.raw(format_args!("true")));
            wire.pair("AcceptLang", |wire| wire.string(COUNTRY_LANGUAGE));
        }),
        pre_images: empty(),
        post_images: empty(),
        parent: None,
    }
}

pub(super) fn empty() -> String {
    "[]".to_owned()
}

fn create(world: &mut World, at_ms: i64) -> Context {
    let record = world.create();
    let mut context = envelope(world, "Create", at_ms, Some(record));
    let columns: Vec<usize> = (0..record.table().columns.len()).collect();
    let stamp = Stamp::Created {
        by: context.user,
        at_ms,
    };
    let target = Entity {
        world,
        record,
        columns,
        stamp,
    };
    context.inputs = one("Target", |wire| target.value(wire));
    context.outputs = one("id", |wire| wire.guid(context.record));
    context.post_images = Wire::list(|wire| {
        if context.is_asynchronous {
            wire.pair("AsynchronousStepPrimaryName", |wire| {
                name_only(world, record, wire)
            });
        } else {
            let columns = image_columns(record);
            let image = Entity {
                world,
                record,
                columns,
                stamp: Stamp::Nothing,
            };
            wire.pair("PostImage", |wire| image.image(wire));
        }
    });
    nest(world, &mut context, record, None);
    context
}

fn update(world: &mut World, at_ms: i64) -> Context {
    let record = world.update();
    let mut context = envelope(world, "Update", at_ms, Some(record));
    let stamp = Stamp::Modified {
        by: context.user,
        at_ms,
    };
    let columns = changed(record);
    let target = Entity {
        world,
        record,
        columns,
        stamp,
    };
    context.inputs = one("Target", |wire| target.value(wire));
    let image = |record| Entity {
        world,
        record,
        columns: image_columns(record),
        stamp: Stamp::Nothing,
    };
    context.pre_images = one("PreImage", |wire| image(record.before()).image(wire));
    context.post_images = Wire::list(|wire| {
        if context.is_asynchronous {
            wire.pair("AsynchronousStepPrimaryName", |wire| {
                name_only(world, record, wire)
            });
        }
        wire.pair("PostImage", |wire| image(record).image(wire));
    });
    nest(world, &mut context, record, Some(changed(record)));
    context
}

fn delete(world: &mut World, at_ms: i64) -> Context {
    let record = world.delete();
    let mut context = envelope(world, "Delete", at_ms, Some(record));
    context.inputs = one("Target", |wire| {
        wire.reference(context.table, context.record)
    });
    let image = Entity {
        world,
        record,
        columns: image_columns(record),
        stamp: Stamp::Nothing,
    };
    context.pre_images = Wire::list(|wire| {
        if context.is_asynchronous {
            wire.pair("AsynchronousStepPrimaryName", |wire| {
                name_only(world, record, wire)
            });
        }
        wire.pair("PreImage", |wire| image.image(wire));
    });
    if world.chance(NESTED) {
        context.depth = 2;
        let mut parent = main_operation(world, &context);
        parent.message = "BulkDelete";
        parent.inputs = one("QuerySet", |wire| {
            wire.array(|wire| custom_api::query(wire.item(), record.table(), at_ms));
        });
        context.parent = Some(Box::new(parent));
    }
    context
}

fn assign(world: &mut World, at_ms: i64) -> Context {
    let record = world.some_record();
    let mut context = envelope(world, "Assign", at_ms, Some(record));
    let assignee = world.user();
    context.inputs = Wire::list(|wire| {
        wire.pair("Target", |wire| {
            wire.reference(context.table, context.record)
        });
        wire.pair("Assignee", |wire| wire.reference("systemuser", assignee));
    });
    context.pre_images = one("AsynchronousStepPrimaryName", |wire| {
        name_only(world, record, wire)
    });
    context
}

fn associate(world: &mut World, at_ms: i64) -> Context {
    let record = world.some_record();
    let mut context = envelope(world, "Associate", at_ms, Some(record));
    let related: Vec<u64> = (0..=world.below(3)).collect();
    context.inputs = Wire::list(|wire| {
        wire.pair("Target", |wire| {
            wire.reference(context.table, context.record)
        });
        wire.pair("Relationship", |wire| {
            wire.object(|wire| {
                wire.contract("Relationship");
                wire.member("PrimaryEntityRole").null();
                wire.member("SchemaName").string("contoso_record_campaign");
            });
        });
        wire.pair("RelatedEntities", |wire| {
            wire.array(|wire| {
                for number in related {
                    wire.item()
                        .reference("campaign", world.guid("campaign", number));
                }
            });
        });
    });
    context
}

/// Puts some of the operations into the main operation that they belong to, which repeats the
/// request: the body grows by about its half to its double.
fn nest(world: &mut World, context: &mut Context, record: Record, columns: Option<Vec<usize>>) {
    if !world.chance(NESTED) {
        return;
    }
    let columns = columns.unwrap_or_else(|| (0..record.table().columns.len()).collect());
    let request = Entity {
        world,
        record,
        columns,
        stamp: Stamp::Nothing,
    };
    let inputs = Wire::list(|wire| {
        wire.pair("Target", |wire| request.value(wire));
        wire.pair("SuppressDuplicateDetection", |wire| {
            wire.raw(format_args!("false"))
        });
    });
    let mut parent = main_operation(world, context);
    parent.inputs = inputs;
    parent.post_images.clone_from(&context.post_images);
    parent.shared = changed_entity_types(context.table);
    context.parent = Some(Box::new(parent));
}

/// The operation of stage 30 that a step of stage 40 hangs on.
fn main_operation(world: &mut World, context: &Context) -> Context {
    Context {
        stage: 30,
        step: world.guid("main operation", 0),
        inputs: empty(),
        outputs: empty(),
        pre_images: empty(),
        post_images: empty(),
        parent: None,
        ..context.clone()
    }
}

/// A dictionary of .NET's, whose pairs have a `__type` of their own.
fn changed_entity_types(table: &str) -> String {
    one("ChangedEntityTypes", |wire| {
        wire.array(|wire| {
            wire.item().object(|wire| {
                let name = "KeyValuePairOfstringstring:#System.Collections.Generic";
                wire.member("__type").string(name);
                wire.member("key").string(table);
                wire.member("value").string("Update");
            });
        });
    })
}

/// The image that the platform adds to asynchronous steps.
fn name_only(world: &World, record: Record, wire: &mut Wire) {
    let image = Entity {
        world,
        record,
        columns: vec![0],
        stamp: Stamp::Nothing,
    };
    image.image(wire);
}

fn changed(record: Record) -> Vec<usize> {
    let columns = 0..record.table().columns.len();
    columns.filter(|column| record.changes(*column)).collect()
}

/// Of one table more, of another fewer; nobody registers an image with long texts.
fn image_columns(record: Record) -> Vec<usize> {
    let table = record.table();
    let count = IMAGE_COLUMNS + table.name.len() % 4 * 2;
    let columns = table.columns.iter().enumerate().take(count);
    columns
        .filter(|(_, column)| !matches!(column.kind, Kind::Prose(_)))
        .map(|(index, _)| index)
        .collect()
}

pub(super) fn one(key: &str, value: impl FnOnce(&mut Wire)) -> String {
    Wire::list(|wire| wire.pair(key, value))
}
