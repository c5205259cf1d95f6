//! The writer: an init segment, then fragments.

use std::time::Duration;

use bytes::Bytes;
use mp4_atom::{
    Avc1, Codec, Dinf, Dref, DrefEntry, Encode, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Mehd, Mfhd, Minf,
    Moof, Moov, Mvex, Mvhd, Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry,
    TrunSamples, Url, Visual, Vmhd,
};
use temoin_proto::time::MonoTime;

use super::{Fmp4Error, MAX_MDAT_BYTES, MAX_SAMPLES, TIMESCALE, to_90k};
use crate::h264::{AccessUnit, H264Error, StreamConfig};

/// The only track.
pub(super) const TRACK: u32 = 1;
/// ISO/IEC 14496-12 §8.8.3.1: depends on nothing, a sync sample.
const KEY_FLAGS: u32 = 0x0200_0000;
/// Depends on others, no sync sample.
const DELTA_FLAGS: u32 = 0x0101_0000;

/// Writes one file: [`Self::init`] once, then [`Self::fragment`] for each group of pictures. The
/// bytes of all, one after the other, are the file.
#[derive(Clone, Debug)]
pub struct Writer {
    stream: StreamConfig,
    origin: MonoTime,
    sequence: u32,
    end_90k: u64,
}

impl Writer {
    /// A file of this stream whose time 0 is `origin`.
    pub const fn new(stream: StreamConfig, origin: MonoTime) -> Self {
        Self { stream, origin, sequence: 0, end_90k: 0 }
    }

    /// The stream.
    pub const fn stream(&self) -> &StreamConfig {
        &self.stream
    }

    /// The init segment, with the length of the whole where it is known (without, players show
    /// no length until they have read everything).
    ///
    /// # Errors
    /// [`Fmp4Error::Write`]; [`Fmp4Error::Time`] for more than a week.
    pub fn init(&self, duration: Option<Duration>) -> Result<Bytes, Fmp4Error> {
        let duration_90k = match duration {
            Some(d) => Some(to_90k(self.origin + d, self.origin)?),
            None => None,
        };
        let brands = [b"iso6", b"mp41", b"avc1", b"cmfc"];
        let ftyp = Ftyp {
            major_brand: FourCC::new(b"iso6"),
            minor_version: 0,
            compatible_brands: brands.map(FourCC::new).to_vec(),
        };
        let mut out = Vec::with_capacity(1024);
        ftyp.encode(&mut out).map_err(Fmp4Error::Write)?;
        self.moov(duration_90k)?.encode(&mut out).map_err(Fmp4Error::Write)?;
        Ok(Bytes::from(out))
    }

