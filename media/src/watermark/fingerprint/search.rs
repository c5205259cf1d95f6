//! Goes over the fingerprints of all clips and keeps those that agree best with a leak.
//!
//! Every word of the leak, under each way in which the leak may lie (turned, mirrored), goes into one
//! table; a bit for each possible word says whether it is in there. The search is one pass over the
//! bytes as they lie in the database, with no index of them: most words fall at the bit, and what is
//! left of a clip is checked for agreement in place and time (`agreement.rs`). How often each
//! word comes in *this* database is counted on the way: a word that half of the clips have, as that
//! of a seat that all of a vehicle's pictures show, says little.
//!
//! What a score means: 10 to the power of minus [`Score::evidence`] is about how many clips would
//! agree as well if words fell by chance, as often as they do in this database. It is a rank and a
//! reason to look closer, not evidence against anybody: words of one scene hang together, and two
//! clips of one vehicle do agree. What is evidence comes from the mark ([`crate::watermark::detect`]).
//!
//! INVARIANT: memory is bounded by the query and by the number of clips that are kept, not by the
//! number that are searched.

use std::time::Duration;

use temoin_proto::sealed::TrackName;

use super::{
    FingerprintError, KEY_BITS, Raw,
    agreement::{Agreement, Hit, Marks, REACH, best},
    describe::PROBES,
    look::{QueryLook, TURNS_DEG, WAYS, query_look},
};
use crate::frame::{I420Picture, PictureError};

/// How far off its time a word may be, ms: half of what lies between two looks of a leak, and a leak
/// of 10 s at 1.05 times its speed. Own choice: validate.
pub(super) const WINDOW_MS: i32 = 400;
/// Looks of a leak that are searched for; of more, every second, third or so on.
pub const MOST_QUERY_LOOKS: usize = 12;
/// [`Score::evidence`] from which on a clip counts as found: chance would do as well in one of 1,000
/// searches, were words independent. Own choice: validate.
pub const FOUND: f32 = 3.0;
/// Clips that are kept for the second, exact look at the end, at least.
const LEAST_KEPT: usize = 128;
/// How far a point may move and still stand still, short sides of the leak: a hand shakes.
const STILL: f32 = 0.025;
/// A word that falls on its place by chance more often than in one of two clips is left out: it says
/// nothing and takes time.
const LEAST_RARITY: f32 = 0.3;
/// Bits for every word there can be.
const KEYS: usize = 1 << KEY_BITS;

/// A point of the leak that a word leads to.
#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    x: f32,
    y: f32,
    /// From when to when in the leak.
    from_ms: i32,
    to_ms: i32,
    way: u8,
}

/// A leak, ready to be searched for.
#[derive(Debug)]
pub struct Query {
    /// A bit for every word.
    bits: Vec<u64>,
    /// Where the entries of each word begin, and at the end where the last end.
    starts: Vec<u32>,
    entries: Vec<Entry>,
    /// -log10 of how many words of the leak a place and time of the original could be, at scale 1.
    alone: f32,
    /// From the first look to the last.
    span_ms: u32,
}

impl Query {
    /// Looks at [`MOST_QUERY_LOOKS`] of a leak's pictures, as far apart as can be: of a short one, each
    /// look that a unit kept is then near several of them. Each with its time in the leak, in order.
    ///
    /// # Errors
    /// [`PictureError::OpenCv`].
    pub fn of_pictures<'a>(
        pictures: impl ExactSizeIterator<Item = (Duration, &'a I420Picture)>,
    ) -> Result<Self, PictureError> {
        let (all, mut wanted) = (pictures.len(), 0);
        let mut looks = Vec::with_capacity(MOST_QUERY_LOOKS);
        for (n, (at, picture)) in pictures.enumerate() {
            // The next of so many steps over all of them.
            if n * MOST_QUERY_LOOKS >= wanted * all {
                wanted += 1;
                let at_ms = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
                looks.push(query_look(&picture.view(), at_ms)?);
            }
        }
        Ok(Self::new(&looks))
    }

