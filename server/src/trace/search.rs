//! Which recordings a file may show: its pictures are looked at, and the fingerprints of all clips gone
//! through.

use temoin_media::{
    frame::I420Picture,
    leak::{BarSearch, Bars, LeakError, LeakPicture},
    watermark::fingerprint::{Query, Search},
};
use temoin_proto::{
    ids::{ClipId, EventId},
    sealed::TrackName,
};

use super::{
    MOST_CLIPS, TraceError,
    decode::{self, DecodeError, Part},
    file::LeakFile,
};
use crate::{app::App, db::clips::StoredFingerprint, error::AppError, log::blocking};

/// The file is searched for in parts of this length, seconds, one after the other until one is found.
const PART_S: u32 = 60;
/// No more of it is looked at, seconds.
const MOST_S: f64 = 600.0;
/// How its pictures are looked at: longer side (pixels), pictures a second: enough that a leak of two
/// seconds gives as many as are looked for.
const SIDE: u16 = 640;
const FPS: u32 = 6;
/// Threads that search.
const THREADS: usize = 2;
/// Fingerprints that are read at once.
const PAGE: u32 = 4000;

/// A recording that the file may show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// The recording.
    pub(super) clip: ClipId,
    /// The camera's track, with others blurred.
    pub(super) track: TrackName,
    /// How its fingerprint agrees.
    pub(super) likeness: Option<f64>,
    /// When in the recording the file's part begins, seconds.
    pub(super) offset_s: Option<f64>,
    /// Where that part begins in the file, seconds.
    pub(super) from_s: f64,
    /// What is no picture in the decoder's squares.
    pub(super) bars: Bars,
}

/// What was looked at of a file.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Seconds of it.
    pub(super) seconds: f64,
    /// Pictures.
    pub(super) pictures: usize,
}

impl Seen {
    pub(super) fn add(&mut self, looked: &Looked) {
        self.seconds += looked.seconds;
        self.pictures += looked.pictures;
    }
}

/// A part of the file, looked at.
pub(super) struct Looked {
    query: Query,
    bars: Bars,
    from_s: f64,
    seconds: f64,
    pictures: usize,
}

impl Looked {
    /// Where the next part begins, if there is one.
    pub(super) fn next_s(&self) -> Option<f64> {
        let next = self.from_s + f64::from(PART_S);
        (self.seconds > f64::from(PART_S) - 2.0 && next < MOST_S).then_some(next)
    }
}

/// The file's end where it is looked for: a part that begins there has no picture.
pub(super) fn or_end(
    looked: Result<Looked, TraceError>,
    from_s: f64,
) -> Result<Option<Looked>, TraceError> {
    match looked {
        Err(TraceError::Decode(DecodeError::File(LeakError::File(_)))) if from_s > 0.0 => Ok(None),
        looked => looked.map(Some),
    }
}

/// Looks at a part of the file. Blocks.
pub(super) fn look(file: &LeakFile, from_s: f64) -> Result<Looked, TraceError> {
    let part = Part { side: SIDE, fps: FPS, from_s, most_s: PART_S };
    let mut pictures: Vec<LeakPicture> = Vec::new();
    let mut bars = BarSearch::default();
    decode::decode(file, part, |leaked| {
        bars.look(&leaked.picture);
        pictures.push(leaked);
    })?;
    let bars = bars.found();
    let last = pictures.last().map(|last| last.at.as_secs_f64());
    let mut cut = Vec::with_capacity(pictures.len());
    for leaked in &pictures {
        let gray = bars.cut(&leaked.picture, leaked.at);
        let mut data = gray.luma;
        data.resize(data.len() + data.len() / 2, 128);
        let picture =
            I420Picture::from_vec(gray.width, gray.height, data).map_err(picture_error)?;
        cut.push((leaked.at, picture));
    }
    let query = Query::of_pictures(cut.iter().map(|(at, picture)| (*at, picture)));
    Ok(Looked {
        query: query.map_err(picture_error)?,
        bars,
        from_s,
        seconds: last.unwrap_or(0.0),
        pictures: pictures.len(),
    })
}

fn push(search: &mut Search<'_, (ClipId, TrackName)>, rows: &[StoredFingerprint]) {
    for row in rows {
        if let Err(error) = search.push((row.clip, row.track), &row.bytes) {
            tracing::warn!(clip = %row.clip, %error, "a fingerprint cannot be searched");
        }
    }
}

fn picture_error(error: temoin_media::frame::PictureError) -> TraceError {
    TraceError::App(AppError::Picture(error.into()))
}

impl App {
    /// The recordings that the file may show, the likeliest first, and how many were searched. With an
    /// event only that one's, both cameras where its fingerprints say nothing.
    pub(super) async fn candidates(
        &self,
        looked: Looked,
        event: Option<EventId>,
    ) -> Result<(Vec<Candidate>, u64), TraceError> {
        let wanted = match event {
            None => None,
            Some(event) => match self.db().clip_of(event).await? {
                Some(clip) => Some(clip),
                None => {
                    return Err(DecodeError::File(LeakError::File(
                        "there is no such event, or it has no recording: give no event, or another"
                            .to_owned(),
                    ))
                    .into());
                }
            },
        };
        let (app, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let found = blocking(move || app.search(&runtime, &looked, wanted)).await??;
        Ok(found)
    }

    /// Goes through the fingerprints. Blocks.
    fn search(
        &self,
        runtime: &tokio::runtime::Handle,
        looked: &Looked,
        wanted: Option<ClipId>,
    ) -> Result<(Vec<Candidate>, u64), AppError> {
        let mut searches: [_; THREADS] =
            std::array::from_fn(|_| Search::new(&looked.query, MOST_CLIPS));
        let (mut after, mut clips, mut last) = (None, 0, None);
        loop {
            let page = runtime.block_on(self.db().fingerprints(wanted, after, PAGE))?;
            let Some(end) = page.last() else { break };
            after = Some((end.clip, end.track));
            for row in &page {
                if last != Some(row.clip) {
                    last = Some(row.clip);
                    clips += 1;
                }
            }
            std::thread::scope(|scope| {
                let parts = page.chunks(page.len().div_ceil(THREADS));
                for (search, part) in searches.iter_mut().zip(parts) {
                    scope.spawn(move || push(search, part));
                }
            });
        }
        let (from_s, bars) = (looked.from_s, looked.bars);
        let all = searches.into_iter().reduce(|mut all, part| {
            all.join(part);
            all
        });
        let found = all.map(|search| search.finish(MOST_CLIPS)).unwrap_or_default();
        let candidates: Vec<Candidate> = found
            .into_iter()
            .filter(|found| found.score.is_found())
            .map(|found| Candidate {
                clip: found.id.0,
                track: found.id.1,
                likeness: wanted.is_none().then_some(f64::from(found.score.evidence)),
                offset_s: Some(f64::from(found.score.offset_ms) / 1000.0),
                from_s,
                bars,
            })
            .collect();
        if let (true, Some(clip)) = (candidates.is_empty(), wanted) {
            let both = [TrackName::Road, TrackName::Cabin].map(|track| Candidate {
                clip,
                track,
                likeness: None,
                offset_s: None,
                from_s,
                bars,
            });
            return Ok((both.to_vec(), clips));
        }
        Ok((candidates, clips))
    }
}
