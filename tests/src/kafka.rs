//! Takes the Kafka broker's binary, gives one of the test's own, and what a producer and a reader of it do.
//!
//! The broker is Tansu, which keeps everything in an object store: here the test's own, so that
//! it can be killed and brought back.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::broker::free_port;
use crate::environment;
use crate::events::Input;
use crate::objects::Objects;
use crate::outputs::Echo;
use crate::process::{Process, command};
use crate::wait::until;

/// Records of a producer that are on their way at a time.
const OUTSTANDING: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A broker that speaks the Kafka protocol, on a port of its own, with a store that survives its
/// death.
#[derive(Debug)]
pub struct KafkaBroker {
    folder: TempDir,
    port: u16,
    /// Where clients are told to find it.
    advertised: u16,
    objects: Objects,
    process: Option<Process>,
}

/// A record as it stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Option<String>,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Where it stands.
    pub partition: i32,
    /// In which place.
    pub offset: i64,
}

impl KafkaBroker {
    /// Starts one; none where it was not built, which is told.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start() -> Result<Option<Self>> {
        let Some(_) = environment::outsider("SLUICE_KAFKA_BROKER") else {
            return Ok(None);
        };
        let mut broker = Self {
            folder: TempDir::with_prefix("sluice-kafka-")?,
            port: free_port()?,
            advertised: 0,
            objects: Objects::start().await?,
            process: None,
        };
        broker.advertised = broker.port;
        broker.restart().await?;
        Ok(Some(broker))
    }

    /// Has it tell its clients to come to another port, in front of it.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn behind(&mut self, port: u16) -> Result<()> {
        self.advertised = port;
        self.restart().await
    }

    /// Kills it where it runs, and starts it on the same port and the same store.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9().await;
        let program = environment::outsider("SLUICE_KAFKA_BROKER").context("no broker")?;
        let log = self.folder.path().join("broker.log");
        until("the Kafka broker to come up", 30, async || {
            let mut broker = command(&program);
            broker.args(["broker", "--silent", "--cluster-id", "tests"]);
            broker.arg("--listener-url");
            broker.arg(format!("tcp://127.0.0.1:{}", self.port));
            broker.arg("--advertised-listener-url");
            broker.arg(format!("tcp://127.0.0.1:{}", self.advertised));
            broker.args(["--storage-engine", "s3://tests/"]);
            broker.envs(self.objects.environment());
            let mut process = Process::start("the Kafka broker", broker, &log)?;
            let up = until("it to answer", 10, async || {
                if let Some(status) = process.ended()? {
                    return Ok(Err(status));
                }
                tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
                Ok(Ok(()))
            });
            match up.await? {
                Ok(()) => self.process = Some(process),
                Err(status) => bail!("it ended with {status}: {}", std::fs::read_to_string(&log)?),
            }
            Ok(())
        })
        .await
    }

    /// SIGKILL.
    pub async fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            self.objects.quiet().await;
            process.kill9();
            self.objects.client_is_dead();
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.address());
        client.set("reconnect.backoff.max.ms", "500");
        client
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<()> {
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        // It has been seen to leave a request without an answer.
        until("the topic to be made", 30, async || {
            let admin: AdminClient<DefaultClientContext> = self.client().create()?;
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            for made in admin.create_topics(&[topic], &options).await? {
                match made {
                    Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((topic, code)) => bail!("{topic}: {code}"),
                }
            }
            Ok(())
        })
        .await
    }

    /// An idempotent producer, which waits for everything that breaks.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn producer(&self) -> Result<FutureProducer> {
        let mut client = self.client();
        client.set("enable.idempotence", "true");
        client.set("message.timeout.ms", "120000");
        client.set("linger.ms", "5");
        Ok(client.create()?)
    }

    /// Everything that stands in a topic, partition by partition.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn records(&self, topic: &str) -> Result<Vec<Record>> {
        let mut client = self.client();
        client.set("group.id", "the-test-reads");
        client.set("enable.auto.commit", "false");
        client.set("enable.partition.eof", "true");
        client.set("auto.offset.reset", "earliest");
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || read_all(&client, &topic)).await?
    }

    /// At which offsets a group has everything, all partitions together. The broker's own word
    /// for it counts batches and not records, so that the records are read.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn end(&self, topic: &str) -> Result<i64> {
        let mut ends = BTreeMap::new();
        for record in self.records(topic).await? {
            let end = ends.entry(record.partition).or_insert(0);
            *end = (*end).max(record.offset + 1);
        }
        Ok(ends.into_values().sum())
    }

    /// What a group has committed of a topic, all partitions together.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> Result<i64> {
        let mut client = self.client();
        client.set("group.id", group);
        let topic = topic.to_owned();
        let asked = move || {
            let consumer: BaseConsumer = client.create()?;
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&topic, 0, partitions - 1);
            let found = consumer.committed_offsets(list, PATIENCE)?;
            let offsets = found.elements().into_iter();
            let sum = offsets.filter_map(|element| element.offset().to_raw());
            anyhow::Ok(sum.filter(|offset| 0 <= *offset).sum())
        };
        tokio::task::spawn_blocking(asked).await?
    }
}