    /// Of what was seen in a leak, in the order of time.
    pub fn new(looks: &[QueryLook]) -> Self {
        let step = looks.len().div_ceil(MOST_QUERY_LOOKS).max(1);
        let looks: Vec<&QueryLook> = looks.iter().step_by(step).collect();
        let first = looks.iter().map(|look| look.at_ms).min().unwrap_or(0);
        let last = looks.iter().map(|look| look.at_ms).max().unwrap_or(0);
        let all = lasting(looks.iter().flat_map(|look| entries_of(look)).collect());
        let mut starts = vec![0_u32; KEYS + 1];
        let mut bits = vec![0_u64; KEYS / 64];
        for (key, _) in &all {
            if let (Some(count), Some(bits)) = (starts.get_mut(key + 1), bits.get_mut(key / 64)) {
                *count += 1;
                *bits |= 1 << (key % 64);
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let entries = all.into_iter().map(|(_, entry)| entry).collect();
        let span_ms = last - first;
        Self { bits, starts, entries, alone: alone(&looks, span_ms), span_ms }
    }

    fn entries(&self, key: u32) -> &[Entry] {
        let Ok(key) = usize::try_from(key) else { return &[] };
        if self.bits.get(key / 64).is_none_or(|bits| bits >> (key % 64) & 1 == 0) {
            return &[];
        }
        let (Some(from), Some(to)) = (self.starts.get(key), self.starts.get(key + 1)) else {
            return &[];
        };
        let (Ok(from), Ok(to)) = (usize::try_from(*from), usize::try_from(*to)) else {
            return &[];
        };
        self.entries.get(from..to).unwrap_or_default()
    }
}

/// In the order of words, and what stands still as one: the same word, at its place in one look
/// after the other.
fn lasting(mut all: Vec<(usize, Entry)>) -> Vec<(usize, Entry)> {
    all.sort_by_key(|(key, entry)| (*key, entry.way, entry.from_ms));
    let mut out: Vec<(usize, Entry)> = Vec::with_capacity(all.len() / 2);
    // Where the entries of this word and way begin.
    let mut group = 0;
    for (key, entry) in all {
        if out.last().is_none_or(|(last, before)| (*last, before.way) != (key, entry.way)) {
            group = out.len();
        }
        let same = out.get_mut(group..).unwrap_or_default().iter_mut().find(|(_, before)| {
            let (dx, dy) = (entry.x - before.x, entry.y - before.y);
            entry.from_ms - before.to_ms <= 2 * WINDOW_MS && dx * dx + dy * dy < STILL * STILL
        });
        match same {
            Some((_, before)) => before.to_ms = entry.to_ms,
            None => out.push((key, entry)),
        }
    }
    out
}

/// The words of a look with what they lead to.
fn entries_of(look: &QueryLook) -> impl Iterator<Item = (usize, Entry)> {
    let at_ms = i32::try_from(look.at_ms).unwrap_or(i32::MAX / 4);
    look.points.iter().flat_map(move |point| {
        (0_u8..).zip(&point.keys).flat_map(move |(way, keys)| {
            let x = if is_mirrored(way) { look.sides.0 - point.x } else { point.x };
            let entry = Entry { x, y: point.y, from_ms: at_ms, to_ms: at_ms, way };
            keys.iter().filter_map(move |key| Some((usize::try_from(*key).ok()?, entry)))
        })
    })
}

fn is_mirrored(way: u8) -> bool {
    usize::from(way) >= TURNS_DEG.len()
}

/// How far the leak is turned to the original in a way, radians.
fn turn_rad(way: usize) -> f32 {
    let turns = TURNS_DEG.len();
    let turn = TURNS_DEG.get(way % turns).copied().unwrap_or(0.0).to_radians();
    if way < turns { turn } else { -turn }
}

/// See [`Query::alone`].
#[expect(clippy::cast_precision_loss, reason = "counts of looks and points")]
fn alone(looks: &[&QueryLook], span_ms: u32) -> f32 {
    let points: usize = looks.iter().map(|look| look.points.len()).sum();
    let area = looks.iter().map(|look| look.sides.0 * look.sides.1).fold(f32::MAX, f32::min);
    let windows = (span_ms as f32 / (2 * WINDOW_MS) as f32).max(1.0);
    let reach = std::f32::consts::PI * REACH * REACH / area.max(1.0);
    -(PROBES as f32 * points as f32 * reach / windows).max(1e-3).log10()
}

/// How well a clip agrees with a leak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// -log10 of how many clips of the search would agree as well by chance.
    pub evidence: f32,
    /// Words that agree in place and time.
    pub words: u16,
    /// Which camera the leak shows.
    pub track: TrackName,
    /// When in the clip the leak begins, ms; before the clip's beginning where it is negative.
    pub offset_ms: i32,
    /// Whether the leak is mirrored.
    pub mirrored: bool,
    /// Short sides of the leak's pictures to one of the original's.
    pub scale: f32,
}

impl Score {
    /// Whether chance would hardly have done this: see [`FOUND`].
    pub fn is_found(&self) -> bool {
        self.evidence >= FOUND
    }
}

/// A clip that agrees with a leak.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<Id> {
    /// As it was given to [`Search::push`].
    pub id: Id,
    /// How well.
    pub score: Score,
}

