//! The line of one class of requests: the keys that may be lent in the order of choice, the others by when they come back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::need::Why;
use super::super::quota::{Ends, Hold};
use crate::clock::Time;

/// Among how many of the least used keys chance decides.
const CHANCE: usize = 16;

/// How many emptied groups are kept for the next ranks.
const SPARE: usize = 8;

/// Least used today, then fewest in flight. Among equals chance decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Attempts today, by the weight, in thousandths.
    pub(super) used: u64,
    pub(super) in_flight: u32,
}

/// Where a key is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nowhere: it is not in the file.
    Absent,
    Lendable(Rank),
    Held(Hold),
}

/// The slots of one class, each either among those that may be lent or among those that may not.
#[derive(Debug)]
pub(super) struct Line {
    /// Those that may be lent, those of one rank together; no group is empty.
    ranks: BTreeMap<Rank, Vec<usize>>,
    /// Emptied groups, so that a new rank costs no allocation.
    spare: Vec<Vec<usize>>,
    /// Those that may not, by when they may; those whose return needs a person, and who are only tried before it, apart.
    held: [BTreeSet<(Ends, usize)>; 2],
    /// How many are held by what.
    why: BTreeMap<Why, usize>,
    /// None that is held comes back before.
    next: Time,
    /// By slot: where it stands, and its place in its rank's group.
    // Small on purpose: with thousands of keys this is what a choice has to fetch.
    places: Vec<(Standing, u32)>,
}

