//! The brake on guessing: a bucket of attempts per key that fills again with time. Pure: the
//! caller says what time it is.

use std::{collections::HashMap, hash::Hash};

/// Most keys that are remembered. Beyond, those that are full again are forgotten, then the tenth
/// that is nearest to it: whoever fills the table gains little for ten thousand attempts.
const MAX_KEYS: usize = 10_000;

/// Counts attempts per key.
#[derive(Debug)]
pub(crate) struct Brake<K> {
    /// How far ahead of now a key may be: `burst` attempts at once.
    slack_ms: u64,
    /// What one attempt costs.
    cost_ms: u64,
    /// For each key, the time at which its bucket is full again.
    full_at_ms: HashMap<K, u64>,
}

impl<K: Eq + Hash + Clone> Brake<K> {
    /// `burst` attempts at once, then one in `cost_ms`.
    pub(crate) fn new(burst: u32, cost_ms: u64) -> Self {
        Self { slack_ms: u64::from(burst) * cost_ms, cost_ms, full_at_ms: HashMap::new() }
    }

    /// Takes an attempt: 0, or how many milliseconds to wait. Who has to wait pays nothing.
    pub(crate) fn take(&mut self, key: K, now_ms: u64) -> u64 {
        let full_at = self.full_at_ms.get(&key).copied().unwrap_or(0).max(now_ms) + self.cost_ms;
        let wait = (full_at - now_ms).saturating_sub(self.slack_ms);
        if wait == 0 {
            self.make_room(now_ms);
            self.full_at_ms.insert(key, full_at);
        }
        wait
    }

    /// Gives one attempt back: it was a good one.
    pub(crate) fn give_back(&mut self, key: &K) {
        if let Some(full_at) = self.full_at_ms.get_mut(key) {
            *full_at = full_at.saturating_sub(self.cost_ms);
        }
    }

    /// Forgets what a key has used up.
    pub(crate) fn forgive(&mut self, key: &K) {
        self.full_at_ms.remove(key);
    }

    fn make_room(&mut self, now_ms: u64) {
        if self.full_at_ms.len() < MAX_KEYS {
            return;
        }
        self.full_at_ms.retain(|_, full_at| *full_at > now_ms);
        if self.full_at_ms.len() >= MAX_KEYS {
            let mut times: Vec<u64> = self.full_at_ms.values().copied().collect();
            let (_, limit, _) = times.select_nth_unstable(MAX_KEYS / 10);
            let limit = *limit;
            // Strictly below would keep all where all are the same.
            let mut room = MAX_KEYS / 10;
            self.full_at_ms.retain(|_, full_at| {
                let forget = room > 0 && *full_at <= limit;
                room -= usize::from(forget);
                !forget
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate_then_rest() {
        let mut brake = Brake::new(3, 1000);
        for _ in 0..3 {
            assert_eq!(brake.take("a", 0), 0);
        }
        assert_eq!(brake.take("a", 0), 1000);
        assert_eq!(brake.take("a", 400), 600, "waiting pays nothing");
        assert_eq!(brake.take("b", 0), 0, "another key is free");
        assert_eq!(brake.take("a", 1000), 0);
        assert_eq!(brake.take("a", 1000), 1000);
        brake.forgive(&"a");
        assert_eq!(brake.take("a", 1000), 0);
        for _ in 0..3 {
            assert_eq!(brake.take("b", 100_000), 0, "full again after a rest");
        }
        brake.give_back(&"b");
        assert_eq!(brake.take("b", 100_000), 0);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut brake = Brake::new(1, 1000);
        for key in 0..30_000 {
            assert_eq!(brake.take(key, 0), 0);
        }
        assert!(brake.full_at_ms.len() <= MAX_KEYS);
    }
}
