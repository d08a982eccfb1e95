//! Takes the facts of one operation, gives a RemoteExecutionContext.

use uuid::Uuid;

use super::wire::Wire;
use super::world::World;

/// One context. Lists are JSON arrays, written before.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) message: &'static str,
    /// `none` for a custom API that is bound to no table.
    pub(super) table: &'static str,
    pub(super) record: Uuid,
    pub(super) depth: u32,
    pub(super) stage: u32,
    pub(super) is_asynchronous: bool,
    /// Of an asynchronous server that is not on UTC, hours before it. Its clock then stands in
    /// `OperationCreatedOn`.
    pub(super) hours_east: i64,
    pub(super) at_ms: i64,
    pub(super) user: Uuid,
    pub(super) correlation: Uuid,
    pub(super) operation: Uuid,
    pub(super) request: Uuid,
    pub(super) step: Uuid,
    pub(super) inputs: String,
    pub(super) outputs: String,
    pub(super) shared: String,
    pub(super) pre_images: String,
    pub(super) post_images: String,
    /// Left out of the body, with inputs and images, when it is over 256 KB.
    pub(super) parent: Option<Box<Context>>,
}

const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

impl Context {
    /// The body; stripped as the platform strips one that is too big, if asked for.
    pub(super) fn body(&self, world: &World, is_truncated: bool) -> String {
        let mut wire = Wire::dataverse();
        self.write(&mut wire, world, is_truncated);
        wire.into_text()
    }

    fn write(&self, wire: &mut Wire, world: &World, is_truncated: bool) {
        wire.object(|wire| {
            wire.member("BusinessUnitId")
                .guid(world.guid("businessunit", 0));
            wire.member("CorrelationId").guid(self.correlation);
            wire.member("Depth").raw(format_args!("{}", self.depth));
            wire.member("InitiatingUserAgent").string(AGENT);
            let directory = world.guid("aad", self.user.as_u64_pair().0);
            wire.member("InitiatingUserAzureActiveDirectoryObjectId")
                .guid(directory);
            wire.member("InitiatingUserId").guid(self.user);
            if !is_truncated {
                wire.member("InputParameters")
                    .raw(format_args!("{}", self.inputs));
            }
            wire.member("IsExecutingOffline").raw(format_args!("false"));
            let in_transaction = !self.is_asynchronous;
            wire.member("IsInTransaction")
                .raw(format_args!("{in_transaction}"));
            wire.member("IsOfflinePlayback").raw(format_args!("false"));
            wire.member("IsolationMode").raw(format_args!("1"));
            wire.member("MessageName").string(self.message);
            let mode = u8::from(self.is_asynchronous);
            wire.member("Mode").raw(format_args!("{mode}"));
            self.operation_created_on(wire.member("OperationCreatedOn"));
            wire.member("OperationId").guid(self.operation);
            let organization = world.guid("organization", 0);
            wire.member("OrganizationId").guid(organization);
            let name = format!("unq{}", organization.simple());
            wire.member("OrganizationName")
                .string(name.get(..32).unwrap_or(&name));
            wire.member("OutputParameters")
                .raw(format_args!("{}", self.outputs));
            self.owning_extension(wire.member("OwningExtension"));
            if !is_truncated {
                match &self.parent {
                    Some(parent) => parent.write(wire.member("ParentContext"), world, false),
                    None => wire.member("ParentContext").null(),
                }
                wire.member("PostEntityImages")
                    .raw(format_args!("{}", self.post_images));
                wire.member("PreEntityImages")
                    .raw(format_args!("{}", self.pre_images));
            }
            wire.member("PrimaryEntityId").guid(self.record);
            wire.member("PrimaryEntityName").string(self.table);
            wire.member("RequestId").guid(self.request);
            wire.member("SecondaryEntityName").string("none");
            wire.member("SharedVariables")
                .raw(format_args!("{}", self.shared));
            wire.member("Stage").raw(format_args!("{}", self.stage));
            wire.member("UserAzureActiveDirectoryObjectId")
                .guid(directory);
            wire.member("UserId").guid(self.user);
        });
    }

    /// Synchronous: UTC to the millisecond, without an offset. Asynchronous: to the second and
    /// with an offset, and the milliseconds are those of the server's own clock.
    fn operation_created_on(&self, wire: &mut Wire) {
        if self.is_asynchronous {
            let local = self.at_ms / 1_000 * 1_000 - self.hours_east * 3_600_000;
            let (sign, hours) = (
                if self.hours_east < 0 { '-' } else { '+' },
                self.hours_east.abs(),
            );
            wire.raw(format_args!("\"\\/Date({local}{sign}{hours:02}00)\\/\""));
        } else {
            wire.date(self.at_ms);
        }
    }

    /// The step's name is there when it runs synchronously.
    fn owning_extension(&self, wire: &mut Wire) {
        let name = format!("Sluicegate: {} of {}", self.message, self.table);
        let name = match self.stage {
            30 => "ObjectModel Implementation",
            _ => name.as_str(),
        };
        wire.object(|wire| {
            let name = Some(name).filter(|_| !self.is_asynchronous);
            wire.reference_members("sdkmessageprocessingstep", self.step, name);
        });
    }
}
