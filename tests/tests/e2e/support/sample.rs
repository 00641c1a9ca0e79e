//! Full and sampled runs.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// Whether everything is to be tried.
pub fn full() -> bool {
    std::env::var_os("STANDSTILL_FULL").is_some_and(|value| value == "1")
}

/// The seed of this run: `STANDSTILL_SEED`, else the clock.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let given = std::env::var("STANDSTILL_SEED").ok().map(|text| text.parse().expect("a number as seed"));
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_secs() << 20 | u64::from(now.subsec_micros())
        });
        println!("seed: {seed} (repeat it with STANDSTILL_SEED={seed})");
        seed
    })
}

/// Random numbers (splitmix64): not good, but the same for the same seed.
pub struct Random(u64);

impl Random {
    /// Those of a test, so that each test of a run draws others.
    pub fn of(test: &str) -> Self {
        let name = test.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed() ^ name)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// All items in a full run, else this many of them, in their order.
    pub fn sample<T>(&mut self, items: Vec<T>, count: usize) -> Vec<T> {
        if full() || items.len() <= count {
            return items;
        }
        let mut left = items.len();
        let mut wanted = count;
        let mut chosen = Vec::with_capacity(count);
        for item in items {
            if self.below(left) < wanted {
                chosen.push(item);
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }
}