struct Kept<Id> {
    id: Id,
    evidence: f32,
    bytes: Box<[u8]>,
}

/// One pass over fingerprints. Several may go over parts of them at once and be joined.
pub struct Search<'q, Id> {
    query: &'q Query,
    /// How many are kept for the end.
    keep: usize,
    kept: Vec<Kept<Id>>,
    /// The least evidence among the kept, once there are enough.
    bar: f32,
    counts: Counts,
    room: Room,
}

/// What the search met.
struct Counts {
    /// How often each word came that the leak has.
    seen: Vec<u32>,
    words: u64,
    clips: u64,
}

/// Room to work in, kept from clip to clip.
#[derive(Default)]
struct Room {
    hits: [Vec<Hit>; WAYS],
    keys: Vec<u32>,
    marks: Marks,
}

impl Counts {
    /// -log10 of how often a word of the database is this one.
    fn rarity(&self, key: u32) -> f32 {
        let seen = usize::try_from(key).ok().and_then(|key| self.seen.get(key)).copied();
        // As if each had come once before: what was never met is not impossible.
        #[expect(clippy::cast_precision_loss, reason = "only its logarithm counts")]
        let rate = (seen.unwrap_or(0) as f32 + 1.0) / (self.words as f32 + KEYS as f32);
        -rate.log10()
    }
}

impl<'q, Id> Search<'q, Id> {
    /// Of which the best `most` are wanted.
    pub fn new(query: &'q Query, most: usize) -> Self {
        let counts = Counts { seen: vec![0; KEYS], words: 0, clips: 0 };
        let keep = most.max(LEAST_KEPT);
        Self { query, keep, kept: Vec::new(), bar: f32::MIN, counts, room: Room::default() }
    }

    /// Searches a clip's fingerprint, as its bytes lie. A clip's tracks come one by one.
    ///
    /// # Errors
    /// Where the bytes are no fingerprint. The search goes on without them.
    pub fn push(&mut self, id: Id, bytes: &[u8]) -> Result<(), FingerprintError> {
        let Some((_, words)) = self.room.gather(self.query, &self.counts, bytes)? else {
            return Ok(());
        };
        self.counts.clips += 1;
        self.counts.words += u64::from(words);
        for key in &self.room.keys {
            let seen = usize::try_from(*key).ok().and_then(|key| self.counts.seen.get_mut(key));
            if let Some(seen) = seen {
                *seen = seen.saturating_add(1);
            }
        }
        if let Some((agreement, _)) = self.room.best()
            && agreement.evidence > self.bar
        {
            self.kept.push(Kept { id, evidence: agreement.evidence, bytes: bytes.into() });
            if self.kept.len() >= 2 * self.keep {
                self.shorten();
            }
        }
        Ok(())
    }

    /// Leaves the best, and raises the bar to the last of them.
    fn shorten(&mut self) {
        self.kept.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        self.kept.truncate(self.keep);
        if self.kept.len() == self.keep {
            self.bar = self.kept.last().map_or(f32::MIN, |kept| kept.evidence);
        }
    }

