//! From a cut of the core to a clip's tracks in the clear, in RAM: fragmented MP4 for each camera,
//! signals as `fleet.v1.ClipSignals`. All tracks count time from the clip's first picture.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use temoin_agent_core::{
    drive::Cut,
    gop_ring::{Gop, Video},
    signal_history::ClipSignals,
};
use temoin_media::{
    fmp4::{Fmp4Error, Writer},
    h264::{AccessUnit, StreamConfig},
};
use temoin_proto::{
    mark::MarkKey, samples::STANDARD_GRAVITY_MPS2, sealed::TrackName, time::MonoTime, wire,
};
use zeroize::Zeroizing;

use crate::seal::PlainTrack;

/// How long a picture is shown that is the only one of its GOP and of the clip's end.
const ONLY_PICTURE: Duration = Duration::from_millis(66);

/// More than MP4 says at a file's and at a fragment's beginning, and of each picture.
const HEAD_BYTES: usize = 1024;
const UNIT_HEAD_BYTES: usize = 32;

/// Why a clip has no tracks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClipFileError {
    /// No camera gave a picture.
    #[error("no camera gave a picture for this clip")]
    NoPicture,
    /// A video's stream was never described by its encoder.
    #[error("the encoder of `{}` never described its stream", .0.as_str())]
    NoStream(Video),
    /// The MP4 could not be written.
    #[error(transparent)]
    Fmp4(#[from] Fmp4Error),
}

/// A clip in the clear.
pub(crate) struct ClipFile {
    /// The first picture's time.
    pub origin: MonoTime,
    /// Length, milliseconds.
    pub duration_ms: u64,
    /// The tracks.
    pub tracks: Vec<PlainTrack>,
}

/// Writes the tracks of a cut. `others_blurred` says it for each video, `mark` is the key of the unit's
/// mark in all of them.
///
/// # Errors
/// [`ClipFileError`].
pub(crate) fn write(
    cut: &Cut,
    streams: &BTreeMap<Video, Arc<StreamConfig>>,
    others_blurred: &BTreeMap<Video, bool>,
    mark: &MarkKey,
) -> Result<ClipFile, ClipFileError> {
    let seen = || cut.tracks.iter().filter(|t| !t.gops.is_empty());
    let origin = seen().filter_map(|t| t.gops.first().map(|g| g.start())).min();
    let end = seen().filter_map(|t| t.gops.last().map(|g| shown_until(g))).max();
    let (origin, end) = origin.zip(end).ok_or(ClipFileError::NoPicture)?;
    let mut tracks = Vec::with_capacity(TrackName::ALL.len());
    for track in seen() {
        let stream = streams.get(&track.video).ok_or(ClipFileError::NoStream(track.video))?;
        let media_type = format!("video/mp4; codecs=\"{}\"", stream.codec_string());
        let mut writer = Writer::new(StreamConfig::clone(stream), origin);
        // All of it at once: a vector that grows would leave pictures behind that are not wiped.
        let units = || track.gops.iter().flat_map(|gop| gop.units());
        let most = HEAD_BYTES
            + track.gops.len() * HEAD_BYTES
            + units().map(|u| u.data.len() + UNIT_HEAD_BYTES).sum::<usize>();
        let mut file = Zeroizing::new(Vec::with_capacity(most));
        file.extend_from_slice(&writer.init(Some(end.since(origin)))?);
        let ends = track.gops.iter().skip(1).map(|next| next.start());
        for (gop, end) in track.gops.iter().zip(ends.map(Some).chain([None])) {
            let units: Vec<AccessUnit> = gop
                .units()
                .iter()
                .map(|u| AccessUnit { at: u.at, key: u.key, data: u.data.clone() })
                .collect();
            let fragment = writer.fragment(&units, end.unwrap_or_else(|| shown_until(gop)))?;
            file.extend_from_slice(&fragment);
        }
        let others_blurred = others_blurred.get(&track.video).copied();
        let name = track_name(track.video);
        debug_assert!(file.len() <= most, "{} bytes written, {most} expected", file.len());
        tracks.push(PlainTrack { name, media_type, others_blurred, bytes: file });
    }
    tracks.push(PlainTrack {
        name: TrackName::Signals,
        media_type: "application/x-protobuf; messageType=\"fleet.v1.ClipSignals\"".to_owned(),
        others_blurred: None,
        bytes: Zeroizing::new(signals(&cut.signals, origin, mark).encode_to_vec()),
    });
    let duration_ms = u64::try_from(end.since(origin).as_millis()).unwrap_or(u64::MAX);
    Ok(ClipFile { origin, duration_ms, tracks })
}

/// The track that a video becomes.
pub(crate) fn track_name(video: Video) -> TrackName {
    match video {
        Video::Shown(camera) => camera.into(),
        Video::Unblurred(camera) => TrackName::unblurred(camera),
    }
}

/// When a GOP's last picture stops being shown, where no other follows: after one more interval.
fn shown_until(gop: &Gop) -> MonoTime {
    let intervals = u32::try_from(gop.units().len().saturating_sub(1)).unwrap_or(u32::MAX);
    let interval = gop.last().since(gop.start()).checked_div(intervals).unwrap_or(ONLY_PICTURE);
    gop.last() + interval
}

#[expect(clippy::cast_possible_truncation, reason = "speeds, g and milliseconds of a clip fit")]
fn signals(s: &ClipSignals, origin: MonoTime, mark: &MarkKey) -> wire::ClipSignals {
    let offset_ms = |at: MonoTime| (at.secs_from(origin) * 1000.0).round() as i32;
    let g = |mps2: f64| (mps2 / STANDARD_GRAVITY_MPS2) as f32;
    wire::ClipSignals {
        speed: s
            .speed
            .iter()
            .map(|p| wire::SpeedPoint { offset_ms: offset_ms(p.at), mps: p.mps as f32 })
            .collect(),
        acceleration: s
            .motion
            .iter()
            .map(|p| wire::AccelerationPoint {
                offset_ms: offset_ms(p.at),
                longitudinal_g: g(p.longitudinal_mps2),
                lateral_g: g(p.lateral_mps2),
            })
            .collect(),
        position: s
            .fixes
            .iter()
            .map(|p| wire::PositionPoint {
                offset_ms: offset_ms(p.at),
                lat_deg: p.lat_deg,
                lon_deg: p.lon_deg,
            })
            .collect(),
        driver_face: s
            .faces
            .iter()
            .filter_map(|p| p.face.map(|f| (p.at, f)))
            .map(|(at, f)| wire::FacePoint {
                offset_ms: offset_ms(at),
                x: f.x,
                y: f.y,
                w: f.w,
                h: f.h,
            })
            .collect(),
        unit_mark: Some(wire::UnitMark {
            key: Bytes::copy_from_slice(mark.as_bytes()),
            begin_ns: u64::try_from(origin.since(MonoTime::ZERO).as_nanos()).unwrap_or(u64::MAX),
        }),
    }
}
