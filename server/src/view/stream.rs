//! Streams of views: how many may run, and the thread that makes one.
//!
//! A worker thread reads, decodes, paints and encodes; a bounded queue to the HTTP body lets it be
//! only a little ahead of the viewer. Between the two, a task asks for the decision again while the
//! stream runs. The worker stops when the viewer goes away, the decision changes, or the server
//! ends.

use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use temoin_media::{
    burn_in::ViewMark,
    fmp4::{LiveFragments, Writer},
    frame::I420Picture,
    h264::{AccessUnit, Encoder, EncoderConfig, StreamConfig},
    transcode::Transcoder,
    watermark::Embedder,
};
use temoin_proto::{
    ids::{ClipId, ViewId},
    manifest::Track,
    mark::MarkKey,
    sealed::ClipKey,
    time::{MonoTime, WallTime},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    PictureError, TrackStream,
    paint::{Scene, paint},
    read::{TrackReader, UnitReader},
};
use crate::{
    app::App,
    config::Views,
    error::{AppError, chain},
    log::blocking,
};

/// Pieces that wait for the viewer: about 3 s of video.
const QUEUE: usize = 8;
/// Length of a fragment: short, so that the first picture is early and little waits in the queue.
const FRAGMENT: Duration = Duration::from_millis(400);
/// How often the decision is asked for again while a stream runs: a right that is taken away cuts it
/// within a second.
const RECHECK: Duration = Duration::from_millis(500);
/// Nominal pictures a second, for the encoder's rate control.
const FPS: u32 = 15;
/// How long the encoder may take for the one picture that tells its codec.
const PROBE: Duration = Duration::from_secs(5);

/// Which streams run, and what the encoder makes.
#[derive(Debug)]
pub struct Streams {
    limits: Views,
    running: Mutex<HashMap<[u8; 32], usize>>,
    stopping: AtomicBool,
    coded: Mutex<HashMap<(u32, u32), StreamConfig>>,
}

/// A place among the streams; dropping it gives it back.
pub(super) struct Slot {
    streams: Arc<Streams>,
    session: [u8; 32],
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.streams.running();
        if let Some(count) = running.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.session);
            }
        }
    }
}

impl Streams {
    /// With these limits.
    pub fn new(limits: Views) -> Self {
        Self {
            limits,
            running: Mutex::default(),
            stopping: AtomicBool::new(false),
            coded: Mutex::default(),
        }
    }

    /// Ends every stream; no new one begins.
    pub fn stop_all(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.running().values().sum()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], usize>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(self: &Arc<Self>, session: [u8; 32]) -> Result<Slot, AppError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(AppError::Busy("The server is about to stop. Try again in a minute."));
        }
        let mut running = self.running();
        if running.values().sum::<usize>() >= self.limits.max_streams {
            return Err(AppError::Busy(
                "As many recordings are being watched as the server can show. Try again shortly.",
            ));
        }
        let own = running.entry(session).or_default();
        if *own >= self.limits.max_streams_per_session {
            return Err(AppError::Busy(
                "You are watching as much at once as is allowed. Close another recording first.",
            ));
        }
        *own += 1;
        drop(running);
        Ok(Slot { streams: Arc::clone(self), session })
    }

    /// The media type of what the encoder makes of pictures of this size.
    pub(super) async fn codec(self: &Arc<Self>, size: (u32, u32)) -> Result<String, AppError> {
        let streams = Arc::clone(self);
        let stream = blocking(move || streams.coded(size)).await??;
        Ok(format!("video/mp4; codecs=\"{}\"", stream.codec_string()))
    }

    /// The parameters of what the encoder makes of pictures of this size. The first time, one
    /// black picture is encoded to find out. Blocks.
    fn coded(&self, size: (u32, u32)) -> Result<StreamConfig, PictureError> {
        let known = self.coded.lock().unwrap_or_else(PoisonError::into_inner).get(&size).cloned();
        if let Some(stream) = known {
            return Ok(stream);
        }
        let mut encoder = Encoder::new(encoder_config(size))?;
        encoder.push(I420Picture::black(size.0, size.1)?, MonoTime::ZERO)?;
        let _unit = encoder.next_within(PROBE)?;
        let stream = encoder.stream().ok_or(PictureError::Short("probe"))?.as_ref().clone();
        self.coded.lock().unwrap_or_else(PoisonError::into_inner).insert(size, stream.clone());
        Ok(stream)
    }
}

