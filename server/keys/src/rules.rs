//! What is allowed: pure functions of an entry, a head and the time.

use serde::{Deserialize, Serialize};
use temoin_access_log::{
    Action, Checkpoint, Hash, Leaf, WitnessPublicKey,
    checkpoint::KeyError,
    cosignature::{is_fresh, quorum_at},
    tree,
};
use temoin_proto::ids::ClipId;

use crate::message::Refusal;

/// How old or how far ahead of this process's clock an entry may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// An entry opens its clip for this long. 15 minutes: as long as the server streams a view.
    pub max_entry_age_s: u32,
    /// Tolerance for a clock that was just set right. Own choice: server and key service share a
    /// machine and so a clock.
    pub max_future_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_entry_age_s: 15 * 60, max_future_s: 5 }
    }
}

/// Whether this entry, proven to be in the log, opens this clip now.
///
/// # Errors
/// [`Refusal::NotLogged`], [`Refusal::Stale`].
pub fn opens(leaf: &Leaf, clip: ClipId, now_ms: i64, limits: Limits) -> Result<(), Refusal> {
    if !leaf.action.opens() || leaf.clip != Some(clip) {
        return Err(Refusal::NotLogged);
    }
    is_of_now(leaf, now_ms, limits)
}

/// Whether this entry, proven to be in the log, says that this clip is compared with a leak now: then
/// the marks of its views are told.
///
/// # Errors
/// [`Refusal::NotLogged`], [`Refusal::Stale`].
pub fn traces(leaf: &Leaf, clip: ClipId, now_ms: i64, limits: Limits) -> Result<(), Refusal> {
    if leaf.action != Action::TRACE || leaf.clip != Some(clip) {
        return Err(Refusal::NotLogged);
    }
    is_of_now(leaf, now_ms, limits)
}

fn is_of_now(leaf: &Leaf, now_ms: i64, limits: Limits) -> Result<(), Refusal> {
    let age_ms = now_ms.saturating_sub(leaf.at_unix_ms);
    let oldest = i64::from(limits.max_entry_age_s) * 1000;
    let newest = -i64::from(limits.max_future_s) * 1000;
    if (newest..=oldest).contains(&age_ms) { Ok(()) } else { Err(Refusal::Stale) }
}

/// Whether this entry, proven to be in the log, says that this clip was deleted. At any age: it
/// takes away only, and a deletion that a crash cut off is made good later.
///
/// # Errors
/// [`Refusal::NotLogged`].
pub fn deletes(leaf: &Leaf, clip: ClipId) -> Result<(), Refusal> {
    let good = leaf.action == Action::DELETE && leaf.clip == Some(clip);
    if good { Ok(()) } else { Err(Refusal::NotLogged) }
}

/// A head of the log, by what matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

impl From<&Checkpoint> for Head {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size(), root: checkpoint.root() }
    }
}

/// What a head is to the newest one seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It is the same.
    Same,
    /// It continues it, and is the newest one from now on.
    Newer,
}

/// The proof that a head continues another one.
#[derive(Debug, Clone, Copy)]
pub struct Consistency<'a> {
    /// The size of the head that it begins at: the newest that this process has seen, as far as
    /// who asks knows.
    pub from: u64,
    /// The hashes, none where both heads are the same.
    pub hashes: &'a [Hash],
}

/// Whether a signed head is, or continues, the newest one seen. A smaller head is refused even
/// where it is a true beginning of the log: who asks can always prove under the newest head, and
/// who cannot has another log.
///
/// # Errors
/// [`Refusal::HeadMoved`] where who asks does not know the newest head, [`Refusal::RolledBack`]
/// and [`Refusal::Forked`] where they do and have another log.
pub fn follows(seen: Head, head: Head, proof: Consistency<'_>) -> Result<Follows, Refusal> {
    if head == seen {
        return Ok(Follows::Same);
    }
    if head.size == seen.size {
        return Err(Refusal::Forked);
    }
    if proof.from != seen.size {
        return Err(Refusal::HeadMoved { size: seen.size });
    }
    if head.size < seen.size {
        return Err(Refusal::RolledBack { size: seen.size });
    }
    tree::check_consistency(proof.hashes, seen.size, seen.root, head.size, head.root)
        .map(|()| Follows::Newer)
        .map_err(|_| Refusal::Forked)
}

/// Whether a head that witnesses cosigned is in one history with the newest head seen: it may be
/// behind it, as cosignatures come after entries.
///
/// # Errors
/// [`Refusal::HeadMoved`] where who asks does not know the newest head, [`Refusal::Forked`] where
/// they do and have another log.
pub fn is_of_one_history(
    seen: Head,
    head: Head,
    proof: Consistency<'_>,
) -> Result<Follows, Refusal> {
    if head.size >= seen.size {
        return follows(seen, head, proof);
    }
    if proof.from != seen.size {
        return Err(Refusal::HeadMoved { size: seen.size });
    }
    tree::check_consistency(proof.hashes, head.size, head.root, seen.size, seen.root)
        .map(|()| Follows::Same)
        .map_err(|_| Refusal::Forked)
}

/// Whose word is needed that others have seen the log too, as the configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessRule {
    /// The witnesses' public keys, `name+id+key`; one of them is enough.
    pub public_keys: Vec<String>,
    /// How old its cosignature may be.
    pub max_age_s: u32,
}

/// The same, with the keys read.
#[derive(Debug, Clone)]
pub struct Witnesses {
    keys: Vec<WitnessPublicKey>,
    max_age_s: u32,
}

