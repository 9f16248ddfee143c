//! A small seeded generator (xoshiro256**, Blackman and Vigna 2018, seeded through SplitMix64). Deterministic for the
//! simulator; never for secrets.

#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// Generators for the random choices of single commands. What the latest began with is told, and what the next is to begin with may be
/// dictated: so a command can be repeated elsewhere with the same choice.
#[derive(Clone, Debug, Default)]
pub struct Dice {
    latest: Option<u64>,
    dictated: Option<u64>,
}

impl Dice {
    pub fn throw(&mut self, rng: &mut Rng) -> Rng {
        let seed = self.dictated.take().unwrap_or_else(|| rng.next_u64());
        self.latest = Some(seed);
        Rng::new(seed)
    }

    /// What the latest choice began with, if there was one since the last call.
    pub fn take_latest(&mut self) -> Option<u64> {
        self.latest.take()
    }

    pub fn dictate(&mut self, seed: Option<u64>) {
        self.dictated = seed;
    }
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in `0..bound`, without bias worth speaking of (multiply-shift, error below 2^-32 for bounds below 2^32).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no member to pick");
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the upper half of a u128 is a u64")
    }

    /// A place in something of `len` members.
    ///
    /// # Panics
    /// If `len` is 0.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }

    /// True once in `n` calls on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