/// The encoder's settings for pictures of this size.
fn encoder_config((width, height): (u32, u32)) -> EncoderConfig {
    let mut config = EncoderConfig::new(width, height, FPS);
    // The cameras may be faster than nominal.
    config.max_bitrate_kbps *= 2;
    config
}

/// What a worker needs for one stream.
pub(super) struct Job {
    /// The view.
    pub(super) view: ViewId,
    /// The viewer's short name, for the mark.
    pub(super) viewer: String,
    /// When the view was opened.
    pub(super) began: WallTime,
    /// The clip.
    pub(super) clip: ClipId,
    /// Length of the recording.
    pub(super) duration_ms: u64,
    /// The track.
    pub(super) track: Track,
    /// The clip's key.
    pub(super) key: ClipKey,
    /// The key of the view's forensic mark.
    pub(super) mark: MarkKey,
    /// What is in the pictures.
    pub(super) scene: Scene,
}

/// Watches over a running stream. `sent_ms` is how much video was sent, milliseconds.
pub(super) trait Supervise: Send + Sync + 'static {
    /// Whether it may go on; an error is a no.
    fn go_on(&self, sent_ms: u64) -> impl Future<Output = Result<bool, AppError>> + Send;

    /// It ended.
    fn ended(&self, sent_ms: u64) -> impl Future<Output = ()> + Send;
}

/// Starts a stream.
pub(super) fn start(app: &App, job: Job, slot: Slot, watch: impl Supervise) -> TrackStream {
    let (from_worker, pieces) = mpsc::channel(QUEUE);
    let (to_viewer, body) = mpsc::channel(1);
    let view = job.view;
    let worker_app = app.clone();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let made = make(&worker_app, &runtime, job, &slot.streams, &from_worker);
        drop(slot);
        if let Err(error) = made {
            tracing::error!(%view, error = %chain(&error), "a stream of a view ended");
            // The viewer may be gone already.
            drop(from_worker.blocking_send(Err(cut())));
        }
    });
    tokio::spawn(pass_on(pieces, to_viewer, watch, RECHECK, view));
    ReceiverStream::new(body)
}

/// What a viewer's connection ends with when a stream is cut off.
fn cut() -> io::Error {
    io::Error::other("the recording could not be shown to its end")
}

/// A piece of a stream.
struct Piece {
    bytes: Bytes,
    /// Where its video ends, milliseconds from the recording's start.
    end_ms: u64,
}

async fn pass_on(
    pieces: mpsc::Receiver<Result<Piece, io::Error>>,
    to_viewer: mpsc::Sender<Result<Bytes, io::Error>>,
    watch: impl Supervise,
    every: Duration,
    view: ViewId,
) {
    let mut sent_ms = 0;
    pass_until_end(pieces, to_viewer, &watch, every, view, &mut sent_ms).await;
    watch.ended(sent_ms).await;
}

async fn pass_until_end(
    mut pieces: mpsc::Receiver<Result<Piece, io::Error>>,
    to_viewer: mpsc::Sender<Result<Bytes, io::Error>>,
    watch: &impl Supervise,
    every: Duration,
    view: ViewId,
    sent_ms: &mut u64,
) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    let mut waiting = None;
    loop {
        tokio::select! {
            // The decision first: with a fast viewer there is always another piece.
            biased;
            _ = ticks.tick() => {
                let go_on = match watch.go_on(*sent_ms).await {
                    Ok(go_on) => go_on,
                    Err(error) => {
                        tracing::error!(%view, error = %chain(&error), "no decision on a running stream");
                        false
                    }
                };
                if !go_on {
                    tracing::info!(%view, "a running stream was cut off: no longer permitted");
                    // What made no error would look like the recording's end. Where the viewer has
                    // gone away, nobody is left to tell.
                    drop(to_viewer.send(Err(cut())).await);
                    return;
                }
            }
            room = to_viewer.reserve(), if waiting.is_some() => {
                let Ok(room) = room else { return };
                match waiting.take() {
                    Some(Ok(Piece { bytes, end_ms })) => {
                        room.send(Ok(bytes));
                        *sent_ms = end_ms.max(*sent_ms);
                    }
                    Some(Err(error)) => room.send(Err(error)),
                    None => {}
                }
            }
            piece = pieces.recv(), if waiting.is_none() => {
                match piece {
                    Some(piece) => waiting = Some(piece),
                    None => return,
                }
            }
            () = to_viewer.closed() => return,
        }
    }
}