impl Witnesses {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`]: a key that is none.
    pub fn new(rule: &WitnessRule) -> Result<Self, KeyError> {
        let keys = rule.public_keys.iter().map(|key| key.parse());
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, max_age_s: rule.max_age_s })
    }

    /// When the latest of them cosigned this head, seconds since 1970.
    ///
    /// # Errors
    /// [`Refusal::Unwitnessed`] where none of them did.
    pub fn cosigned_at(&self, head: &Checkpoint) -> Result<u64, Refusal> {
        quorum_at(head, &self.keys, 1).ok_or(Refusal::Unwitnessed)
    }

    /// Whether the latest cosignature that was shown is young enough. Where none was, it is not.
    ///
    /// # Errors
    /// [`Refusal::Unwitnessed`].
    pub fn are_fresh(&self, cosigned_s: Option<u64>, now_ms: i64) -> Result<(), Refusal> {
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        let within_s = u64::from(self.max_age_s);
        let good = cosigned_s.is_some_and(|at_s| is_fresh(at_s, now_s, within_s));
        if good { Ok(()) } else { Err(Refusal::Unwitnessed) }
    }
}

#[cfg(test)]
mod tests {
    use temoin_access_log::tree::{Tree, leaf_hash};

    use super::*;

    #[test]
    fn an_entry_opens_its_clip_for_a_while() {
        let (clip, other) = (ClipId::new(), ClipId::new());
        let limits = Limits::default();
        let mut leaf = Leaf::new(1_000_000, Action::VIEW);
        leaf.clip = Some(clip);
        for (after_ms, expected) in [
            (0, Ok(())),
            (900_000, Ok(())),
            (900_001, Err(Refusal::Stale)),
            (-5_000, Ok(())),
            (-5_001, Err(Refusal::Stale)),
        ] {
            assert_eq!(opens(&leaf, clip, 1_000_000 + after_ms, limits), expected, "{after_ms}");
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(opens(&leaf, clip, extreme, limits), Err(Refusal::Stale));
            leaf.at_unix_ms = extreme;
            assert_eq!(opens(&leaf, clip, 0, limits), Err(Refusal::Stale));
            leaf.at_unix_ms = 1_000_000;
        }
        assert_eq!(opens(&leaf, other, 1_000_000, limits), Err(Refusal::NotLogged));
        for (action, view, delete) in [
            (Action::VIEW, true, false),
            (Action::EXPORT, true, false),
            (Action::DELETE, false, true),
            (Action::VIEW_REFUSED, false, false),
            (Action::SIGN_IN, false, false),
            ("later_word".parse().unwrap(), false, false),
        ] {
            leaf.action = action;
            assert_eq!(opens(&leaf, clip, 1_000_000, limits).is_ok(), view, "{}", leaf.action);
            assert_eq!(deletes(&leaf, clip).is_ok(), delete, "{}", leaf.action);
            assert!(deletes(&leaf, other).is_err());
        }
        leaf.clip = None;
        leaf.action = Action::VIEW;
        assert!(opens(&leaf, clip, 1_000_000, limits).is_err());
    }

    #[test]
    fn a_head_continues_the_one_before() {
        let grow = |salt: &str, from: &mut Tree, to: u64| {
            while from.size() < to {
                from.push(leaf_hash(format!("{salt}{}", from.size()).as_bytes())).unwrap();
            }
        };
        let mut good = Tree::default();
        grow("good", &mut good, 20);
        let mut fork = Tree::default();
        grow("good", &mut fork, 9);
        grow("fork", &mut fork, 20);
        let head = |tree: &Tree, size| Head { size, root: tree.with(&[]).root(size).unwrap() };
        let proof = |tree: &Tree, old, new| tree.with(&[]).consistency_proof(old, new).unwrap();
        let seen = head(&good, 11);

        let ask =
            |seen, head, from, hashes: &[Hash]| follows(seen, head, Consistency { from, hashes });
        assert_eq!(ask(seen, seen, 11, &[]), Ok(Follows::Same));
        assert_eq!(ask(seen, seen, 3, &[]), Ok(Follows::Same));
        let newer = ask(seen, head(&good, 20), 11, &proof(&good, 11, 20));
        assert_eq!(newer, Ok(Follows::Newer));
        assert_eq!(ask(head(&good, 0), head(&good, 20), 0, &[]), Ok(Follows::Newer));

        let moved = Err(Refusal::HeadMoved { size: 11 });
        assert_eq!(ask(seen, head(&good, 20), 10, &proof(&good, 10, 20)), moved, "behind");
        assert_eq!(ask(seen, head(&good, 10), 9, &proof(&good, 9, 10)), moved, "behind");
        let cut = Err(Refusal::RolledBack { size: 11 });
        assert_eq!(ask(seen, head(&good, 10), 11, &proof(&good, 10, 11)), cut);
        assert_eq!(ask(seen, head(&good, 0), 11, &[]), cut, "emptied");
        let forked = Err(Refusal::Forked);
        assert_eq!(ask(seen, head(&good, 20), 11, &[]), forked, "without a proof");
        assert_eq!(ask(seen, head(&fork, 11), 11, &[]), forked);
        assert_eq!(ask(seen, head(&fork, 20), 11, &proof(&fork, 11, 20)), forked, "earlier");
        assert_eq!(ask(seen, head(&fork, 20), 11, &proof(&good, 11, 20)), forked);
    }
}
