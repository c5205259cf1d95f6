//! Whether the search finds the recording that a leak shows among a hundred thousand.

use anyhow::Result;
use temoin_media::watermark::fingerprint::{
    Fingerprint, LOOK_EVERY_MS, Look, Query, Search, Shape, look,
};
use temoin_proto::sealed::TrackName;

use crate::{attacks::Clip, decoys::Decoys};

/// Clips that it is searched among.
const CLIPS: u32 = 100_000;
/// Recordings that a trace is laid on at most, as on the server.
const OPENED: usize = 8;
/// Pictures of a leak have at most this longer side, as on the server.
const LONGER: u32 = 640;

/// All other clips.
pub(super) struct Archive {
    others: Vec<Vec<u8>>,
}

impl Archive {
    /// Made of looks at other recordings than the leaks'.
    pub(super) fn of(pool: &[Look]) -> Result<Self> {
        let mut decoys = Decoys::of(pool);
        let others = (0..CLIPS).map(|_| decoys.fingerprint(TrackName::Road));
        Ok(Self { others: others.collect::<Result<_>>()? })
    }

    /// Whether the recording is among those that a trace of this leak opens.
    pub(super) fn finds(&self, recording: &[u8], leak: &Clip) -> Result<bool> {
        let (width, height) = leak.size()?;
        let longer = width.max(height);
        let side = |side: u32| if longer > LONGER { side * LONGER / longer / 2 * 2 } else { side };
        let mut pictures = Vec::with_capacity(leak.pictures.len());
        for (at, picture) in &leak.pictures {
            pictures.push((*at, picture.view().resize(side(width), side(height))?));
        }
        let query = Query::of_pictures(pictures.iter().map(|(at, picture)| (*at, picture)))?;
        let mut search = Search::new(&query, OPENED);
        search.push(None, recording)?;
        for (n, bytes) in self.others.iter().enumerate() {
            search.push(Some(n), bytes)?;
        }
        Ok(search.finish(OPENED).iter().any(|found| found.id.is_none() && found.score.is_found()))
    }
}

/// What a unit would have kept of a recording.
pub(super) fn looks(clip: &Clip) -> Result<Vec<Look>> {
    let (mut looks, mut next_ms) = (Vec::new(), 0);
    for (at, picture) in &clip.pictures {
        let at_ms = u32::try_from(at.as_millis())?;
        if at_ms >= next_ms {
            looks.push(look(&picture.view(), at_ms)?);
            next_ms = at_ms + LOOK_EVERY_MS;
        }
    }
    Ok(looks)
}

/// Its bytes.
pub(super) fn fingerprint(clip: &Clip) -> Result<Vec<u8>> {
    let (width, height) = clip.size()?;
    let shape = Shape::of(width, height)?;
    Ok(Fingerprint { track: TrackName::Road, shape, looks: looks(clip)? }.to_bytes()?)
}
