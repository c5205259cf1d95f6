//! Reads sealed tracks chunk by chunk. Each chunk is verified before a byte of it is used.

use bytes::Bytes;
use prost::Message as _;
use temoin_media::{
    fmp4::Reader,
    h264::{AccessUnit, StreamConfig},
};
use temoin_proto::{
    ids::ClipId,
    manifest::Track,
    sealed::{CHUNK_SEALED_LEN, ClipKey, TrackCipher, chunk_count},
    time::MonoTime,
    wire::ClipSignals,
};

use super::PictureError;
use crate::{app::App, error::AppError, objects::ObjectKey};

/// Longest signals track that is read into memory: 10 minutes at 100 Hz are 2 MB.
const MAX_SIGNALS: u64 = 16 * 1024 * 1024;
/// How many chunks are looked at for a video's head; it is within the first.
const MAX_HEAD_CHUNKS: u64 = 4;

/// A sealed track that is read from its start.
pub(super) struct TrackReader<'a> {
    app: &'a App,
    cipher: TrackCipher,
    key: ObjectKey,
    sealed_len: u64,
    count: u64,
    next: u64,
}

impl<'a> TrackReader<'a> {
    /// Reads this track of this clip with the clip's key.
    pub(super) fn new(
        app: &'a App,
        key: &ClipKey,
        clip: ClipId,
        track: &Track,
    ) -> Result<Self, PictureError> {
        Ok(Self {
            app,
            cipher: TrackCipher::new(key, clip, track.name)?,
            key: ObjectKey { clip, track: track.name },
            sealed_len: track.sealed_len,
            count: chunk_count(track.plain_len),
            next: 0,
        })
    }

    /// The plain bytes of the next chunk, or none at the end.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, AppError> {
        if self.next >= self.count {
            return Ok(None);
        }
        let start = self.next * CHUNK_SEALED_LEN as u64;
        let end = (start + CHUNK_SEALED_LEN as u64).min(self.sealed_len);
        let mut sealed = self.app.objects().get_range(self.key, start..end).await?.to_vec();
        let last = self.next + 1 == self.count;
        let len = self.cipher.open(self.next, last, &mut sealed).map_err(PictureError::from)?.len();
        sealed.truncate(len);
        self.next += 1;
        Ok(Some(sealed.into()))
    }
}

/// The coded pictures of a sealed track, one by one, read from a thread that may block.
pub(super) struct UnitReader<'a> {
    chunks: TrackReader<'a>,
    runtime: &'a tokio::runtime::Handle,
    reader: Reader,
    ended: bool,
}

impl<'a> UnitReader<'a> {
    /// Of a track that nothing was read of yet.
    pub(super) fn of(chunks: TrackReader<'a>, runtime: &'a tokio::runtime::Handle) -> Self {
        Self { chunks, runtime, reader: Reader::default(), ended: false }
    }

    /// The next picture, or none at the end of a whole track. Blocks.
    pub(super) fn next_unit(&mut self) -> Result<Option<AccessUnit>, AppError> {
        loop {
            if let Some(unit) = self.reader.next_unit().map_err(PictureError::from)? {
                return Ok(Some(unit));
            }
            if self.ended {
                self.reader.finish().map_err(PictureError::from)?;
                return Ok(None);
            }
            match self.runtime.block_on(self.chunks.next_chunk())? {
                Some(chunk) => self.reader.push(&chunk),
                None => self.ended = true,
            }
        }
    }

    /// How the pictures are coded, from the first of them on.
    pub(super) const fn stream(&self) -> Option<&StreamConfig> {
        self.reader.stream()
    }

    /// When the pictures so far end.
    pub(super) const fn end(&self) -> MonoTime {
        self.reader.end()
    }
}

/// Width and height of a video, out of its head.
pub(super) async fn video_size(
    app: &App,
    key: &ClipKey,
    clip: ClipId,
    track: &Track,
) -> Result<(u32, u32), AppError> {
    let mut chunks = TrackReader::new(app, key, clip, track)?;
    let mut reader = Reader::default();
    for _ in 0..MAX_HEAD_CHUNKS {
        let Some(chunk) = chunks.next_chunk().await? else { break };
        reader.push(&chunk);
        // Reading a unit reads the head before it.
        let _first = reader.next_unit().map_err(PictureError::from)?;
        if let Some(stream) = reader.stream() {
            return Ok((stream.width(), stream.height()));
        }
    }
    Err(PictureError::Short(track.name.as_str()).into())
}

/// The clip's signals.
pub(super) async fn signals(
    app: &App,
    key: &ClipKey,
    clip: ClipId,
    track: &Track,
) -> Result<ClipSignals, AppError> {
    if track.plain_len > MAX_SIGNALS {
        let text = format!("{} bytes are more than {MAX_SIGNALS}", track.plain_len);
        return Err(PictureError::Signals(text).into());
    }
    let mut chunks = TrackReader::new(app, key, clip, track)?;
    let mut plain = Vec::new();
    while let Some(chunk) = chunks.next_chunk().await? {
        plain.extend_from_slice(&chunk);
    }
    Ok(ClipSignals::decode(plain.as_slice()).map_err(|e| PictureError::Signals(e.to_string()))?)
}
