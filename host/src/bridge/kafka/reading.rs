//! Takes a topic on a thread of its own, gives its records, and commits what is settled.

use std::sync::mpsc as back;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Ear;
use super::offsets::{Offsets, Place};
use crate::bridge::intake::Intake;

/// Records that are read and not settled.
const MOST_OPEN: usize = 4_000;
/// Bytes of them.
const MOST_BYTES: usize = 64 << 20;
/// At most so long nothing else is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Between two commits.
const COMMIT: Duration = Duration::from_millis(200);
/// So long the event store may hold the reader up; then the partitions are paused, since a group
/// takes a member that does not poll for a dead one.
const HOLD: Duration = Duration::from_secs(5);
/// So long partitions that go to another host wait for what is open of them.
const GIVE_UP: Duration = Duration::from_secs(5);
/// How often a broker that was away is looked for, and for how long.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// One record.
pub(super) struct Read {
    /// What is settled when the event store has it.
    pub(super) place: Place,
    /// Keys and values.
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
    /// What orders it.
    pub(super) key: Option<Vec<u8>>,
    /// Empty where there is none.
    pub(super) value: Bytes,
}

impl Read {
    fn of(message: &BorrowedMessage<'_>, place: Place) -> Self {
        let headers = message.headers();
        let headers = headers.into_iter().flat_map(|headers| headers.iter());
        Self {
            place,
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            key: message.key().map(<[u8]>::to_vec),
            value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        }
    }
}

/// A member of a consumer group.
pub(super) struct Reader {
    consumer: BaseConsumer<Group>,
    topic: String,
}

/// What the reader and the client's callbacks share; both are on the reader's thread.
struct Group {
    ear: Ear,
    intake: Intake,
    topic: String,
    state: Mutex<State>,
}

struct State {
    offsets: Offsets,
    settling: back::Receiver<Place>,
    open: usize,
    bytes: usize,
    works: bool,
}

impl Reader {
    /// Joins the group, in the background.
    pub(super) fn new(
        (settings, topic): (&ClientConfig, &str),
        ear: Ear,
        settling: back::Receiver<Place>,
        intake: Intake,
    ) -> Result<Self, String> {
        let state = State {
            offsets: Offsets::default(),
            settling,
            open: 0,
            bytes: 0,
            works: false,
        };
        let group = Group {
            ear,
            intake,
            topic: topic.to_owned(),
            state: Mutex::new(state),
        };
        let consumer: BaseConsumer<Group> = settings
            .create_with_context(group)
            .map_err(|error| format!("the client cannot be set up: {error}"))?;
        consumer
            .subscribe(&[topic])
            .map_err(|error| format!("{topic} cannot be subscribed to: {error}"))?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
        })
    }

    /// Reads until `stop`, or until nobody takes records any more; commits what is settled until
    /// nothing more will be, and leaves the group.
    ///
    /// # Errors
    /// What the client does not get over.
    pub(super) fn run(
        self,
        records: UnboundedSender<Read>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let ended = self.read(&records, stop);
        drop(records);
        let mut committed = Instant::now();
        while self.group().settle(LOOK) {
            self.commit(&mut committed);
        }
        self.group().commit_now(&self.consumer);
        ended
    }

    fn read(
        &self,
        records: &UnboundedSender<Read>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let group = self.group();
        let mut committed = Instant::now();
        let mut full_since: Option<Instant> = None;
        let mut is_paused = false;
        let mut looked_for = Instant::now();
        while !stop.is_cancelled() && !records.is_closed() {
            self.commit(&mut committed);
            let open = group.open();
            if open.is_full() && !is_paused {
                let since = *full_since.get_or_insert_with(Instant::now);
                if since.elapsed() < HOLD {
                    group.settle(LOOK);
                    continue;
                }
                tracing::debug!(topic = self.topic, "paused: the event store is behind");
                is_paused = self.pause();
            }
            if !open.is_full() {
                full_since = None;
            }
            if is_paused && open.is_low() {
                is_paused = !self.resume();
            }
            match self.consumer.poll(LOOK) {
                None => {}
                Some(Ok(message)) => {
                    group.works();
                    if is_paused {
                        // Of a partition that came meanwhile.
                        self.pause();
                    }
                    let (partition, offset) = (message.partition(), message.offset());
                    let place = group.read(partition, offset, message.payload_len());
                    // Where nobody takes it, it is not settled.
                    let _ = records.send(Read::of(&message, place));
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(format!("the consumer has ended: {code}"));
                }
                Some(Err(error)) => group.fails(&error.to_string()),
            }
            if !group.is_working() && LOOK_FOR < looked_for.elapsed() {
                looked_for = Instant::now();
                self.look_for();
            }
        }
        Ok(())
    }

    fn group(&self) -> &Group {
        self.consumer.context()
    }

    fn commit(&self, committed: &mut Instant) {
        self.group().settle(Duration::ZERO);
        if COMMIT < committed.elapsed() {
            *committed = Instant::now();
            self.group().commit_now(&self.consumer);
        }
    }

    fn pause(&self) -> bool {
        let all = self.consumer.assignment();
        all.and_then(|all| self.consumer.pause(&all)).is_ok()
    }

    fn resume(&self) -> bool {
        let all = self.consumer.assignment();
        all.and_then(|all| self.consumer.resume(&all)).is_ok()
    }

    /// After trouble: no event says that it is over.
    fn look_for(&self) {
        let found = self
            .consumer
            .fetch_metadata(Some(&self.topic), LOOK_FOR / 2);
        let there = found.is_ok_and(|found| {
            let mut topics = found.topics().iter();
            topics.any(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        });
        if there {
            self.group().works();
        }
    }
}