/// Makes a stream. Ends without an error where the viewer is gone.
fn make(
    app: &App,
    runtime: &tokio::runtime::Handle,
    job: Job,
    streams: &Streams,
    to_viewer: &mpsc::Sender<Result<Piece, io::Error>>,
) -> Result<(), AppError> {
    let Job { view, viewer, began, clip, duration_ms, track, key, mark: mark_key, scene } = job;
    let duration = Duration::from_millis(duration_ms);
    let mut units = UnitReader::of(TrackReader::new(app, &key, clip, &track)?, runtime);
    drop(key);
    let mut out = Output { fragments: None, duration, to_viewer };
    let mut scene = Some((scene, mark_key));
    let mut transcoder = None;
    let stopped = || streams.stopping.load(Ordering::Relaxed) || to_viewer.is_closed();
    while let Some(unit) = units.next_unit()? {
        if stopped() {
            return Ok(());
        }
        if transcoder.is_none()
            && let (Some(stream), Some((scene, mark_key))) = (units.stream(), scene.take())
        {
            let size = (stream.width(), stream.height());
            let mark =
                ViewMark::new(&view, &viewer, began, size.0, size.1).map_err(PictureError::from)?;
            let mut hidden = Embedder::new(&mark_key, track.name, size.0, size.1);
            drop(mark_key);
            let edit = move |picture: &mut I420Picture, at: MonoTime| {
                paint(picture, at.since(MonoTime::ZERO), &scene, &mut hidden, &mark)
            };
            transcoder = Some(
                Transcoder::new(stream, encoder_config(size), edit).map_err(PictureError::from)?,
            );
        }
        let Some(transcoder) = transcoder.as_mut() else {
            return Err(PictureError::Short(track.name.as_str()).into());
        };
        for unit in transcoder.push(unit).map_err(PictureError::from)? {
            if !out.unit(unit, transcoder.stream().map(Arc::as_ref))? {
                return Ok(());
            }
        }
    }
    let end = units.end();
    let size = units.stream().map(|s| (s.width(), s.height()));
    let transcoder = transcoder.ok_or(PictureError::Short(track.name.as_str()))?;
    // A recording of a few pictures may end before the first one has come out.
    let stream = match (transcoder.stream(), size) {
        (Some(stream), _) => Some(stream.as_ref().clone()),
        (None, Some(size)) => Some(streams.coded(size)?),
        (None, None) => None,
    };
    let mut failed = None;
    transcoder
        .finish(|unit| match out.unit(unit, stream.as_ref()) {
            Ok(go_on) => go_on && !stopped(),
            Err(error) => {
                failed = Some(error);
                false
            }
        })
        .map_err(PictureError::from)?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(out.end(end)?),
    }
}

/// Coded pictures into fragments into the queue.
struct Output<'a> {
    fragments: Option<LiveFragments>,
    duration: Duration,
    to_viewer: &'a mpsc::Sender<Result<Piece, io::Error>>,
}

impl Output<'_> {
    /// False where the viewer is gone.
    fn unit(
        &mut self,
        unit: AccessUnit,
        stream: Option<&StreamConfig>,
    ) -> Result<bool, PictureError> {
        let fragments = match &mut self.fragments {
            Some(fragments) => fragments,
            none => {
                let stream = stream.ok_or(PictureError::Short("encoder"))?;
                let writer = Writer::new(stream.clone(), MonoTime::ZERO);
                let init = writer.init(Some(self.duration))?;
                if !send(self.to_viewer, init, MonoTime::ZERO) {
                    return Ok(false);
                }
                none.insert(LiveFragments::new(writer, FRAGMENT))
            }
        };
        // A piece that is whole now ends where this picture begins.
        let end = unit.at;
        Ok(match fragments.push(unit)? {
            Some(piece) => send(self.to_viewer, piece, end),
            None => true,
        })
    }

    fn end(self, end: MonoTime) -> Result<(), PictureError> {
        if let Some(fragments) = self.fragments
            && let Some(piece) = fragments.finish(end)?
        {
            // The viewer may be gone already.
            send(self.to_viewer, piece, end);
        }
        Ok(())
    }
}

