//! What a worker keeps of the heads it has read, so that the next one costs less: names as they were spelled, and maps
//! that have served.

use http::header::InvalidHeaderName;
use http::{HeaderMap, HeaderName};

/// Places for names. Upstream's answers have some two dozen different ones.
const NAMES: usize = 64;

/// The longest name that is kept, bytes.
const LONGEST: usize = 48;

/// So many maps are kept at most, and none with room for more fields.
const MAPS: usize = 64;
const FIELDS: usize = 64;

/// Names and maps that are used again.
#[derive(Debug)]
pub(crate) struct Spare {
    names: [Option<(Box<[u8]>, HeaderName)>; NAMES],
    maps: Vec<HeaderMap>,
}

impl Default for Spare {
    fn default() -> Self {
        Self { names: [const { None }; NAMES], maps: Vec::new() }
    }
}

impl Spare {
    /// The name that is spelled like this. The first of those that share a place keeps it.
    pub(crate) fn name(&mut self, spelled: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
        let (Some(&first), Some(&last)) = (spelled.first(), spelled.last()) else {
            return HeaderName::from_bytes(spelled);
        };
        let place = usize::from(first).wrapping_mul(7) ^ usize::from(last).wrapping_mul(3) ^ spelled.len();
        let place = &mut self.names[place % NAMES];
        if let Some((known, name)) = place
            && **known == *spelled
        {
            return Ok(name.clone());
        }
        let name = HeaderName::from_bytes(spelled)?;
        if place.is_none() && spelled.len() <= LONGEST {
            *place = Some((spelled.into(), name.clone()));
        }
        Ok(name)
    }

    /// An empty map with room for so many fields, as a rule.
    pub(crate) fn map(&mut self, fields: usize) -> HeaderMap {
        self.maps.pop().unwrap_or_else(|| HeaderMap::with_capacity(fields))
    }

    /// Takes a map that is of no more use.
    pub(crate) fn keep(&mut self, mut map: HeaderMap) {
        if self.maps.len() < MAPS && (1..=FIELDS).contains(&map.capacity()) {
            map.clear();
            self.maps.push(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{FIELDS, MAPS, Spare};

    #[test]
    fn a_map_that_served_is_empty_and_their_number_and_size_are_bounded() {
        let mut spare = Spare::default();
        let mut map = HeaderMap::with_capacity(4);
        map.append("x-a", HeaderValue::from_static("1"));
        map.append("x-a", HeaderValue::from_static("2"));
        spare.keep(map);
        let again = spare.map(1);
        assert!(again.is_empty() && again.capacity() >= 4);
        assert!(!again.contains_key("x-a"));
        spare.keep(HeaderMap::with_capacity(2 * FIELDS));
        spare.keep(HeaderMap::new());
        assert!(spare.maps.is_empty());
        (0..2 * MAPS).for_each(|_| spare.keep(HeaderMap::with_capacity(4)));
        assert_eq!(spare.maps.len(), MAPS);
    }

    proptest! {
        #[test]
        fn a_name_is_what_a_fresh_look_at_it_gives(
            names in prop::collection::vec("[a-cA-C-]{0,3}|content-(length|type)|Content-Length|\\PC{0,3}", 1..40),
        ) {
            let mut spare = Spare::default();
            for name in &names {
                let fresh = HeaderName::from_bytes(name.as_bytes());
                prop_assert_eq!(spare.name(name.as_bytes()).ok(), fresh.ok());
            }
        }
    }
}
