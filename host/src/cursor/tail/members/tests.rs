//! Takes steps of a store, a reader and partitions in any order, gives whether each partition has what
//! concerns it.

use proptest::prelude::*;

use super::*;

/// One step of somebody.
#[derive(Debug, Clone)]
enum Step {
    /// The store takes a message of this kind.
    Store(u8),
    /// The reader gives so many of those that it has not given.
    Give(usize),
    /// The reader is opened anew for those who are here.
    Open,
    /// A body of the next message cannot be had.
    Refuse,
    /// This one reads alone, so many messages, and joins then if it has all of them.
    Alone(usize, usize),
    /// This one takes what stands in its feed.
    Take(usize),
    /// It is asked up to where this one has everything.
    Ask(usize),
    LetGoAll,
}

/// A partition and its cursor.
struct Reader {
    kind: u8,
    last: u64,
    feed: (mpsc::Sender<Vec<Read>>, mpsc::Receiver<Vec<Read>>),
    told: Option<oneshot::Receiver<u64>>,
    has: Vec<u64>,
}

impl Reader {
    fn new(kind: u8) -> Self {
        Self {
            kind,
            last: 0,
            feed: mpsc::channel(2),
            told: None,
            has: Vec::new(),
        }
    }

    fn wants(&self, kind: u8) -> bool {
        self.kind == kind || self.kind == ALL
    }

    fn take(&mut self) {
        while let Ok(reads) = self.feed.1.try_recv() {
            for read in reads {
                if let Read::Delivery(delivery) = read {
                    self.has.push(delivery.sequence);
                }
            }
        }
    }

    /// It was let go of, and goes on behind what it was told.
    fn hear(&mut self) {
        if let Some(told) = &mut self.told
            && let Ok(last) = told.try_recv()
        {
            self.last = last;
            self.told = None;
        }
    }
}

const ALL: u8 = 3;

fn subject(kind: u8) -> String {
    format!("d365.k{kind}.a")
}

fn filter(kind: u8) -> String {
    match kind {
        ALL => "d365.>".to_owned(),
        _ => subject(kind),
    }
}

/// What the broker has, what the reader would send next, and everybody.
struct World {
    store: Vec<u8>,
    filters: Vec<String>,
    next: u64,
    members: Members,
    readers: Vec<Reader>,
}

impl World {
    fn delivery(&self, sequence: u64) -> Option<Arc<Delivery>> {
        let kind = self.store.get(usize::try_from(sequence).ok()? - 1)?;
        Some(Arc::new(Delivery {
            sequence,
            subject: subject(*kind),
            ..Delivery::default()
        }))
    }

    /// The next message that the reader's filters match.
    fn next(&mut self) -> Option<Arc<Delivery>> {
        loop {
            let delivery = self.delivery(self.next)?;
            self.next += 1;
            let mut filters = self.filters.iter();
            if filters.any(|filter| is_subset(&delivery.subject, filter)) {
                return Some(delivery);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Store(kind) => self.store.push(kind),
            Step::Give(count) => {
                let given = (0..count).map_while(|_| self.next()).collect();
                self.members.give(given, 0);
            }
            Step::Open => {
                let (tickets, filters, after) = self.members.wanted();
                if let Some(after) = after {
                    self.filters = filters;
                    self.next = after + 1;
                    self.members.covered(&tickets, after);
                }
            }
            Step::Refuse => {
                if let Some(delivery) = self.next() {
                    self.members.let_go_of_those_who_want(&delivery);
                }
            }
            Step::Alone(who, count) => self.alone(who, count),
            Step::Take(who) => {
                if let Some(reader) = self.readers.get_mut(who) {
                    reader.take();
                }
            }
            Step::Ask(_) => {}
            Step::LetGoAll => self.members.let_go_all(),
        }
        self.readers.iter_mut().for_each(Reader::hear);
    }

    fn alone(&mut self, who: usize, count: usize) {
        let stored = self.store.len() as u64;
        for _ in 0..count {
            let Some(reader) = self.readers.get(who).filter(|reader| reader.told.is_none()) else {
                return;
            };
            let sequence = reader.last + 1;
            let Some(delivery) = self.delivery(sequence) else {
                break;
            };
            let kind = self.store.get(usize::try_from(sequence - 1).unwrap_or(0));
            let kind = kind.copied().unwrap_or(ALL);
            if let Some(reader) = self.readers.get_mut(who) {
                if reader.wants(kind) {
                    // It waits for room: what stands there is taken.
                    reader.take();
                    let read = vec![Read::Delivery(delivery)];
                    reader.feed.0.try_send(read).expect("room");
                }
                reader.last = sequence;
            }
        }
        if let Some(reader) = self.readers.get_mut(who)
            && reader.told.is_none()
            && stored <= reader.last + 2
        {
            let member = Member {
                subjects: vec![filter(reader.kind)],
                last: reader.last,
                feed: reader.feed.0.clone(),
                unread: Arc::default(),
            };
            reader.told = Some(self.members.join(Ticket(who as u64), member));
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..ALL).prop_map(Step::Store),
        8 => (1..6_usize).prop_map(Step::Give),
        4 => Just(Step::Open),
        1 => Just(Step::Refuse),
        6 => (0..4_usize, 0..8_usize).prop_map(|(who, count)| Step::Alone(who, count)),
        4 => (0..4_usize).prop_map(Step::Take),
        2 => (0..4_usize).prop_map(Step::Ask),
        1 => Just(Step::LetGoAll),
    ]
}

proptest! {
    /// Whoever joins, is let go of and joins again, whenever the reader is opened: each has what
    /// concerns it, once, and in the order of the store.
    #[test]
    fn nobody_misses_anything_or_has_it_twice(steps in prop::collection::vec(any_step(), 1..200)) {
        let mut world = World {
            store: Vec::new(),
            filters: Vec::new(),
            next: 1,
            members: Members::default(),
            readers: (0..=ALL).map(Reader::new).collect(),
        };
        for step in &steps {
            world.step(step);
            if let Step::Ask(who) = *step
                && let Some(quiet) = world.members.quiet_up_to(Ticket(who as u64))
                && let Some(reader) = world.readers.get_mut(who)
            {
                reader.take();
                let wants = |sequence: &u64| {
                    let kind = world.store.get(usize::try_from(*sequence).unwrap_or(0) - 1);
                    kind.is_some_and(|kind| reader.kind == *kind || reader.kind == ALL)
                };
                let has = reader.has.iter().filter(|sequence| **sequence <= quiet).copied();
                let wanted: Vec<u64> = (1..=quiet).filter(wants).collect();
                prop_assert_eq!(has.collect::<Vec<u64>>(), wanted, "it was said that nothing is left");
            }
        }
        // In the end all read alone what is left.
        world.step(&Step::LetGoAll);
        for who in 0..world.readers.len() {
            world.alone(who, world.store.len());
        }
        for reader in &mut world.readers {
            reader.take();
            let all = world.store.iter().zip(1..);
            let wanted = all.filter(|(kind, _)| reader.kind == **kind || reader.kind == ALL);
            let wanted: Vec<u64> = wanted.map(|(_, sequence)| sequence).collect();
            prop_assert_eq!(&reader.has, &wanted);
        }
    }
}