    fn moov(&self, duration_90k: Option<u64>) -> Result<Moov, Fmp4Error> {
        let (width, height) = (self.stream.width(), self.stream.height());
        let too_large = |_| Fmp4Error::H264(H264Error::Size { width, height });
        let (w, h) =
            (u16::try_from(width).map_err(too_large)?, u16::try_from(height).map_err(too_large)?);
        let sample_entry = Avc1 {
            visual: Visual { data_reference_index: 1, width: w, height: h, ..Visual::default() },
            avcc: self.stream.avcc().clone(),
            ..Avc1::default()
        };
        let stbl = Stbl {
            stsd: Stsd { codecs: vec![Codec::Avc1(sample_entry)] },
            stco: Some(Stco::default()),
            ..Stbl::default()
        };
        let minf = Minf {
            vmhd: Some(Vmhd::default()),
            dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
            stbl,
            ..Minf::default()
        };
        // Lengths of the movie's and the track's own samples, of which a fragmented file has none.
        let mdhd = Mdhd { timescale: TIMESCALE, language: "und".to_owned(), ..Mdhd::default() };
        let hdlr = Hdlr { handler: FourCC::new(b"vide"), name: String::new() };
        let tkhd = Tkhd {
            track_id: TRACK,
            enabled: true,
            in_movie: true,
            width: w.into(),
            height: h.into(),
            ..Tkhd::default()
        };
        Ok(Moov {
            mvhd: Mvhd {
                timescale: TIMESCALE,
                rate: 1.into(),
                volume: 1.into(),
                next_track_id: TRACK + 1,
                ..Mvhd::default()
            },
            meta: None,
            mvex: Some(Mvex {
                mehd: duration_90k.map(|fragment_duration| Mehd { fragment_duration }),
                trex: vec![Trex {
                    track_id: TRACK,
                    default_sample_description_index: 1,
                    default_sample_duration: 0,
                    default_sample_size: 0,
                    default_sample_flags: DELTA_FLAGS,
                }],
            }),
            trak: vec![Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Trak::default() }],
            udta: None,
            ainf: None,
        })
    }

    /// The pictures `units` as one `moof` and `mdat`. `end` is when the last one stops being
    /// shown: the next picture's time, or the end of the clip.
    ///
    /// # Errors
    /// [`Fmp4Error::Empty`], [`Fmp4Error::TooLarge`], [`Fmp4Error::Time`] where times do not rise
    /// (also against the fragment before), and [`Fmp4Error::Write`].
    pub fn fragment(&mut self, units: &[AccessUnit], end: MonoTime) -> Result<Bytes, Fmp4Error> {
        let first = units.first().ok_or(Fmp4Error::Empty)?;
        let bytes: usize = units.iter().map(|u| u.data.len()).sum();
        if units.len() > MAX_SAMPLES || bytes > MAX_MDAT_BYTES {
            return Err(Fmp4Error::TooLarge);
        }
        let begin_90k = to_90k(first.at, self.origin)?;
        if begin_90k < self.end_90k {
            return Err(Fmp4Error::Time { at: first.at });
        }
        let mut at_90k = begin_90k;
        let mut entries = Vec::with_capacity(units.len());
        let ends = units.iter().skip(1).map(|u| u.at).chain([end]);
        for (unit, end) in units.iter().zip(ends) {
            let next_90k = to_90k(end, self.origin)?;
            let duration = next_90k.checked_sub(at_90k).filter(|d| *d > 0);
            let duration = duration.and_then(|d| u32::try_from(d).ok());
            entries.push(TrunEntry {
                duration: Some(duration.ok_or(Fmp4Error::Time { at: end })?),
                size: Some(u32::try_from(unit.data.len()).map_err(|_| Fmp4Error::TooLarge)?),
                flags: Some(if unit.key { KEY_FLAGS } else { DELTA_FLAGS }),
                cts: None,
            });
            at_90k = next_90k;
        }
        let sequence = self.sequence.saturating_add(1);
        let mut moof = Moof {
            mfhd: Mfhd { sequence_number: sequence },
            traf: vec![Traf {
                tfhd: Tfhd { track_id: TRACK, default_base_is_moof: true, ..Tfhd::default() },
                tfdt: Some(Tfdt { base_media_decode_time: begin_90k }),
                trun: vec![Trun { data_offset: Some(0), samples: TrunSamples::Explicit(entries) }],
                ..Traf::default()
            }],
        };
        let mut out = Vec::with_capacity(bytes + 128 + units.len() * 12);
        moof.encode(&mut out).map_err(Fmp4Error::Write)?;
        // The samples begin after the moof, whose length does not depend on the number itself,
        // and the 8 bytes of the mdat's header.
        let offset = i32::try_from(out.len() + 8).map_err(|_| Fmp4Error::TooLarge)?;
        for trun in moof.traf.iter_mut().flat_map(|t| &mut t.trun) {
            trun.data_offset = Some(offset);
        }
        out.clear();
        moof.encode(&mut out).map_err(Fmp4Error::Write)?;
        let mdat = u32::try_from(bytes + 8).map_err(|_| Fmp4Error::TooLarge)?;
        out.extend_from_slice(&mdat.to_be_bytes());
        out.extend_from_slice(b"mdat");
        for unit in units {
            out.extend_from_slice(&unit.data);
        }
        (self.sequence, self.end_90k) = (sequence, at_90k);
        Ok(Bytes::from(out))
    }
}
