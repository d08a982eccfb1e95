//! Takes a gateway's address, gives how many posts it took and how long each of them waited.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until};

use crate::body::Template;
use crate::http::Connection;

/// Latencies are whole microseconds up to a minute, to three digits.
const LONGEST: u64 = 60_000_000;

/// How far behind its schedule an open loop may come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where to post.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    /// Path and query.
    pub(crate) path: &'a str,
}

/// What a measure saw.
pub(crate) struct Seen {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// From the first post to the last answer.
    pub(crate) took: Duration,
    /// Closed loop: from sending. Open loop: from the moment at which it should have been sent.
    pub(crate) latency: Histogram<u64>,
    /// Open loop: how much later than it should each post was sent.
    pub(crate) late: Histogram<u64>,
}

impl Seen {
    /// Posts that were answered with 202.
    pub(crate) fn accepted(&self) -> u64 {
        self.statuses.get(&202).copied().unwrap_or_default()
    }

    /// 202s a second.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted() as f64 / self.took.as_secs_f64()
    }
}

/// Each connection posts its next body as soon as its last one is answered.
///
/// `numbers` is the first number that was not posted yet, and is moved on.
pub(crate) async fn closed(
    target: Target<'_>,
    template: &Rc<Template>,
    connections: usize,
    time: Duration,
    numbers: &mut u64,
) -> Result<Seen> {
    let run = Run::new(*numbers);
    let end = Instant::now() + time;
    let seen = drive(target, template, connections, &run, move |run| {
        let now = Instant::now();
        (now < end).then(|| (run.next(), now))
    })
    .await?;
    *numbers = run.number.get();
    Ok(seen)
}

/// Posts leave at `rate` a second whatever the answers do, and latency counts from the
/// moment that this schedule asks for, so that a gateway that stalls cannot hide it.
///
/// What could not be sent until [`PATIENCE`] after the schedule's end counts as answered then.
pub(crate) async fn open(
    target: Target<'_>,
    template: &Rc<Template>,
    connections: usize,
    rate: f64,
    time: Duration,
    numbers: &mut u64,
) -> Result<Seen> {
    let run = Run::new(*numbers);
    let (first, start) = (*numbers, Instant::now() + Duration::from_millis(20));
    let posts = (rate * time.as_secs_f64()) as u64;
    let due = move |index: u64| start + Duration::from_secs_f64(index as f64 / rate);
    let end = start + time + PATIENCE;
    let mut seen = drive(target, template, connections, &run, move |run| {
        let index = run.number.get() - first;
        (index < posts && Instant::now() < end).then(|| (run.next(), due(index)))
    })
    .await?;
    *numbers = run.number.get();
    for index in *numbers - first..posts {
        seen.latency.saturating_record(micros(end - due(index)));
        seen.late.saturating_record(micros(end - due(index)));
    }
    Ok(seen)
}

/// What the connections of one measure share: they run on one thread.
struct Run {
    number: Cell<u64>,
    tally: RefCell<Tally>,
}

struct Tally {
    statuses: BTreeMap<u16, u64>,
    latency: Histogram<u64>,
    late: Histogram<u64>,
}

impl Run {
    fn new(first: u64) -> Rc<Self> {
        Rc::new(Self {
            number: Cell::new(first),
            tally: RefCell::new(Tally {
                statuses: BTreeMap::new(),
                latency: histogram(),
                late: histogram(),
            }),
        })
    }

    fn next(&self) -> u64 {
        let number = self.number.get();
        self.number.set(number + 1);
        number
    }

    fn record(&self, status: u16, due: Instant, sent: Instant) {
        let mut tally = self.tally.borrow_mut();
        *tally.statuses.entry(status).or_default() += 1;
        tally.latency.saturating_record(micros(due.elapsed()));
        tally.late.saturating_record(micros(sent - due));
    }
}

/// Opens the connections, and lets each ask `ticket` for its next post and when it is due.
async fn drive(
    target: Target<'_>,
    template: &Rc<Template>,
    connections: usize,
    run: &Rc<Run>,
    ticket: impl Fn(&Run) -> Option<(u64, Instant)> + Clone + 'static,
) -> Result<Seen> {
    let Target { address, path } = target;
    let path: Rc<str> = path.into();
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..connections {
        let (run, template, path) = (Rc::clone(run), Rc::clone(template), Rc::clone(&path));
        let ticket = ticket.clone();
        let task = async move {
            let mut connection = Connection::open(address, &path, &template).await?;
            while let Some((number, due)) = ticket(&run) {
                let mut sent = Instant::now();
                if due > sent {
                    sleep_until(due).await;
                    sent = Instant::now();
                }
                let status = connection.post(number).await?;
                run.record(status, due, sent);
            }
            anyhow::Ok(())
        };
        tasks.spawn_local_on(task, &local);
    }
    local
        .run_until(async {
            while let Some(ended) = tasks.join_next().await {
                ended.context("a connection's task")??;
            }
            anyhow::Ok(())
        })
        .await?;
    let took = start.elapsed();
    let tally = run.tally.replace(Tally {
        statuses: BTreeMap::new(),
        latency: histogram(),
        late: histogram(),
    });
    Ok(Seen {
        statuses: tally.statuses,
        took,
        latency: tally.latency,
        late: tally.late,
    })
}

fn histogram() -> Histogram<u64> {
    #[expect(
        clippy::expect_used,
        reason = "bounds and digits are constants that fit"
    )]
    Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds that fit")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
