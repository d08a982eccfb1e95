//! Takes numbered messages with their keys, gives those that may be with the broker at the same time: no two of one key.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Which of the messages that were read from the spool may go out. No clock and no I/O.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The numbers of each key, oldest first; the first is ready or with the broker.
    keys: HashMap<String, VecDeque<u64>>,
    /// The first of their keys that are not with the broker.
    ready: BTreeSet<u64>,
    /// What went out last.
    last: u64,
}

impl Window {
    /// Takes a message in. Numbers come in rising order.
    pub(super) fn push(&mut self, number: u64, key: &str) {
        match self.keys.get_mut(key) {
            Some(queue) => queue.push_back(number),
            None => {
                self.keys.insert(key.to_owned(), VecDeque::from([number]));
                self.ready.insert(number);
            }
        }
    }

    /// The next message that may go out now, oldest first, round and round: one that the
    /// broker never takes is not in the way of other keys. It counts as with the broker from
    /// here on.
    pub(super) fn next(&mut self) -> Option<u64> {
        let behind = self.ready.range(self.last.saturating_add(1)..).next();
        let number = behind.or(self.ready.first()).copied()?;
        self.ready.remove(&number);
        self.last = number;
        Some(number)
    }

    /// A message is done with: the next of its key may go out.
    pub(super) fn done(&mut self, number: u64, key: &str) {
        self.ready.remove(&number);
        let Some(queue) = self.keys.get_mut(key) else {
            return;
        };
        queue.retain(|&other| other != number);
        match queue.front() {
            // Still the first of its key when the one that is done was found further behind.
            Some(&first) if number < first => {
                self.ready.insert(first);
            }
            Some(_) => {}
            None => {
                self.keys.remove(key);
            }
        }
    }

    /// A message came back from the broker and has to go out again, before the others of
    /// its key.
    pub(super) fn again(&mut self, number: u64) {
        self.ready.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8),
        Next,
        Done(usize),
        Again(usize),
        /// Found in the stream without having been sent.
        Found(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..5_u8).prop_map(Step::Push),
            3 => Just(Step::Next),
            2 => any::<usize>().prop_map(Step::Done),
            1 => any::<usize>().prop_map(Step::Again),
            1 => any::<usize>().prop_map(Step::Found),
        ]
    }

    /// What must be so: `waiting` and `out` hold every message that is not done.
    #[derive(Default)]
    struct Model {
        window: Window,
        waiting: Vec<(u64, u8)>,
        out: Vec<(u64, u8)>,
        finished: Vec<(u64, u8)>,
        last: u64,
    }

    impl Model {
        fn take(&mut self) -> bool {
            let Some(number) = self.window.next() else {
                return false;
            };
            let at = self.waiting.iter().position(|entry| entry.0 == number);
            let entry = self.waiting.remove(at.expect("a message that waits"));
            let same_key = |other: &&(u64, u8)| other.1 == entry.1;
            assert!(
                self.out.iter().all(|other| other.1 != entry.1),
                "two of one key"
            );
            let older = self
                .waiting
                .iter()
                .filter(same_key)
                .any(|other| other.0 < number);
            assert!(!older, "an older one of the key waits");
            self.out.push(entry);
            true
        }

        fn finish(&mut self, entry: (u64, u8)) {
            self.window.done(entry.0, &entry.1.to_string());
            self.finished.push(entry);
        }

        fn run(&mut self, step: &Step) {
            let pick = |n: usize, from: &[(u64, u8)]| (!from.is_empty()).then(|| n % from.len());
            match step {
                Step::Push(key) => {
                    self.last += 1;
                    self.window.push(self.last, &key.to_string());
                    self.waiting.push((self.last, *key));
                }
                Step::Next => {
                    self.take();
                }
                Step::Done(n) => {
                    if let Some(at) = pick(*n, &self.out) {
                        let entry = self.out.remove(at);
                        self.finish(entry);
                    }
                }
                Step::Again(n) => {
                    if let Some(at) = pick(*n, &self.out) {
                        let entry = self.out.remove(at);
                        self.window.again(entry.0);
                        self.waiting.push(entry);
                    }
                }
                Step::Found(n) => {
                    if let Some(at) = pick(*n, &self.waiting) {
                        let entry = self.waiting.remove(at);
                        self.finish(entry);
                    }
                }
            }
        }
    }

    #[test]
    fn one_that_always_comes_back_does_not_stop_other_keys() {
        let mut window = Window::default();
        window.push(1, "poison");
        window.push(2, "a");
        window.push(3, "b");
        let mut sent = Vec::new();
        for _ in 0..5 {
            let number = window.next().expect("one is ready");
            window.again(number);
            sent.push(number);
        }
        assert_eq!(sent, [1, 2, 3, 1, 2]);
    }

    proptest! {
        #[test]
        fn never_two_of_one_key_never_out_of_order_and_all_go_out(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut model = Model::default();
            for step in &steps {
                model.run(step);
            }
            while !model.waiting.is_empty() || !model.out.is_empty() {
                let taken = model.take();
                prop_assert!(taken || !model.out.is_empty(), "what waits never goes out");
                if let Some(entry) = model.out.pop() {
                    model.finish(entry);
                }
            }
            prop_assert_eq!(model.finished.len() as u64, model.last);
            prop_assert!(model.window.keys.is_empty() && model.window.ready.is_empty());
        }
    }
}
