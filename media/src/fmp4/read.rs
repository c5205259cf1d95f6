//! The reader: an MP4 of ours, in pieces of any size, back into coded pictures.
//!
//! INVARIANT: memory is bounded by one box (32 MiB) plus what one call brings; no input makes it
//! panic; what it returns is in order and passes [`check_unit`].

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf as _, BytesMut};
use mp4_atom::{Codec, Decode, Moof, Moov};
use temoin_proto::time::MonoTime;

use super::{
    Fmp4Error, MAX_MDAT_BYTES, MAX_SAMPLES, MAX_TIME_90K, TIMESCALE, from_90k,
    shape::{check, header},
    write::TRACK,
};
use crate::h264::{AccessUnit, StreamConfig, check_unit};

/// Largest box of each kind, bytes with its header.
const LIMITS: [([u8; 4], usize); 4] = [
    (*b"ftyp", 64),
    (*b"moov", 8 << 10),
    (*b"moof", 128 + 16 * MAX_SAMPLES),
    (*b"mdat", MAX_MDAT_BYTES + 8),
];

/// What must come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Ftyp,
    Moov,
    Moof,
    Mdat,
}

impl Next {
    const fn kind(self) -> [u8; 4] {
        match self {
            Self::Ftyp => *b"ftyp",
            Self::Moov => *b"moov",
            Self::Moof => *b"moof",
            Self::Mdat => *b"mdat",
        }
    }
}

/// A sample that a `moof` announced.
struct Sample {
    at_90k: u64,
    len: usize,
}

/// Reads one file. Times start at 0, the file's origin.
pub struct Reader {
    buffer: BytesMut,
    /// Bytes of the file before the buffer.
    offset: u64,
    next: Next,
    stream: Option<StreamConfig>,
    duration: Option<Duration>,
    announced: Vec<Sample>,
    ready: VecDeque<AccessUnit>,
    end_90k: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            offset: 0,
            next: Next::Ftyp,
            stream: None,
            duration: None,
            announced: Vec::new(),
            ready: VecDeque::new(),
            end_90k: 0,
        }
    }
}

impl Reader {
    /// Takes the next bytes of the file, of any number. Take what [`Self::next_unit`] has before
    /// giving more: what is not taken is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The stream; known before the first picture.
    pub const fn stream(&self) -> Option<&StreamConfig> {
        self.stream.as_ref()
    }

    /// The length of the whole, where the init segment says it.
    pub const fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// When the last picture that was announced stops being shown.
    pub const fn end(&self) -> MonoTime {
        from_90k(self.end_90k)
    }

