//! How often durations of which size were seen, so that percentiles can be told of sums, too.

use std::time::Duration;

/// How many sizes each doubling is divided into: what is told of a duration is wrong by 6 % at most.
const STEPS: u32 = 8;

/// Counts of durations by size. Few sizes occur in one sum, so only those are held, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u8, u64)>);

impl Histogram {
    /// Counts a duration, milliseconds.
    pub(super) fn count(&mut self, millis: u32) {
        self.add(size(millis), 1);
    }

    fn add(&mut self, size: u8, count: u64) {
        match self.0.binary_search_by_key(&size, |&(size, _)| size) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (size, count)),
        }
    }

    /// Adds all that `other` counted.
    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|&(size, count)| self.add(size, count));
    }

    /// Adds all that [`Histogram::encode`] wrote; what is no such bytes adds nothing from there on.
    pub(super) fn merge_encoded(&mut self, mut bytes: &[u8]) {
        while let Some((&size, rest)) = bytes.split_first() {
            let Some((count, rest)) = varint(rest) else { return };
            self.add(size, count);
            bytes = rest;
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many durations were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, &(_, count)| total.saturating_add(count))
    }

    /// The duration that `percent` of a hundred of those counted do not exceed, within 6 %; none where none was counted.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let rank = self.total().saturating_mul(percent.into()).div_ceil(100).max(1);
        let mut seen = 0_u64;
        let (size, _) = self.0.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        })?;
        Some(Duration::from_millis(middle(*size)))
    }

    /// As it stands in the database.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 3);
        for &(size, mut count) in &self.0 {
            bytes.push(size);
            while count >= 0x80 {
                bytes.push(low_bits(count) | 0x80);
                count >>= 7;
            }
            bytes.push(low_bits(count));
        }
        bytes
    }
}

fn low_bits(count: u64) -> u8 {
    (count & 0x7f) as u8
}

/// The number at the front of `bytes`, seven bits a byte, the lowest first; and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// The size of a duration: itself up to 7 ms, then eight sizes for each doubling.
fn size(millis: u32) -> u8 {
    let Some(octave) = millis.checked_ilog2().and_then(|log| log.checked_sub(STEPS.ilog2())) else {
        return u8::try_from(millis).unwrap_or(u8::MAX);
    };
    let step = (millis >> octave) - STEPS;
    u8::try_from((octave + 1) * STEPS + step).unwrap_or(u8::MAX)
}

/// The middle of the durations of a size, milliseconds.
fn middle(size: u8) -> u64 {
    let (octave, step) = (u32::from(size) / STEPS, u32::from(size) % STEPS);
    match octave.checked_sub(1) {
        None => step.into(),
        Some(octave) => (u64::from(STEPS + step) << octave) + ((1 << octave) >> 1),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Histogram, middle, size};

    fn of(durations: impl IntoIterator<Item = u32>) -> Histogram {
        let mut histogram = Histogram::default();
        durations.into_iter().for_each(|millis| histogram.count(millis));
        histogram
    }

    #[test]
    fn percentiles_of_a_known_spread_are_near() {
        let histogram = of(1..=1_000);
        for (percent, millis) in [(50, 500.0), (95, 950.0), (100, 1_000.0)] {
            let told = histogram.percentile(percent).unwrap().as_secs_f64() * 1e3;
            assert!((told / millis - 1.0).abs() < 0.07, "{percent}: {told}");
        }
        assert_eq!(of([3]).percentile(50), Some(Duration::from_millis(3)));
        assert_eq!(Histogram::default().percentile(50), None);
    }

    proptest! {
        #[test]
        fn every_duration_has_a_size_whose_middle_is_within_six_percent(millis: u32) {
            let (exact, told) = (f64::from(millis), Duration::from_millis(middle(size(millis))).as_secs_f64() * 1e3);
            prop_assert!((told - exact).abs() <= exact * 0.0625 + 0.5, "{} {}", exact, told);
            prop_assert!(size(millis) >= size(millis.saturating_sub(1)), "in order");
        }

        #[test]
        fn what_is_written_reads_the_same_and_adds_up(
            left in prop::collection::vec(any::<u32>(), 0..200), right in prop::collection::vec(0..9_u32, 0..200),
        ) {
            let mut sum = of(left.iter().copied());
            let mut read = Histogram::default();
            read.merge_encoded(&sum.encode());
            prop_assert_eq!(&read, &sum);
            read.merge_encoded(&of(right.iter().copied()).encode());
            sum.merge(&of(right.iter().copied()));
            prop_assert_eq!(&read, &sum);
            prop_assert_eq!(&sum, &of(left.into_iter().chain(right)));
        }

        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            let mut histogram = Histogram::default();
            histogram.merge_encoded(&bytes);
            let _ = histogram.percentile(95);
        }
    }
}
