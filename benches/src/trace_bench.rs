//! How long it takes to find the clip that a leak shows among a hundred thousand.
//!
//! The other clips are those of [`crate::decoys`], made in batches that are searched and forgotten: what is
//! timed is the pass over bytes, not their making.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use temoin_hw::video_file::PictureSize;
use temoin_media::{
    frame::I420Picture,
    watermark::fingerprint::{
        Fingerprint, LOOK_EVERY_MS, Look, Query, Search, Shape, look, query_look,
    },
};
use temoin_proto::{
    samples::{CameraId, Frame},
    sealed::TrackName,
    time::MonoTime,
};

use crate::{
    decoys::Decoys,
    figures::{Figure, median},
    input::Input,
};

/// The unit's default size and rate.
const SIZE: PictureSize = PictureSize { width: 1280, height: 720, fps: 15 };
/// Clips that are searched, of two cameras and 20 s each.
const CLIPS: u32 = 100_000;
/// Clips made at a time: 5 MB.
const BATCH: u32 = 2_000;
/// The leak: a picture each 500 ms for 6 s.
const LEAK_LOOKS: usize = 12;
const LEAK_EVERY: usize = 8;

/// The figures of finding a clip.
///
/// # Errors
/// Where a recording cannot be used.
pub fn figures(input: &Input) -> Result<Vec<Figure>> {
    let frames = input.frames(SIZE)?;
    let of = |camera| frames.iter().filter(move |frame: &&Frame| frame.camera == camera);
    let mut look_ms = Vec::new();
    let mut looked = |frame: &Frame, at_ms| -> Result<Look> {
        let picture = I420Picture::from_frame(frame.clone())?;
        let began = Instant::now();
        let looked = look(&picture.view(), at_ms)?;
        look_ms.push(began.elapsed().as_secs_f64() * 1e3);
        Ok(looked)
    };
    let pool = of(CameraId::Cabin).step_by(5).map(|frame| looked(frame, 0));
    let pool: Vec<Look> = pool.collect::<Result<_>>()?;
    ensure!(!pool.is_empty(), "the drive has no pictures of the cabin");
    let (mut right, mut leak, mut next_ms) = (Vec::new(), Vec::new(), 0);
    for (n, frame) in of(CameraId::Road).enumerate() {
        let since = frame.at.since(of(CameraId::Road).next().map_or(MonoTime::ZERO, |f| f.at));
        let at_ms = u32::try_from(since.as_millis())?;
        if at_ms >= next_ms && at_ms < 20_000 {
            right.push(looked(frame, at_ms)?);
            next_ms += LOOK_EVERY_MS;
        }
        if n.is_multiple_of(LEAK_EVERY) && leak.len() < LEAK_LOOKS {
            leak.push((I420Picture::from_frame(frame.clone())?, at_ms));
        }
    }
    let shape = Shape::of(SIZE.width, SIZE.height)?;
    let right = Fingerprint { track: TrackName::Road, shape, looks: right }.to_bytes()?;

    let began = Instant::now();
    let mut looks = Vec::new();
    for (picture, at_ms) in &leak {
        looks.push(query_look(&picture.view(), *at_ms)?);
    }
    let leak_s = began.elapsed().as_secs_f64();
    let find_s = find(&looks, &pool, &right)?;
    let set = input.data_set();
    Ok(vec![
        Figure::new("trace.find_clip_s", find_s, "s", 1, set)
            .goal("below 2: one leak of 6 s, 100,000 clips of two cameras, two threads"),
        Figure::new("trace.leak_looks_s", leak_s, "s", leak.len(), set)
            .goal("twelve pictures of a leak, one thread, before the search"),
        Figure::new("mark.look_ms", median(&look_ms)?, "ms", look_ms.len(), set)
            .goal("two looks each 1.5 s on the unit"),
    ])
}

/// Seconds of the query's making and of the search, without those of making the clips.
fn find(
    looks: &[temoin_media::watermark::fingerprint::QueryLook],
    pool: &[Look],
    right: &[u8],
) -> Result<f64> {
    let began = Instant::now();
    let query = Query::new(looks);
    let mut searches = [Search::new(&query, 5), Search::new(&query, 5)];
    let mut seconds = began.elapsed().as_secs_f64();
    let mut decoys = Decoys::of(pool);
    for first in (0..CLIPS).step_by(usize::try_from(BATCH)?) {
        let ids = || (first..first + BATCH).map(|id| id + 1);
        let mut batch = Vec::new();
        for id in ids() {
            for track in [TrackName::Cabin, TrackName::Road] {
                batch.push((id, decoys.fingerprint(track)?));
            }
        }
        let began = Instant::now();
        let (left, rest) = batch.split_at(batch.len() / 2);
        std::thread::scope(|scope| {
            for (search, part) in searches.iter_mut().zip([left, rest]) {
                scope.spawn(move || {
                    // Their own bytes are fingerprints; the count below would tell.
                    part.iter().for_each(|(id, bytes)| drop(search.push(*id, bytes)));
                });
            }
        });
        seconds += began.elapsed().as_secs_f64();
    }
    let began = Instant::now();
    let [mut search, other] = searches;
    search.push(0, right)?;
    search.join(other);
    let searched = search.searched();
    let found = search.finish(5);
    seconds += began.elapsed().as_secs_f64();
    ensure!(searched == u64::from(2 * CLIPS + 1), "{searched} tracks were searched");
    let best = found.first().context("nothing was found")?;
    ensure!(best.id == 0 && best.score.is_found(), "another clip was found: {best:?}");
    Ok(seconds)
}
