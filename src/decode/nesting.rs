//! The open brackets of a JSON text, one bit each, so that any depth costs next to nothing.

use smallvec::SmallVec;

/// A stack of open brackets.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    depth: usize,
    /// Bit set: an object is open at this depth; clear: an array.
    /// The first 128 need no allocation.
    objects: SmallVec<[u64; 2]>,
}

impl Nesting {
    /// How many brackets are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Opens an object or an array.
    pub(super) fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.objects.len() {
            self.objects.push(0);
        }
        let mask = 1 << bit;
        if is_object {
            self.objects[word] |= mask;
        } else {
            self.objects[word] &= !mask;
        }
        self.depth += 1;
    }

    /// Closes the innermost bracket. False, and nothing changes, when that is of the other kind
    /// or none is open.
    pub(super) fn pop(&mut self, is_object: bool) -> bool {
        let fits = self.innermost_is_object() == Some(is_object);
        if fits {
            self.depth -= 1;
        }
        fits
    }

    /// Whether the innermost open bracket is an object's; `None` outside of all.
    pub(super) fn innermost_is_object(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects[at / 64] & (1 << (at % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_stack(steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..400)) {
            let (mut nesting, mut model) = (Nesting::default(), Vec::new());
            for (opens, is_object) in steps {
                if opens {
                    nesting.push(is_object);
                    model.push(is_object);
                } else {
                    let fits = model.last() == Some(&is_object);
                    prop_assert_eq!(nesting.pop(is_object), fits);
                    if fits {
                        model.pop();
                    }
                }
                prop_assert_eq!(nesting.depth(), model.len());
                prop_assert_eq!(nesting.innermost_is_object(), model.last().copied());
            }
        }
    }
}