/// What is under way.
#[derive(Clone, Copy)]
struct Open {
    records: usize,
    bytes: usize,
}

impl Open {
    fn is_full(self) -> bool {
        MOST_OPEN <= self.records || MOST_BYTES <= self.bytes
    }

    fn is_low(self) -> bool {
        self.records <= MOST_OPEN / 2 && self.bytes <= MOST_BYTES / 2
    }
}

impl Group {
    fn read(&self, partition: i32, offset: i64, bytes: usize) -> Place {
        let mut state = self.state.lock();
        state.open += 1;
        state.bytes += bytes;
        state.offsets.read(partition, offset, bytes)
    }

    fn open(&self) -> Open {
        let state = self.state.lock();
        Open {
            records: state.open,
            bytes: state.bytes,
        }
    }

    /// Takes what is settled, and waits so long for the first of it. False when nothing more
    /// will be.
    fn settle(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let first = match state.settling.recv_timeout(patience) {
            Ok(place) => place,
            Err(back::RecvTimeoutError::Timeout) => return true,
            Err(back::RecvTimeoutError::Disconnected) => return false,
        };
        state.done(first);
        while let Ok(place) = state.settling.try_recv() {
            state.done(place);
        }
        true
    }

    /// Asks the broker to keep what became committable, and does not wait for it.
    fn commit_now(&self, consumer: &BaseConsumer<Self>) {
        let found = self.state.lock().offsets.committable();
        if found.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(found.len());
        let mut added = Ok(());
        for (partition, offset) in found {
            let offset = Offset::Offset(offset);
            added = added.and(list.add_partition_offset(&self.topic, partition, offset));
        }
        let asked = added.and_then(|()| consumer.commit(&list, CommitMode::Async));
        if let Err(error) = asked {
            self.not_committed(&error);
        }
    }

    fn not_committed(&self, error: &KafkaError) {
        tracing::debug!(bridge = &*self.ear.bridge, %error, "not committed: again later");
        self.state.lock().offsets.not_committed();
    }

    fn is_working(&self) -> bool {
        self.state.lock().works
    }

    fn works(&self) {
        let mut state = self.state.lock();
        if !state.works {
            state.works = true;
            drop(state);
            self.intake.works();
        }
    }

    fn fails(&self, error: &str) {
        self.state.lock().works = false;
        tracing::warn!(
            bridge = &*self.ear.bridge,
            error,
            "kafka: not to be read now"
        );
        self.intake.fails(error.to_owned());
    }

    /// Waits a while for what is open of partitions that another host will read, and forgets
    /// them.
    fn give_up(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let elements = list.elements();
        let partitions: Vec<i32> = elements.iter().map(|element| element.partition()).collect();
        let is_open = || {
            let state = self.state.lock();
            let open = |partition: &i32| 0 < state.offsets.open_of(*partition);
            partitions.iter().any(open)
        };
        let end = Instant::now() + GIVE_UP;
        while is_open() && Instant::now() < end && self.settle(LOOK) {}
        self.settle(Duration::ZERO);
        if !consumer.assignment_lost() {
            self.commit_now(consumer);
        }
        let mut state = self.state.lock();
        for partition in partitions {
            state.offsets.forget(partition);
        }
    }
}

impl State {
    fn done(&mut self, place: Place) {
        self.open = self.open.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(place.bytes);
        self.offsets.done(place);
    }
}

impl ClientContext for Group {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.ear.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.ear.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.ear.generate_oauth_token(config)
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let bridge = &*self.ear.bridge;
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::info!(bridge, partitions = list.count(), "reads from Kafka");
                self.works();
            }
            Rebalance::Revoke(list) => {
                tracing::info!(bridge, partitions = list.count(), "gives partitions up");
                self.give_up(consumer, list);
            }
            Rebalance::Error(error) => self.fails(&error.to_string()),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            self.not_committed(&error);
        }
    }
}