/// Writes events in binary mode, by their keys and in the given order, with a pause after each
/// hundred, and waits until the broker has all.
///
/// # Errors
/// When one is not taken.
pub async fn produce(
    producer: &FutureProducer,
    topic: &str,
    inputs: &[Input],
    pause: Duration,
) -> Result<()> {
    let mut reports = FuturesUnordered::new();
    for (index, input) in inputs.iter().enumerate() {
        let record = FutureRecord::to(topic)
            .key(&input.key)
            .payload(&*input.message.body)
            .headers(headers(input));
        let report = producer.send_result(record);
        reports.push(report.map_err(|(error, _)| error)?);
        if OUTSTANDING <= reports.len()
            && let Some(report) = reports.next().await
        {
            report?.map_err(|(error, _)| error)?;
        }
        if index % 100 == 99 && !pause.is_zero() {
            sleep(pause).await;
        }
    }
    while let Some(report) = reports.next().await {
        report?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// Writes one record, and waits until the broker has it.
///
/// # Errors
/// When it does not take it.
pub async fn write(
    producer: &FutureProducer,
    topic: &str,
    (key, headers): (Option<&str>, &[(&str, &str)]),
    value: Option<&[u8]>,
) -> Result<()> {
    let mut all = OwnedHeaders::new();
    for (key, value) in headers {
        let value = Some(*value);
        all = all.insert(Header { key, value });
    }
    let mut record = FutureRecord::to(topic).headers(all);
    record.key = key;
    record.payload = value;
    let report = producer.send_result(record).map_err(|(error, _)| error)?;
    report.await?.map_err(|(error, _)| error)?;
    Ok(())
}

fn headers(input: &Input) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    for (name, values) in input.message.headers.iter() {
        let name: &str = name.as_ref();
        let key = match name.strip_prefix("ce-") {
            Some("datacontenttype") => "content-type".to_owned(),
            Some(attribute) => format!("ce_{attribute}"),
            None => name.to_owned(),
        };
        for value in values {
            let value = Some(value.as_str());
            headers = headers.insert(Header { key: &key, value });
        }
    }
    headers
}

fn read_all(client: &ClientConfig, topic: &str) -> Result<Vec<Record>> {
    let consumer: BaseConsumer = client.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let topics = metadata.topics().iter();
    let partitions: Vec<i32> = topics
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    let mut ended = 0;
    consumer.assign(&list)?;
    let mut records = Vec::new();
    let mut end = Instant::now() + PATIENCE * 4;
    while ended < partitions.len() {
        ensure!(Instant::now() < end, "{topic} cannot be read to its end");
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => {
                end = Instant::now() + PATIENCE * 4;
                let headers = message.headers().into_iter().flat_map(|all| all.iter());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                records.push(Record {
                    key: message.key().map(text),
                    headers: headers
                        .map(|header| (header.key.to_owned(), text(header.value.unwrap_or(b""))))
                        .collect(),
                    value: message.payload().map(<[u8]>::to_vec),
                    partition: message.partition(),
                    offset: message.offset(),
                });
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => eprintln!("reading {topic}: {error}"),
        }
    }
    Ok(records)
}

impl Record {
    /// What the event of an [`Input`] says of itself.
    ///
    /// # Errors
    /// When it is none.
    pub fn echo(&self) -> Result<Echo> {
        let header = |name: &str| {
            let found = self.headers.get(name).cloned();
            found.with_context(|| format!("no {name} in {self:?}"))
        };
        let value = self.value.as_deref().unwrap_or_default();
        let data: serde_json::Value = serde_json::from_slice(value)?;
        Ok(Echo {
            input: header("ce_id")?,
            key: self.key.clone().context("no key")?,
            n: data.get("n").and_then(|n| n.as_u64()).context("no n")?,
        })
    }
}

/// Outputs without those that came again: a reader tells them by their ids. Gives how many came
/// again, too.
pub fn without_repeats(outputs: Vec<Echo>) -> (Vec<Echo>, usize) {
    let all = outputs.len();
    let mut seen = HashSet::new();
    let mut outputs = outputs;
    outputs.retain(|output| seen.insert(output.input.clone()));
    let repeats = all - outputs.len();
    (outputs, repeats)
}
