//! The lines that programs write for people and tests.

use std::collections::BTreeMap;

/// What a unit said on its standard output.
#[derive(Clone, Debug, Default)]
pub struct UnitJournal {
    /// Alerts: kind and second of the drive.
    pub alerts: Vec<(String, f64)>,
    /// Flagged events, in order.
    pub events: Vec<FlaggedEvent>,
    /// Clips that are durable on the unit, with the bytes of their sealed tracks.
    pub spooled: BTreeMap<String, u64>,
    /// Clips of which a part is durable on the unit since a crash, with the seconds that this took.
    pub so_far: Vec<(String, f64)>,
    /// Clips that the server has.
    pub uploaded: Vec<String>,
}

/// One flagged event.
#[derive(Debug, Clone, PartialEq)]
pub struct FlaggedEvent {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its begin, second of the drive.
    pub start_s: f64,
    /// Its end, second of the drive.
    pub end_s: f64,
    /// Its clip.
    pub clip: String,
}

impl UnitJournal {
    /// Reads the lines; those that say something else are passed over.
    pub fn read<S: AsRef<str>>(lines: &[S]) -> Self {
        let mut journal = Self::default();
        for line in lines {
            let words: Vec<&str> = line.as_ref().split_whitespace().collect();
            match words.as_slice() {
                ["alert", kind, at] => journal.alerts.push(((*kind).to_owned(), number(at))),
                ["event", id, kind, start, end, clip] => journal.events.push(FlaggedEvent {
                    id: (*id).to_owned(),
                    kind: (*kind).to_owned(),
                    start_s: number(start),
                    end_s: number(end),
                    clip: clip.trim_start_matches("clip=").to_owned(),
                }),
                ["clip", clip, "spooled", _, bytes] => {
                    let bytes = bytes.trim_start_matches("bytes=").parse().unwrap_or(0);
                    journal.spooled.insert((*clip).to_owned(), bytes);
                }
                ["clip", clip, "so_far", _, after_ms] => {
                    journal.so_far.push(((*clip).to_owned(), number(after_ms) / 1000.0));
                }
                ["clip", clip, "uploaded"] => journal.uploaded.push((*clip).to_owned()),
                _ => {}
            }
        }
        journal
    }
}

/// The number of `name=1.5`; NaN where there is none.
fn number(word: &str) -> f64 {
    word.split_once('=').and_then(|(_, n)| n.parse().ok()).unwrap_or(f64::NAN)
}
