//! Takes the registry, gives what a host knows of each type: its versions, and the ways between them.
//!
//! A body is read once for a number of its structure; what was found out about a structure holds
//! for every body that has it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{Operation, Watch};
use futures_util::StreamExt as _;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use sluicegate_schema::{Drift, Shape, Upcast, UpcastError, structure};
use tokio::time::sleep;

use super::registry::{self, Error, Version, bucket, uri};
use super::upcasts::{self, Record};

/// Structures of a type of which it is known what they fit.
const MAX_STRUCTURES: usize = 4_096;
/// Versions of a type that a body is held against: the newest ones.
const MAX_VERSIONS: usize = 32;
/// Misfits that are told of one body.
const MAX_TOLD: usize = 3;
const AGAIN: Duration = Duration::from_secs(2);

/// What a host knows of the registry. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Known {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    types: RwLock<HashMap<String, Arc<OfType>>>,
    is_read: AtomicBool,
}

/// What is known of one type.
#[derive(Debug, Default)]
pub struct OfType {
    versions: BTreeMap<u32, Arc<Shape>>,
    /// By the version that they lead to.
    upcasts: BTreeMap<u32, Arc<Upcast>>,
    /// By structure.
    standings: Mutex<HashMap<u64, Arc<Standing>>>,
}

/// Which versions a body is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The number of its structure.
    pub structure: u64,
    /// The newest first; with how many things each has that the version does not know.
    fits: Vec<(u32, usize)>,
    /// Where it fits none: what the newest has otherwise.
    pub misfits: String,
}

impl Standing {
    /// The version that it is one of: the one that its sender names, where it fits that; else
    /// the one that knows most of it, the newest of several. None where it fits none.
    pub fn newest(&self, named: Option<u32>) -> Option<u32> {
        self.named(named)
            .or_else(|| best(self.fits.iter().copied()))
    }

    /// The same, the oldest of several: a version that was learnt beside what was known takes
    /// older bodies too.
    pub fn oldest(&self, named: Option<u32>) -> Option<u32> {
        self.named(named)
            .or_else(|| best(self.fits.iter().rev().copied()))
    }

    fn named(&self, named: Option<u32>) -> Option<u32> {
        let is_named = |(version, _): &(u32, usize)| Some(*version) == named;
        named.filter(|_| self.fits.iter().any(is_named))
    }
}

/// Of several that know the same of it, the first.
fn best(fits: impl Iterator<Item = (u32, usize)>) -> Option<u32> {
    let best = fits.min_by_key(|(_, unknown)| *unknown);
    best.map(|(version, _)| version)
}

impl OfType {
    /// The newest version.
    pub fn newest(&self) -> Option<(u32, &Arc<Shape>)> {
        let newest = self.versions.last_key_value();
        newest.map(|(version, shape)| (*version, shape))
    }

    /// The version that an event's `dataschema` names.
    pub fn named(&self, event_type: &str, dataschema: Option<&str>) -> Option<u32> {
        let (_, number) = dataschema?.rsplit_once(':')?;
        let number: u32 = number.parse().ok()?;
        (Some(uri(event_type, number).as_str()) == dataschema).then_some(number)
    }

    /// Which versions a body is one of; none where it is no JSON.
    pub fn standing(&self, body: &[u8]) -> Option<Arc<Standing>> {
        let number = structure(body).ok()?;
        if let Some(known) = self.standings.lock().get(&number) {
            return Some(Arc::clone(known));
        }
        let body = serde_json::from_slice(body).ok()?;
        let standing = Arc::new(self.compare(number, &body));
        let mut standings = self.standings.lock();
        if MAX_STRUCTURES <= standings.len() {
            standings.clear();
        }
        standings.insert(number, Arc::clone(&standing));
        Some(standing)
    }

    fn compare(&self, structure: u64, body: &Value) -> Standing {
        let mut fits = Vec::new();
        let mut misfits = None;
        for (version, shape) in self.versions.iter().rev().take(MAX_VERSIONS) {
            let found = shape.misfits(body);
            if found.is_empty() {
                fits.push((*version, shape.drift(body).len()));
            } else if misfits.is_none() {
                misfits = Some(told(*version, &found));
            }
        }
        Standing {
            structure,
            fits,
            misfits: misfits.unwrap_or_default(),
        }
    }

