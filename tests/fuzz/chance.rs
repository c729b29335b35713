//! Chance from a seed, and the damage that it does.

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64: each state gives another number.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Cuts bytes into pieces of any length.
    pub(crate) fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let most = 1 + self.below(bytes.len() + 1);
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    /// Damages bytes in one to four places with the help of `words`, and says which part of the
    /// original was touched.
    pub(crate) fn damage(
        &mut self,
        bytes: &mut Vec<u8>,
        words: &[&[u8]],
    ) -> std::ops::Range<usize> {
        let length = bytes.len();
        let (mut front, mut back) = (length, length);
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let behind = bytes.len() - at;
            let most = if self.one_in(4) { 4096 } else { 8 };
            let run = self.below(most).min(behind);
            let mut intact = behind - run;
            match self.below(7) {
                0 if run > 0 => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..at + run)),
                2 => bytes[at..at + run].fill(0),
                3 => {
                    let again = bytes[at..at + run].to_vec();
                    bytes.splice(at..at, again);
                }
                4 => {
                    bytes.truncate(at);
                    intact = 0;
                }
                5 => drop(bytes.splice(at..at + run, self.pick(words).iter().copied())),
                _ => {
                    let byte = self.below(256) as u8;
                    bytes.insert(at, byte);
                }
            }
            // What stands before `at` is as it was, and as many bytes at the end.
            front = front.min(at);
            back = back.min(intact);
        }
        front..length - back.min(length - front)
    }
}
