//! Decode, change each picture, encode again: what a view's video goes through on the server.
//!
//! INVARIANT: no coded picture comes out that `edit` has not seen; memory is bounded (a few
//! pictures in each pipeline) as long as the caller sends on what each call returns. Dropping a
//! [`Transcoder`] stops its threads at once. A crash leaves nothing.

use std::{sync::Arc, time::Duration};

use temoin_proto::time::MonoTime;

use crate::{
    frame::{I420Picture, PictureError},
    h264::{AccessUnit, DecodedPicture, Decoder, Encoder, EncoderConfig, H264Error, StreamConfig},
};

/// How long one call waits for a picture that is being worked on, so that the first one comes out
/// before the next one has to be there.
const SETTLE: Duration = Duration::from_millis(2);

/// Re-encodes a stream picture by picture.
pub struct Transcoder<F> {
    decoder: Decoder,
    encoder: Encoder,
    edit: F,
}

impl<F> Transcoder<F>
where
    F: FnMut(&mut I420Picture, MonoTime) -> Result<(), PictureError>,
{
    /// Starts a decoder for `stream` and an encoder. `edit` is called once for each picture, in
    /// order, with its time.
    ///
    /// # Errors
    /// Those of [`Decoder::new`] and [`Encoder::new`]; [`H264Error::SizeChanged`] where the
    /// encoder is set up for another size than the stream has.
    pub fn new(stream: &StreamConfig, encoder: EncoderConfig, edit: F) -> Result<Self, H264Error> {
        if (stream.width(), stream.height()) != (encoder.width, encoder.height) {
            return Err(H264Error::SizeChanged {
                width: encoder.width,
                height: encoder.height,
                got_width: stream.width(),
                got_height: stream.height(),
            });
        }
        let threads = encoder.threads;
        let encoder = Encoder::new(encoder)?;
        Ok(Self { decoder: Decoder::new(stream, threads)?, encoder, edit })
    }

    /// The new stream's parameters; known once the first coded picture has come out.
    pub const fn stream(&self) -> Option<&Arc<StreamConfig>> {
        self.encoder.stream()
    }

    /// Puts a coded picture in and returns those that are ready. Blocks while the coders are
    /// busy: call it from a thread that may.
    ///
    /// # Errors
    /// Those of [`Decoder::push`], [`Decoder::try_next`], [`Encoder::push`] and
    /// [`Encoder::try_next`], and of `edit`.
    pub fn push(&mut self, unit: AccessUnit) -> Result<Vec<AccessUnit>, H264Error> {
        self.decoder.push(unit)?;
        let mut wait = SETTLE;
        while let Some(decoded) = self.decoder.next_within(wait)? {
            self.edit_and_encode(decoded)?;
            wait = Duration::ZERO;
        }
        let mut ready = Vec::new();
        while let Some(unit) = self.encoder.try_next()? {
            ready.push(unit);
        }
        Ok(ready)
    }

    /// Ends the stream; `sink` gets the coded pictures that had not come out, as they come.
    /// Where `sink` says `false` the rest is given up.
    ///
    /// # Errors
    /// Those of [`Self::push`], and [`H264Error::Stalled`].
    pub fn finish(mut self, mut sink: impl FnMut(AccessUnit) -> bool) -> Result<(), H264Error> {
        self.decoder.end()?;
        while let Some(decoded) = self.decoder.next_last()? {
            self.edit_and_encode(decoded)?;
            while let Some(unit) = self.encoder.try_next()? {
                if !sink(unit) {
                    return Ok(());
                }
            }
        }
        for unit in self.encoder.finish()? {
            if !sink(unit) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn edit_and_encode(&mut self, decoded: DecodedPicture) -> Result<(), H264Error> {
        let DecodedPicture { at, mut picture } = decoded;
        (self.edit)(&mut picture, at)?;
        self.encoder.push(picture, at)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Instant,
    };

    use super::*;
    use crate::test_pictures::moving;

    fn source(width: u32, height: u32, n: u64) -> (StreamConfig, Vec<AccessUnit>) {
        let mut encoder = Encoder::new(EncoderConfig::new(width, height, 15)).unwrap();
        let mut units = Vec::new();
        for (n, k) in (0..n).zip(0..) {
            let at = MonoTime::from_ns(n * 66_666_667);
            encoder.push(moving(width, height, k), at).unwrap();
            units.extend(encoder.next_within(Duration::from_secs(10)).unwrap());
        }
        let stream = encoder.stream().unwrap().as_ref().clone();
        units.extend(encoder.finish().unwrap());
        (stream, units)
    }

    #[test]
    fn every_picture_is_edited_once_and_keeps_its_time() {
        let (stream, units) = source(320, 240, 40);
        let seen = AtomicUsize::new(0);
        let edit = |picture: &mut I420Picture, _: MonoTime| {
            seen.fetch_add(1, Ordering::Relaxed);
            picture.planes_mut().y.fill(200);
            Ok(())
        };
        let mut transcoder =
            Transcoder::new(&stream, EncoderConfig::new(320, 240, 15), edit).unwrap();
        let mut out = Vec::new();
        for unit in &units {
            out.extend(transcoder.push(unit.clone()).unwrap());
        }
        let new_stream = transcoder.stream().unwrap().as_ref().clone();
        transcoder
            .finish(|unit| {
                out.push(unit);
                true
            })
            .unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), units.len());
        let times = |units: &[AccessUnit]| units.iter().map(|u| u.at).collect::<Vec<_>>();
        assert_eq!(times(&out), times(&units));
        let mut decoder = Decoder::new(&new_stream, 1).unwrap();
        for unit in out {
            decoder.push(unit).unwrap();
        }
        decoder.end().unwrap();
        while let Some(decoded) = decoder.next_last().unwrap() {
            let luma = decoded.picture.view().luma_stats();
            assert!((luma.mean - 200.0).abs() < 3.0, "{luma:?}");
        }
    }

    #[test]
    fn dropping_it_in_the_middle_is_prompt() {
        let (stream, units) = source(640, 360, 30);
        let mut transcoder =
            Transcoder::new(&stream, EncoderConfig::new(640, 360, 15), |_, _| Ok(())).unwrap();
        for unit in units {
            transcoder.push(unit).unwrap();
        }
        let began = Instant::now();
        drop(transcoder);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn a_failing_edit_ends_it() {
        let (stream, units) = source(320, 240, 3);
        let edit = |_: &mut I420Picture, _: MonoTime| Err(PictureError::Outside);
        let mut transcoder =
            Transcoder::new(&stream, EncoderConfig::new(320, 240, 15), edit).unwrap();
        let pushed = units.into_iter().try_for_each(|u| transcoder.push(u).map(drop));
        let ended = pushed.and_then(|()| transcoder.finish(|_| true));
        assert!(matches!(ended, Err(H264Error::Picture(PictureError::Outside))), "{ended:?}");
    }
}