    /// What a body has otherwise than this version says, in words; nothing where it fits.
    pub fn misfits(&self, body: &Value, version: u32) -> Option<String> {
        let found = self.versions.get(&version)?.misfits(body);
        (!found.is_empty()).then(|| told(version, &found))
    }

    /// Whether there is such a version.
    pub fn has(&self, version: u32) -> bool {
        self.versions.contains_key(&version)
    }

    /// The same with another way to a version.
    pub fn with_upcast(&self, version: u32, upcast: Upcast) -> Self {
        self.with(|of_type| {
            of_type.upcasts.insert(version, Arc::new(upcast));
        })
    }

    /// Whether there is a way from one version to a later one that changes anything.
    pub fn leads(&self, from: u32, to: u32) -> bool {
        from < to && self.upcasts.range(from + 1..=to).next().is_some()
    }

    /// Makes a body of one version one of a later one.
    ///
    /// # Errors
    /// When a value of it cannot be written as the later version has it.
    pub fn upcast(&self, body: &mut Value, from: u32, to: u32) -> Result<(), UpcastError> {
        let mut steps = self.upcasts.range(from + 1..=to);
        steps.try_for_each(|(_, upcast)| upcast.apply(body))
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.versions == other.versions && self.upcasts == other.upcasts
    }

    /// With the same and one more; what was found out of bodies does not hold any more.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = Self {
            versions: self.versions.clone(),
            upcasts: self.upcasts.clone(),
            standings: Mutex::default(),
        };
        change(&mut next);
        next
    }
}

/// What a body has otherwise, in a line, without its values: they are a customer's.
fn told(version: u32, misfits: &[Drift]) -> String {
    let words = misfits.iter().take(MAX_TOLD).map(|drift| {
        let Drift {
            path,
            kind,
            was,
            is,
            ..
        } = drift;
        format!("{path} is {} ({was}, found {is})", kind.as_str())
    });
    let words: Vec<String> = words.collect();
    let more = match misfits.len().saturating_sub(MAX_TOLD) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("version {version}: {}{more}", words.join(", "))
}

impl Known {
    /// What is known of a type that has a schema.
    pub fn of_type(&self, event_type: &str) -> Option<Arc<OfType>> {
        self.inner.types.read().get(event_type).cloned()
    }

    /// Whether a type has a schema.
    pub fn has(&self, event_type: &str) -> bool {
        self.inner.types.read().contains_key(event_type)
    }

    /// Whether no type has one.
    pub fn is_empty(&self) -> bool {
        self.inner.types.read().is_empty()
    }

    /// Whether the registry was read since the start: a type without a schema has none then.
    pub fn is_read(&self) -> bool {
        self.inner.is_read.load(Ordering::Acquire)
    }

