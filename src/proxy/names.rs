//! Names of models that one worker met, each held once however many requests run it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use foldhash::quality::RandomState;

/// So many are held at most. Callers choose them, so then it begins anew.
const MOST: usize = 256;

/// The longest that is held, bytes.
const LONGEST: usize = 128;

/// The names.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<HashSet<Arc<str>, RandomState>>);

impl Names {
    /// `name`, shared with those who asked for it before.
    pub(super) fn of(&self, name: &str) -> Arc<str> {
        let mut names = self.0.borrow_mut();
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        let new = Arc::from(name);
        if name.len() <= LONGEST {
            if names.len() >= MOST {
                names.clear();
            }
            names.insert(Arc::clone(&new));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{LONGEST, MOST, Names};

    #[test]
    fn a_name_is_held_once_and_their_number_is_bounded() {
        let names = Names::default();
        let first = names.of("a/b");
        assert!(Arc::ptr_eq(&first, &names.of("a/b")));
        assert_eq!(&*names.of("a/c"), "a/c");
        for number in 0..3 * MOST {
            assert_eq!(&*names.of(&number.to_string()), number.to_string());
            assert!(names.0.borrow().len() <= MOST);
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(&*names.of(&long), long);
        assert!(!names.0.borrow().contains(&*long));
    }
}
