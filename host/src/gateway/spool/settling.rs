//! Takes the numbers of records that are to leave the queue, gives them to the disk in groups, one group at a time.

use super::{Error, Spool};

/// Numbers that leave the queue together.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Group {
    /// The broker has them.
    delivered: Vec<u64>,
    /// Nobody can have them.
    aside: Vec<u64>,
}

/// What is to leave the queue.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Settling {
    waiting: Group,
    under_way: Group,
}

impl Group {
    fn len(&self) -> usize {
        self.delivered.len() + self.aside.len()
    }

    fn add(&mut self, other: Group) {
        self.delivered.extend(other.delivered);
        self.aside.extend(other.aside);
    }
}

impl Settling {
    /// The broker has it.
    pub(in crate::gateway) fn deliver(&mut self, number: u64) {
        self.waiting.delivered.push(number);
    }

    /// It is kept, but out of the way.
    pub(in crate::gateway) fn set_aside(&mut self, number: u64) {
        self.waiting.aside.push(number);
    }

    /// How many there are; they are still in the file.
    pub(in crate::gateway) fn len(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// The next group for [`settle`], unless one is under way or there is none.
    pub(in crate::gateway) fn next(&mut self) -> Option<Group> {
        if 0 < self.under_way.len() || self.waiting.len() == 0 {
            return None;
        }
        self.under_way = std::mem::take(&mut self.waiting);
        Some(self.under_way.clone())
    }

    /// What became of the group that was under way.
    pub(in crate::gateway) fn ended(&mut self, well: bool) {
        let group = std::mem::take(&mut self.under_way);
        if !well {
            self.waiting.add(group);
        }
    }

    /// All of them, also what may be under way: to settle a record twice does no harm.
    pub(in crate::gateway) fn all(self) -> Group {
        let mut all = self.under_way;
        all.add(self.waiting);
        all
    }
}

/// Has a group leave the queue.
pub(in crate::gateway) async fn settle(spool: &Spool, group: Group) -> Result<(), Error> {
    if !group.aside.is_empty() {
        spool.set_aside(group.aside).await?;
    }
    if !group.delivered.is_empty() {
        spool.remove(group.delivered).await?;
    }
    Ok(())
}
