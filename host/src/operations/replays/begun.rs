//! Takes what was begun in order and ends in any, gives what is finished, in order.

use std::collections::VecDeque;

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Replayed,
    Gone,
    Failed(String),
}

/// What has not come to its end, and what stands behind that.
#[derive(Debug, Default)]
pub(super) struct Begun(VecDeque<(u64, Option<End>)>);

impl Begun {
    /// Numbers rise.
    pub(super) fn begin(&mut self, number: u64) {
        self.0.push_back((number, None));
    }

    pub(super) fn end(&mut self, number: u64, end: End) {
        let place = self.0.binary_search_by_key(&number, |(number, _)| *number);
        if let Some((_, open)) = place.ok().and_then(|place| self.0.get_mut(place)) {
            *open = Some(end);
        }
    }

    /// The next one before which nothing is open.
    pub(super) fn finished(&mut self) -> Option<(u64, End)> {
        self.0.front()?.1.as_ref()?;
        let (number, end) = self.0.pop_front()?;
        Some((number, end?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_finished_before_what_was_begun_before_it() {
        let mut begun = Begun::default();
        for number in [3, 7, 8] {
            begun.begin(number);
        }
        begun.end(7, End::Gone);
        begun.end(5, End::Gone);
        assert_eq!(begun.finished(), None);
        begun.end(3, End::Replayed);
        assert_eq!(begun.finished(), Some((3, End::Replayed)));
        assert_eq!(begun.finished(), Some((7, End::Gone)));
        assert_eq!(begun.finished(), None);
    }
}