/// False where the viewer is gone.
fn send(to: &mpsc::Sender<Result<Piece, io::Error>>, bytes: Bytes, end: MonoTime) -> bool {
    let end_ms = u64::try_from(end.since(MonoTime::ZERO).as_millis()).unwrap_or(u64::MAX);
    to.blocking_send(Ok(Piece { bytes, end_ms })).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says yes so many times, or fails.
    #[derive(Default)]
    struct Times {
        yes: usize,
        fails: bool,
        asked: std::sync::atomic::AtomicUsize,
        ended_at: std::sync::atomic::AtomicU64,
    }

    impl Supervise for Arc<Times> {
        async fn go_on(&self, _: u64) -> Result<bool, AppError> {
            if self.fails {
                return Err(AppError::Internal("no database".into()));
            }
            Ok(self.asked.fetch_add(1, Ordering::Relaxed) < self.yes)
        }

        async fn ended(&self, sent_ms: u64) {
            self.ended_at.store(sent_ms, Ordering::Relaxed);
        }
    }

    /// A fast viewer, a slow one who takes nothing for a while, and one who waits for more.
    #[tokio::test]
    async fn a_changed_decision_cuts_a_running_stream_with_an_error() {
        for (pieces_ready, read_first) in [(QUEUE, true), (QUEUE, false), (0, true)] {
            let (from_worker, pieces) = mpsc::channel(QUEUE);
            for _ in 0..pieces_ready {
                let piece = Piece { bytes: Bytes::from_static(b"piece"), end_ms: 400 };
                from_worker.try_send(Ok(piece)).unwrap();
            }
            let (to_viewer, mut body) = mpsc::channel(1);
            let watch = Arc::new(Times { yes: 3, ..Times::default() });
            let every = Duration::from_millis(5);
            let passing =
                tokio::spawn(pass_on(pieces, to_viewer, Arc::clone(&watch), every, ViewId::new()));
            if !read_first {
                while watch.asked.load(Ordering::Relaxed) < 4 {
                    tokio::task::yield_now().await;
                }
            }
            let mut last = None;
            while let Some(piece) = body.recv().await {
                assert!(last.is_none(), "nothing after the error");
                last = piece.err();
            }
            assert!(last.is_some(), "an end without an error looks like the recording's end");
            passing.await.unwrap();
            let sent = if pieces_ready > 0 { 400 } else { 0 };
            assert_eq!(watch.ended_at.load(Ordering::Relaxed), sent, "how much was sent is noted");
            assert!(from_worker.is_closed(), "the worker is told");
        }
    }

    #[tokio::test]
    async fn without_a_decision_a_running_stream_is_cut() {
        let (_from_worker, pieces) = mpsc::channel(QUEUE);
        let (to_viewer, mut body) = mpsc::channel(1);
        let every = Duration::from_millis(5);
        let watch = Arc::new(Times { fails: true, ..Times::default() });
        tokio::spawn(pass_on(pieces, to_viewer, watch, every, ViewId::new()));
        assert!(body.recv().await.unwrap().is_err());
        assert!(body.recv().await.is_none());
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let streams = Arc::new(Streams::new(Views { max_streams: 3, max_streams_per_session: 2 }));
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        let first = streams.take(a).unwrap();
        let _second = streams.take(a).unwrap();
        assert!(matches!(streams.take(a), Err(AppError::Busy(_))), "own limit");
        let _third = streams.take(b).unwrap();
        assert!(matches!(streams.take(c), Err(AppError::Busy(_))), "limit in all");
        drop(first);
        assert_eq!(streams.count(), 2);
        assert!(streams.take(c).is_ok());
        streams.stop_all();
        assert!(streams.take(c).is_err());
    }
}