impl Line {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            ranks: BTreeMap::new(),
            spare: Vec::with_capacity(SPARE),
            held: [const { BTreeSet::new() }; 2],
            why: BTreeMap::new(),
            next: Time(i64::MAX),
            places: vec![(Standing::Absent, 0); slots],
        }
    }

    /// Where a slot stands.
    pub(super) fn standing(&self, at: usize) -> Standing {
        self.places.get(at).map_or(Standing::Absent, |(standing, _)| *standing)
    }

    /// Puts a slot where it belongs; true when it was held and may be lent now.
    pub(super) fn put(&mut self, at: usize, standing: Standing) -> bool {
        let before = self.standing(at);
        if before == standing {
            return false;
        }
        self.leave(at);
        match standing {
            Standing::Absent => {}
            Standing::Lendable(rank) => self.enter(at, rank),
            Standing::Held(hold) => {
                self.held[usize::from(hold.why.needs_person())].insert((hold.ends, at));
                *self.why.entry(hold.why).or_default() += 1;
                if let Ends::At(time) = hold.ends {
                    self.next = self.next.min(time);
                }
                self.place(at, (standing, 0));
            }
        }
        matches!((before, standing), (Standing::Held(_), Standing::Lendable(_)))
    }

    /// Gives a slot that may be lent its new rank.
    pub(super) fn rank(&mut self, at: usize, rank: Rank) {
        if matches!(self.standing(at), Standing::Lendable(old) if old != rank) {
            self.leave(at);
            self.enter(at, rank);
        }
    }

    /// The first in the order of choice that `fits`; chance decides among those of one rank.
    pub(super) fn choose(&self, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        self.ranks.values().find_map(|group| {
            // Chance among the last few: with thousands of keys, neighbours are in the processor's caches.
            let first = rand::random_range(group.len().saturating_sub(CHANCE)..group.len());
            let (before, behind) = group.split_at(first + 1);
            before.iter().rev().chain(behind.iter().rev()).copied().find(|&at| fits(at))
        })
    }

    /// Those that will be among the last few of the first rank next, the nearest first.
    pub(super) fn next_ones(&self) -> impl Iterator<Item = usize> {
        let first = self.ranks.first_key_value().map_or(&[][..], |(_, group)| group);
        first[..first.len().saturating_sub(CHANCE)].iter().rev().copied()
    }

    /// The next slot whose hold ended by itself.
    pub(super) fn due(&mut self, now: Time) -> Option<usize> {
        if now < self.next {
            return None;
        }
        let first =
            |held: &BTreeSet<(Ends, usize)>| held.range((Ends::At(Time(i64::MIN)), 0)..).next().copied();
        match self.held.iter().filter_map(first).min() {
            Some((Ends::At(time), at)) if time <= now => Some(at),
            first => {
                self.next = match first {
                    Some((Ends::At(time), _)) => time,
                    _ => Time(i64::MAX),
                };
                None
            }
        }
    }

    /// When the first of those that are held comes back, or may be tried again; and when the first does that needs no person.
    pub(super) fn first_back(&self, now: Time) -> (Option<Time>, Option<Time>) {
        let [back, tried] = [0, 1].map(|of| {
            let first = |from| {
                self.held[of].range((from, 0)..).next().and_then(|(ends, _): &(Ends, _)| ends.moment(now))
            };
            first(Ends::Soon).into_iter().chain(first(Ends::At(Time(i64::MIN)))).min()
        });
        (back.into_iter().chain(tried).min(), back)
    }

    /// What holds how many.
    pub(super) fn why(&self) -> impl Iterator<Item = (Why, usize)> {
        self.why.iter().map(|(why, count)| (*why, *count))
    }

    /// The slots that may be lent now, and those that come back before `until`.
    pub(super) fn before(&self, until: Time) -> impl Iterator<Item = usize> {
        let before = (Bound::Unbounded, Bound::Excluded((Ends::At(until), 0)));
        let held = self.held.iter().flat_map(move |held| held.range(before));
        self.ranks.values().flatten().copied().chain(held.map(|(_, at)| *at))
    }

    fn place(&mut self, at: usize, place: (Standing, u32)) {
        if at >= self.places.len() {
            self.places.resize(at + 1, (Standing::Absent, 0));
        }
        self.places[at] = place;
    }

    fn enter(&mut self, at: usize, rank: Rank) {
        let spare = &mut self.spare;
        let group = self.ranks.entry(rank).or_insert_with(|| spare.pop().unwrap_or_default());
        let place = u32::try_from(group.len()).expect("keys are fewer than four thousand millions");
        group.push(at);
        self.place(at, (Standing::Lendable(rank), place));
    }

    fn leave(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at) else { return };
        let (standing, place) = std::mem::replace(place, (Standing::Absent, 0));
        match standing {
            Standing::Absent => {}
            Standing::Lendable(rank) => self.leave_group(rank, place),
            Standing::Held(hold) => {
                self.held[usize::from(hold.why.needs_person())].remove(&(hold.ends, at));
                if let Some(count) = self.why.get_mut(&hold.why) {
                    *count -= 1;
                    if *count == 0 {
                        self.why.remove(&hold.why);
                    }
                }
            }
        }
    }

    fn leave_group(&mut self, rank: Rank, place: u32) {
        let Some(group) = self.ranks.get_mut(&rank) else { return };
        group.swap_remove(place as usize);
        if let Some(&moved) = group.get(place as usize) {
            self.places[moved].1 = place;
        } else if group.is_empty()
            && let Some(group) = self.ranks.remove(&rank)
            && self.spare.len() < SPARE
        {
            self.spare.push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Rank, Standing};
    use crate::clock::Time;
    use crate::keys::need::Why;
    use crate::keys::quota::{Ends, Hold};

    fn rank(used: u64) -> Rank {
        Rank { used, in_flight: 0 }
    }

    fn held(ends: Ends) -> Standing {
        Standing::Held(Hold::new(Why::Cap, ends))
    }

    #[test]
    fn the_first_rank_comes_first_and_the_next_where_it_does_not_fit() {
        let mut line = Line::new(0);
        for at in 0..40 {
            line.put(at, Standing::Lendable(rank(at as u64 / 20)));
        }
        assert!((0..100).all(|_| line.choose(|_| true).unwrap() < 20));
        assert_eq!(line.choose(|at| at == 3), Some(3), "whoever fits is found, wherever in its group");
        assert_eq!(line.choose(|at| at >= 39), Some(39));
        assert_eq!(line.choose(|_| false), None);
    }

    #[test]
    fn the_next_ones_are_those_before_the_last_few_of_the_first_rank() {
        let mut line = Line::new(0);
        assert_eq!(line.next_ones().count(), 0);
        for at in 0..40 {
            line.put(at, Standing::Lendable(rank(at as u64 / 20)));
        }
        assert_eq!(line.next_ones().collect::<Vec<_>>(), [3, 2, 1, 0]);
        assert!((0..100).all(|_| line.choose(|_| true).unwrap() > 3));
    }

    #[test]
    fn what_is_held_comes_back_in_the_order_of_time() {
        let mut line = Line::new(4);
        line.put(0, held(Ends::At(Time(30))));
        line.put(1, held(Ends::At(Time(20))));
        line.put(2, held(Ends::Never));
        line.put(3, held(Ends::Soon));
        assert_eq!((line.due(Time(19)), line.due(Time(20))), (None, Some(1)));
        assert!(line.put(1, Standing::Lendable(rank(0))));
        assert_eq!((line.due(Time(29)), line.due(Time(30))), (None, Some(0)));
        assert!(line.put(0, Standing::Lendable(rank(0))));
        assert_eq!(line.due(Time(i64::MAX)), None, "the others wait for somebody");
        assert_eq!(line.why().collect::<Vec<_>>(), [(Why::Cap, 2)]);
        assert_eq!(line.before(Time(0)).count(), 3);
        assert_eq!(line.first_back(Time(0)), (Some(Time(1_000)), Some(Time(1_000))));
        line.put(1, Standing::Held(Hold::new(Why::Refused, Ends::At(Time(998)))));
        assert_eq!(line.first_back(Time(0)), (Some(Time(998)), Some(Time(1_000))), "a probe is no return");
        line.put(1, held(Ends::At(Time(999))));
        assert_eq!(line.first_back(Time(0)), (Some(Time(999)), Some(Time(999))));
    }
}