    /// Takes what the registry has for all that there is. What was found out about a type that has
    /// not changed stays.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self, context: &Context) -> Result<(), Error> {
        let found = Self::default();
        let versions = registry::versions(context, None).await?;
        for version in versions.values().flat_map(BTreeMap::values) {
            found.learn(version);
        }
        for record in upcasts::list(context, None).await? {
            found.take(&record);
        }
        let mut found = std::mem::take(&mut *found.inner.types.write());
        let mut types = self.inner.types.write();
        for (event_type, of_type) in &mut found {
            if let Some(before) = types.get(event_type)
                && before.says_the_same(of_type)
            {
                *of_type = Arc::clone(before);
            }
        }
        *types = found;
        self.inner.is_read.store(true, Ordering::Release);
        Ok(())
    }

    /// Keeps up with the registry for ever, from what [`Known::begin`] gave on where that did.
    pub async fn follow(&self, context: &Context, begun: Option<Watch>) {
        let mut begun = begun.map(Ok);
        loop {
            let changes = match begun.take() {
                Some(changes) => changes,
                None => self.begin(context).await,
            };
            match changes {
                Ok(mut changes) => {
                    while let Some(Ok(entry)) = changes.next().await {
                        self.changed(&entry.key, &entry.value, entry.operation);
                    }
                }
                Err(error) => tracing::debug!(%error, "schemas are not known yet"),
            }
            sleep(AGAIN).await;
        }
    }

    /// Reads the registry, and gives what changes from then on. Watches first, so that nothing falls
    /// between.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn begin(&self, context: &Context) -> Result<Watch, Error> {
        let bucket = bucket(context).await?;
        let changes = bucket.watch_many(["version.*.*", "upcast.*.*"]).await;
        let changes = changes.map_err(|error| Error::Bucket(error.to_string()))?;
        self.read(context).await?;
        Ok(changes)
    }

    fn changed(&self, key: &str, value: &[u8], operation: Operation) {
        if operation != Operation::Put {
            return self.gone(key);
        }
        if let Ok(version) = serde_json::from_slice::<Version>(value)
            && key.starts_with("version.")
        {
            self.learn(&version);
        } else if let Ok(record) = serde_json::from_slice::<Record>(value) {
            self.take(&record);
        }
    }

    fn learn(&self, version: &Version) {
        let Ok(shape) = version.shape() else {
            tracing::warn!(
                event_type = version.event_type,
                version = version.version,
                "a schema of the registry cannot be read"
            );
            return;
        };
        self.change(&version.event_type, |of_type| {
            of_type.versions.insert(version.version, Arc::new(shape));
        });
    }

    fn take(&self, record: &Record) {
        match record.upcast() {
            Ok(upcast) => self.change(&record.event_type, |of_type| {
                of_type.upcasts.insert(record.version, Arc::new(upcast));
            }),
            Err(error) => tracing::warn!(%error, "an upcast of the registry cannot be read"),
        }
    }

    /// An upcast was taken away; versions stay.
    fn gone(&self, key: &str) {
        let types: Vec<String> = self.inner.types.read().keys().cloned().collect();
        for event_type in types {
            let of_type = self.of_type(&event_type);
            let mut versions = of_type.iter().flat_map(|one| one.upcasts.keys().copied());
            let gone = versions.find(|version| upcasts::key(&event_type, *version) == key);
            if let Some(version) = gone {
                self.change(&event_type, |of_type| {
                    of_type.upcasts.remove(&version);
                });
            }
        }
    }

    fn change(&self, event_type: &str, change: impl FnOnce(&mut OfType)) {
        let mut types = self.inner.types.write();
        let next = match types.get(event_type) {
            Some(before) => before.with(change),
            None => OfType::default().with(change),
        };
        types.insert(event_type.to_owned(), Arc::new(next));
    }
}

#[cfg(test)]
impl Known {
    /// Of one type with the shapes of these bodies as versions, and these upcasts.
    pub(super) fn of(event_type: &str, bodies: &[Value], upcasts: &[(u32, Value)]) -> Self {
        let schemas = bodies.iter().map(|body| {
            let mut shape = Shape::of(body);
            shape.settle(1);
            shape.schema(event_type)
        });
        let known = Self::default();
        known.of_versions(event_type, &schemas.collect::<Vec<_>>());
        for (version, steps) in upcasts {
            known.of_upcast(event_type, *version, steps.clone());
        }
        known
    }

    /// Takes these schemas for the versions of a type.
    pub(super) fn of_versions(&self, event_type: &str, schemas: &[Value]) {
        for (index, schema) in schemas.iter().enumerate() {
            self.learn(&Version {
                event_type: event_type.to_owned(),
                version: u32::try_from(index + 1).expect("few"),
                origin: "learnt".to_owned(),
                since: String::new(),
                seen: 1,
                schema: schema.clone(),
            });
        }
        self.inner.is_read.store(true, Ordering::Release);
    }

    /// Takes these steps for the way to a version.
    pub(super) fn of_upcast(&self, event_type: &str, version: u32, steps: Value) {
        self.take(&Record {
            event_type: event_type.to_owned(),
            version,
            since: String::new(),
            steps,
        });
    }
}
