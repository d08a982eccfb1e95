//! Takes two shapes, gives the one of both; whichever came first.

use std::collections::BTreeSet;

use crate::kinds::Kinds;
use crate::shape::{ANY_TAG, Content, MAX_DEPTH, MAX_NODES, MAX_TAGS, Member, Members, Shape};

/// A member that all of so many bodies had is said to be required.
pub const REQUIRED_AFTER: u64 = 20;

impl Shape {
    /// Takes in what was seen elsewhere. What is required is not told before [`Shape::settle`].
    pub fn absorb(&mut self, other: Self) {
        self.absorb_unbounded(other);
        self.prune();
    }

    pub(crate) fn absorb_unbounded(&mut self, other: Self) {
        self.kinds = self.kinds.with(other.kinds);
        self.tags.extend(other.tags);
        if MAX_TAGS < self.tags.len() || self.tags.contains(ANY_TAG) {
            self.tags = BTreeSet::from([ANY_TAG.to_owned()]);
        }
        if self.opaque || other.opaque {
            self.hide();
            return;
        }
        self.empty = self.empty.saturating_add(other.empty);
        self.members.absorb(other.members);
        let content = std::mem::take(&mut self.content);
        self.content = match (content, other.content) {
            (Content::Nothing, content) | (content, Content::Nothing) => content,
            (Content::Pairs(mut all), Content::Pairs(more)) => {
                all.absorb(more);
                Content::Pairs(all)
            }
            (Content::Items(mut all), Content::Items(more)) => {
                all.absorb_unbounded(*more);
                Content::Items(all)
            }
            (Content::Pairs(_) | Content::Items(_) | Content::Any, _) => Content::Any,
        };
    }

    fn hide(&mut self) {
        self.opaque = true;
        self.members = Members::default();
        self.content = Content::Nothing;
        self.empty = 0;
    }

    /// Says which members are required: those that all of at least so many objects had.
    pub fn settle(&mut self, least: u64) {
        self.each(&mut |members, empty| {
            let of = members.of.saturating_add(*empty);
            for member in members.named.values_mut() {
                member.required = member.seen == of && least <= of;
            }
        });
    }

    /// The same without how often anything was seen: two with the same of this are the same
    /// version.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.each(&mut |members, empty| {
            *empty = 0;
            members.of = 0;
            for member in members.named.values_mut() {
                member.seen = 0;
            }
        });
        self
    }

    /// Does something to the members of objects and pairs; with those of pairs, how many lists had
    /// none.
    fn each(&mut self, deed: &mut dyn FnMut(&mut Members, &mut u64)) {
        deed(&mut self.members, &mut 0);
        self.members.below(deed);
        match &mut self.content {
            Content::Pairs(members) => {
                deed(members, &mut self.empty);
                members.below(deed);
            }
            Content::Items(items) => items.each(deed),
            Content::Nothing | Content::Any => {}
        }
        if !matches!(self.content, Content::Pairs(_)) {
            deed(&mut Members::default(), &mut self.empty);
        }
    }

    /// Lets go of the deepest members while there are too many.
    pub(crate) fn prune(&mut self) {
        let mut counts = vec![0; MAX_DEPTH + 2];
        self.count(0, &mut counts);
        let mut total = 0;
        let fits = counts.iter().take_while(|count| {
            total += **count;
            total <= MAX_NODES
        });
        let depth = fits.count();
        if depth < counts.len() {
            self.cut(depth);
        }
    }

    fn count(&self, depth: usize, counts: &mut [usize]) {
        if let Some(count) = counts.get_mut(depth) {
            *count += 1;
        }
        for shape in self.below() {
            shape.count(depth + 1, counts);
        }
    }

    /// The shapes directly below.
    fn below(&self) -> impl Iterator<Item = &Shape> {
        let (pairs, items) = match &self.content {
            Content::Pairs(members) => (Some(members), None),
            Content::Items(items) => (None, Some(&**items)),
            Content::Nothing | Content::Any => (None, None),
        };
        let members = std::iter::once(&self.members).chain(pairs);
        let members = members.flat_map(|members| {
            let named = members.named.values().map(|member| &member.shape);
            named.chain(members.rest.as_deref())
        });
        members.chain(items)
    }

    /// Keeps so many levels.
    fn cut(&mut self, levels: usize) {
        if levels <= 1 {
            if self.below().next().is_some() {
                self.hide();
            }
            return;
        }
        let cut = |members: &mut Members| {
            for member in members.named.values_mut() {
                member.shape.cut(levels - 1);
            }
            if let Some(rest) = &mut members.rest {
                rest.cut(levels - 1);
            }
        };
        cut(&mut self.members);
        match &mut self.content {
            Content::Pairs(members) => cut(members),
            Content::Items(items) => items.cut(levels - 1),
            Content::Nothing | Content::Any => {}
        }
    }

    /// Nothing is known.
    pub(crate) fn anything() -> Self {
        Self {
            kinds: Kinds::ANY,
            opaque: true,
            ..Self::default()
        }
    }
}

impl Members {
    fn below(&mut self, deed: &mut dyn FnMut(&mut Self, &mut u64)) {
        for member in self.named.values_mut() {
            member.shape.each(deed);
        }
        if let Some(rest) = &mut self.rest {
            rest.each(deed);
        }
    }

    fn absorb(&mut self, other: Self) {
        self.of = self.of.saturating_add(other.of);
        for (name, member) in other.named {
            let Member { shape, seen, .. } = member;
            let known = self.named.entry(name).or_default();
            known.shape.absorb_unbounded(shape);
            known.seen = known.seen.saturating_add(seen);
            known.required = false;
        }
        match (&mut self.rest, other.rest) {
            (Some(rest), Some(more)) => rest.absorb_unbounded(*more),
            (rest @ None, more) => *rest = more,
            (Some(_), None) => {}
        }
        self.is_map |= other.is_map;
        self.bound();
    }
}
