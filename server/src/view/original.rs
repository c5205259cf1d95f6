//! A recording's pictures for a comparison with a leak: they stay in this process, and nobody sees them.
//!
//! INVARIANT: the clip's key is there only against an entry `trace` of the access log; what is made of
//! the pictures is numbers.

use std::{ops::Range, time::Duration};

use temoin_media::{
    frame::{I420Picture, PictureError as FrameError},
    h264::{DecodedPicture, Decoder},
    watermark::register::Gray,
};
use temoin_proto::{
    ids::ClipId,
    manifest::{Manifest, Track},
    sealed::{ClipKey, TrackName},
    time::MonoTime,
};

use super::{
    PictureError,
    read::{TrackReader, UnitReader},
};
use crate::{app::App, error::AppError, log::blocking};

/// The shorter side of the pictures, pixels: as registration likes it best.
const SIDE: u32 = 360;
/// Threads of the decoder.
const THREADS: u32 = 2;

/// What a recording is compared by.
pub(crate) struct Originals {
    /// Its pictures.
    pub(crate) pictures: Vec<Gray>,
    /// The unit's own mark in them: its key, and the mark's time where the recording begins.
    pub(crate) unit_mark: Option<(temoin_proto::mark::MarkKey, Duration)>,
}

impl App {
    /// The pictures of one camera within this time of the recording, small and without colour.
    ///
    /// # Errors
    /// [`AppError::Picture`] and others where it cannot be read.
    pub(crate) async fn originals(
        &self,
        key: ClipKey,
        manifest: Manifest,
        track: TrackName,
        span: Range<Duration>,
    ) -> Result<Originals, AppError> {
        let signals = self.signals(&key, &manifest).await?.unwrap_or_default();
        let unit_mark = signals.unit_mark.as_ref().and_then(|mark| {
            let key: [u8; 32] = mark.key.as_ref().try_into().ok()?;
            let key = temoin_proto::mark::MarkKey::from_bytes(key);
            Some((key, Duration::from_nanos(mark.begin_ns)))
        });
        let track = manifest.track(track).ok_or(AppError::NotFound)?.clone();
        let (app, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let pictures =
            blocking(move || read(&app, &runtime, &key, manifest.clip, &track, &span)).await??;
        Ok(Originals { pictures, unit_mark })
    }
}

fn read(
    app: &App,
    runtime: &tokio::runtime::Handle,
    key: &ClipKey,
    clip: ClipId,
    track: &Track,
    span: &Range<Duration>,
) -> Result<Vec<Gray>, AppError> {
    let mut units = UnitReader::of(TrackReader::new(app, key, clip, track)?, runtime);
    let mut decoder = None;
    let mut pictures = Vec::new();
    let mut keep = |decoded: DecodedPicture| -> Result<(), PictureError> {
        let at = decoded.at.since(MonoTime::ZERO);
        if span.contains(&at) {
            pictures.push(gray(&decoded.picture, at)?);
        }
        Ok(())
    };
    while let Some(unit) = units.next_unit()? {
        let decoder = match (&mut decoder, units.stream()) {
            (Some(decoder), _) => decoder,
            (none, Some(stream)) => {
                none.insert(Decoder::new(stream, THREADS).map_err(PictureError::from)?)
            }
            (_, None) => return Err(PictureError::Short(track.name.as_str()).into()),
        };
        decoder.push(unit).map_err(PictureError::from)?;
        while let Some(decoded) = decoder.try_next().map_err(PictureError::from)? {
            keep(decoded)?;
        }
    }
    let mut decoder = decoder.ok_or(PictureError::Short(track.name.as_str()))?;
    decoder.end().map_err(PictureError::from)?;
    while let Some(decoded) = decoder.next_last().map_err(PictureError::from)? {
        keep(decoded)?;
    }
    Ok(pictures)
}

fn gray(picture: &I420Picture, at: Duration) -> Result<Gray, FrameError> {
    let (width, height) = (picture.width(), picture.height());
    let short = width.min(height).max(1);
    let scaled = |side: u32| (side * SIDE.min(short) / short).max(2) / 2 * 2;
    let small = picture.view().resize(scaled(width), scaled(height))?;
    Ok(Gray {
        width: small.width(),
        height: small.height(),
        luma: small.view().luma().to_vec(),
        at,
    })
}
