//! Names of models that one worker met, each held once however many requests run it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use foldhash::quality::RandomState;

/// So many are held at most. Callers choose them, so then it begins anew.
const MOST: usize = 256;

/// The longest that is held, bytes.
const LONGEST: usize = 128;

/// What stands for a key or an access token that was sent in the place of a name.
const SECRET: &str = "{secret}";

/// The names.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<HashSet<Arc<str>, RandomState>>);

impl Names {
    /// `name`, shared with those who asked for it before; [`SECRET`] in place of one that `is_secret`, which is asked about
    /// each name but once.
    pub(super) fn of(&self, name: &str, is_secret: impl FnOnce(&str) -> bool) -> Arc<str> {
        let mut names = self.0.borrow_mut();
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        if is_secret(name) {
            return Arc::from(SECRET);
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
        let of = |name: &str| names.of(name, |name| name.contains("hush"));
        let first = of("a/b");
        assert!(Arc::ptr_eq(&first, &of("a/b")));
        assert_eq!(&*of("a/c"), "a/c");
        assert_eq!((&*of("hush"), &*of("hush")), ("{secret}", "{secret}"));
        for number in 0..3 * MOST {
            assert_eq!(&*of(&number.to_string()), number.to_string());
            assert!(names.0.borrow().len() <= MOST);
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(&*of(&long), long);
        assert!(!names.0.borrow().contains(&*long));
    }
}