    /// The next coded picture, or `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`Fmp4Error::Malformed`] and [`Fmp4Error::H264`]. The reader is of no further use then.
    pub fn next_unit(&mut self) -> Result<Option<AccessUnit>, Fmp4Error> {
        while self.ready.is_empty() {
            if !self.next_box()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Says that the file is complete.
    ///
    /// # Errors
    /// [`Fmp4Error::Truncated`] where it cannot be.
    pub fn finish(&self) -> Result<(), Fmp4Error> {
        if self.buffer.is_empty() && self.next == Next::Moof {
            Ok(())
        } else {
            let buffered = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
            Err(Fmp4Error::Truncated { offset: self.offset.saturating_add(buffered) })
        }
    }

    fn wrong(&self, what: &'static str) -> Fmp4Error {
        Fmp4Error::Malformed { offset: self.offset, what }
    }

    /// Takes one box out of the buffer; false where it is not complete yet.
    fn next_box(&mut self) -> Result<bool, Fmp4Error> {
        let Some((kind, len)) = header(&self.buffer) else { return Ok(false) };
        if kind != self.next.kind() {
            return Err(self.wrong("not the box that must come here"));
        }
        let limit = LIMITS.iter().find(|(k, _)| *k == kind).map_or(0, |(_, limit)| *limit);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(8..=limit).contains(&len) {
            return Err(self.wrong("a box of an impossible length"));
        }
        if self.buffer.len() < len {
            return Ok(false);
        }
        let whole = self.buffer.split_to(len).freeze();
        let body = whole.slice(8..);
        check(kind, &body).map_err(|what| self.wrong(what))?;
        self.next = match self.next {
            Next::Ftyp => Next::Moov,
            Next::Moov => {
                self.moov(&whole)?;
                Next::Moof
            }
            Next::Moof => {
                self.moof(&whole)?;
                Next::Mdat
            }
            Next::Mdat => {
                self.mdat(body)?;
                Next::Moof
            }
        };
        self.offset = self.offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        Ok(true)
    }

    fn moov(&mut self, mut whole: &[u8]) -> Result<(), Fmp4Error> {
        let moov = Moov::decode(&mut whole).map_err(|_| self.wrong("a damaged moov"))?;
        let [trak] = moov.trak.as_slice() else {
            return Err(self.wrong("not exactly one track"));
        };
        if trak.tkhd.track_id != TRACK || trak.mdia.mdhd.timescale != TIMESCALE {
            return Err(self.wrong("a track with another number or timescale"));
        }
        let [Codec::Avc1(avc1)] = trak.mdia.minf.stbl.stsd.codecs.as_slice() else {
            return Err(self.wrong("a track that is not H.264"));
        };
        let mut record = Vec::new();
        mp4_atom::Atom::encode_body(&avc1.avcc, &mut record)
            .map_err(|_| self.wrong("damaged parameter sets"))?;
        let (width, height) = (avc1.visual.width.into(), avc1.visual.height.into());
        self.stream = Some(StreamConfig::new(width, height, &record)?);
        let length_90k = moov.mvex.and_then(|m| m.mehd).map(|m| m.fragment_duration);
        if length_90k.is_some_and(|d| d > MAX_TIME_90K) || moov.mvhd.timescale != TIMESCALE {
            return Err(self.wrong("an impossible length"));
        }
        self.duration = length_90k.map(|d| Duration::from_nanos(from_90k(d).as_ns()));
        Ok(())
    }

    fn moof(&mut self, mut whole: &[u8]) -> Result<(), Fmp4Error> {
        let len = whole.len();
        let moof = Moof::decode(&mut whole).map_err(|_| self.wrong("a damaged moof"))?;
        let [traf] = moof.traf.as_slice() else {
            return Err(self.wrong("not exactly one track in the fragment"));
        };
        let ([trun], Some(tfdt)) = (traf.trun.as_slice(), &traf.tfdt) else {
            return Err(self.wrong("a fragment without its time or its samples"));
        };
        let offset = trun.data_offset.and_then(|o| usize::try_from(o).ok());
        if traf.tfhd.track_id != TRACK
            || !traf.tfhd.default_base_is_moof
            || offset.is_none_or(|o| o != len + 8)
        {
            return Err(self.wrong("a fragment that points elsewhere"));
        }
        if !(1..=MAX_SAMPLES).contains(&trun.samples.len()) {
            return Err(self.wrong("too many samples, or none"));
        }
        let mut at_90k = tfdt.base_media_decode_time;
        if at_90k < self.end_90k || at_90k > MAX_TIME_90K {
            return Err(self.wrong("times that do not rise"));
        }
        let mut announced = Vec::with_capacity(trun.samples.len());
        for entry in &trun.samples {
            let (Some(size), Some(duration), None) = (entry.size, entry.duration, entry.cts) else {
                return Err(self.wrong("a sample without size or length, or out of order"));
            };
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            if duration == 0 {
                return Err(self.wrong("times that do not rise"));
            }
            announced.push(Sample { at_90k, len });
            at_90k += u64::from(duration);
            if at_90k > MAX_TIME_90K {
                return Err(self.wrong("an impossible length"));
            }
        }
        self.announced = announced;
        self.end_90k = at_90k;
        Ok(())
    }

    fn mdat(&mut self, mut body: bytes::Bytes) -> Result<(), Fmp4Error> {
        for sample in std::mem::take(&mut self.announced) {
            if sample.len > body.remaining() {
                return Err(self.wrong("fewer bytes than the samples take"));
            }
            let data = body.split_to(sample.len);
            let key = check_unit(&data)?;
            self.ready.push_back(AccessUnit { at: from_90k(sample.at_90k), key, data });
        }
        if body.has_remaining() {
            return Err(self.wrong("more bytes than the samples take"));
        }
        Ok(())
    }
}

/// The stream and all pictures of a whole file in memory.
#[derive(Debug)]
pub struct Units {
    /// The stream.
    pub stream: StreamConfig,
    /// Its pictures, in order; times start at 0.
    pub units: Vec<AccessUnit>,
    /// When the last picture stops being shown.
    pub end: MonoTime,
}

impl Units {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Those of [`Reader::next_unit`], and [`Fmp4Error::Truncated`].
    pub fn read(file: &[u8]) -> Result<Self, Fmp4Error> {
        let mut reader = Reader::default();
        reader.push(file);
        let mut units = Vec::new();
        while let Some(unit) = reader.next_unit()? {
            units.push(unit);
        }
        reader.finish()?;
        let end = reader.end();
        let stream = reader.stream.ok_or(Fmp4Error::Truncated { offset: 0 })?;
        Ok(Self { stream, units, end })
    }
}