    /// Joins what another search of the same leak found in other clips.
    pub fn join(&mut self, other: Self) {
        for (seen, more) in self.counts.seen.iter_mut().zip(other.counts.seen) {
            *seen = seen.saturating_add(more);
        }
        self.counts.words += other.counts.words;
        self.counts.clips += other.counts.clips;
        self.kept.extend(other.kept);
    }

    /// Clips' tracks that were searched.
    pub const fn searched(&self) -> u64 {
        self.counts.clips
    }

    /// The best `most`, the best first, judged by how often each word came in the whole search.
    pub fn finish(mut self, most: usize) -> Vec<Found<Id>> {
        #[expect(clippy::cast_precision_loss, reason = "only its logarithm counts")]
        let chances = (self.counts.clips.max(1) as f32).log10();
        let mut found = Vec::new();
        for kept in self.kept {
            // It was one when it came.
            let Ok(Some((track, _))) = self.room.gather(self.query, &self.counts, &kept.bytes)
            else {
                continue;
            };
            let Some((best, way)) = self.room.best() else { continue };
            let score = Score {
                evidence: best.evidence - chances,
                words: best.words,
                track,
                offset_ms: best.offset_ms,
                mirrored: way >= TURNS_DEG.len(),
                scale: best.scale,
            };
            found.push(Found { id: kept.id, score });
        }
        found.sort_by(|a, b| b.score.evidence.total_cmp(&a.score.evidence));
        found.truncate(most);
        found
    }
}

impl Room {
    /// Fills in which words of the clip the leak has. Says its track and how many words it has in all;
    /// none where it has none.
    fn gather(
        &mut self,
        query: &Query,
        counts: &Counts,
        bytes: &[u8],
    ) -> Result<Option<(TrackName, u32)>, FingerprintError> {
        self.hits.iter_mut().for_each(Vec::clear);
        self.keys.clear();
        let mut raw = Raw::open(bytes)?;
        let track = raw.track;
        let sides = raw.shape.sides();
        let (mut count, mut first, mut last) = (0_u32, None, 0);
        while let Some((at_ms, words)) = raw.next_look()? {
            first.get_or_insert(at_ms);
            last = at_ms;
            let at_ms = i32::try_from(at_ms).unwrap_or(i32::MAX);
            for word in words {
                let number = count;
                count += 1;
                let entries = query.entries(word.key());
                if entries.is_empty() {
                    continue;
                }
                self.keys.push(word.key());
                let Ok(number) = u16::try_from(number) else { continue };
                let rarity = counts.rarity(word.key()) + query.alone;
                let (x, y) = word.place();
                let (x, y) = (x * sides.0, y * sides.1);
                for entry in entries {
                    if let Some(hits) = self.hits.get_mut(usize::from(entry.way)) {
                        hits.push(Hit {
                            word: number,
                            x,
                            y,
                            leak_x: entry.x,
                            leak_y: entry.y,
                            offsets_ms: (at_ms - entry.to_ms, at_ms - entry.from_ms),
                            rarity,
                        });
                    }
                }
            }
        }
        // Chance has as many words to try as the clip has during the leak.
        let span_ms = last - first.unwrap_or(0) + super::LOOK_EVERY_MS;
        #[expect(clippy::cast_precision_loss, reason = "a count of words and ms")]
        let during = count as f32
            * ((query.span_ms + super::LOOK_EVERY_MS) as f32 / span_ms as f32).min(1.0);
        let many = during.max(1.0).log10();
        for hits in &mut self.hits {
            hits.retain_mut(|hit| {
                hit.rarity -= many;
                hit.rarity >= LEAST_RARITY
            });
        }
        Ok((count > 0).then_some((track, count)))
    }

    /// The best agreement of all ways, and its way.
    fn best(&mut self) -> Option<(Agreement, usize)> {
        let marks = &mut self.marks;
        let ways = self.hits.iter_mut().enumerate();
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let chances = (WAYS as f32).log10();
        ways.filter_map(|(way, hits)| Some((best(hits, turn_rad(way), marks)?, way)))
            .max_by(|a, b| a.0.evidence.total_cmp(&b.0.evidence))
            .map(|(best, way)| (Agreement { evidence: best.evidence - chances, ..best }, way))
    }
}
