//! The RAM ring of encoded video: the only place where unflagged pictures are.
//!
//! Access units come in decode order, which is presentation order (no B pictures). They are kept
//! as closed groups of pictures (GOPs): each begins with a key picture and decodes by itself.
//!
//! INVARIANT: after every push each camera holds at most `camera_bytes` and spans at most `span`.
//! Whole GOPs go, the oldest first; one that outgrows a bound by itself is dropped.
//! INVARIANT: every GOP begins with a key picture and misses none in the middle: after a unit that
//! does not fit in, everything up to the next key picture is dropped.
//! INVARIANT: a range copies no bytes. Nothing here is ever written anywhere; a crash leaves none.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use temoin_proto::{samples::CameraId, time::MonoTime};

/// One of a camera's videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Video {
    /// The one that everybody sees who may: other people are blurred as the fleet configured.
    Shown(CameraId),
    /// Other people as they are. Only where the fleet switched it on.
    Unblurred(CameraId),
}

impl Video {
    /// Every video.
    pub const ALL: [Self; 4] = [
        Self::Shown(CameraId::Cabin),
        Self::Shown(CameraId::Road),
        Self::Unblurred(CameraId::Cabin),
        Self::Unblurred(CameraId::Road),
    ];

    /// Whose pictures.
    pub const fn camera(self) -> CameraId {
        match self {
            Self::Shown(camera) | Self::Unblurred(camera) => camera,
        }
    }

    /// `cabin`, `road`, `cabin_unblurred` or `road_unblurred`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shown(camera) => camera.as_str(),
            Self::Unblurred(CameraId::Cabin) => "cabin_unblurred",
            Self::Unblurred(CameraId::Road) => "road_unblurred",
        }
    }
}

impl From<CameraId> for Video {
    fn from(camera: CameraId) -> Self {
        Self::Shown(camera)
    }
}

/// One encoded picture. Cloning copies no bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Which video.
    pub video: Video,
    /// The picture's time.
    pub at: MonoTime,
    /// It begins a closed GOP (IDR).
    pub key: bool,
    /// H.264, as the encoder gave it.
    pub data: Bytes,
}

impl std::fmt::Debug for AccessUnit {
    // Never the picture: it must not reach a log by accident.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessUnit")
            .field("video", &self.video)
            .field("at", &self.at)
            .field("key", &self.key)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// A group of pictures that decodes by itself. Never empty; the first unit is a key picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gop {
    start: MonoTime,
    units: Vec<AccessUnit>,
    bytes: usize,
}

impl Gop {
    fn begin(unit: AccessUnit) -> Self {
        Self { start: unit.at, bytes: unit.data.len(), units: vec![unit] }
    }

    fn add(&mut self, unit: AccessUnit) {
        self.bytes = self.bytes.saturating_add(unit.data.len());
        self.units.push(unit);
    }

    /// The key picture's time.
    pub const fn start(&self) -> MonoTime {
        self.start
    }

    /// The last picture's time.
    pub fn last(&self) -> MonoTime {
        self.units.last().map_or(self.start, |u| u.at)
    }

    /// The pictures in order.
    pub fn units(&self) -> &[AccessUnit] {
        &self.units
    }

    /// Bytes of all pictures.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Why a unit was not kept. The ring stays sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Waiting for a key picture.
    #[error("dropped a picture at {at}: a key picture is needed first")]
    NoKey {
        /// Its time.
        at: MonoTime,
    },
    /// Not later than the picture before.
    #[error("dropped a picture at {at}: the one before was at {last}")]
    NotAfter {
        /// Its time.
        at: MonoTime,
        /// The time of the one before.
        last: MonoTime,
    },
    /// The GOP outgrew the ring.
    #[error("dropped a group of pictures of {bytes} bytes from {start}: the ring is smaller")]
    GopTooLarge {
        /// Its key picture's time.
        start: MonoTime,
        /// Its size.
        bytes: usize,
    },
}

/// Bounds, the same for each camera; its videos share the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Longest time from the first to the last picture.
    pub span: Duration,
    /// Most bytes.
    pub camera_bytes: usize,
}

/// What a camera's ring holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingMetrics {
    /// Bytes of all pictures.
    pub bytes: usize,
    /// Time from the first to the last picture.
    pub span: Duration,
    /// GOPs, with the one that is still open.
    pub gops: usize,
    /// Units dropped since the start: no key picture, out of order, too large.
    pub dropped: u64,
}

/// Which pictures of the end a range takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Closed GOPs only.
    Closed,
    /// Also what there is of the GOP that is still open: nothing more will be waited for.
    WithOpen,
}

#[derive(Clone, Debug, Default)]
struct CameraRing {
    closed: VecDeque<Arc<Gop>>,
    open: Option<Gop>,
    bytes: usize,
    dropped: u64,
}

impl CameraRing {
    fn last(&self) -> Option<MonoTime> {
        self.open.as_ref().map(Gop::last).or_else(|| self.closed.back().map(|g| g.last()))
    }

    fn first(&self) -> Option<MonoTime> {
        self.closed.front().map(|g| g.start()).or_else(|| self.open.as_ref().map(Gop::start))
    }

    fn span(&self) -> Duration {
        self.first().zip(self.last()).map_or(Duration::ZERO, |(first, last)| last.since(first))
    }

    fn close(&mut self) {
        if let Some(gop) = self.open.take() {
            self.closed.push_back(Arc::new(gop));
        }
    }

    fn push(&mut self, unit: AccessUnit, limits: RingLimits) -> Result<(), RingError> {
        let at = unit.at;
        if let Some(last) = self.last().filter(|&last| at <= last) {
            // What was to follow in this GOP may refer to this unit.
            self.close();
            return Err(RingError::NotAfter { at, last });
        }
        let size = unit.data.len();
        if unit.key {
            self.close();
            self.open = Some(Gop::begin(unit));
        } else if let Some(open) = self.open.as_mut() {
            open.add(unit);
        } else {
            return Err(RingError::NoKey { at });
        }
        self.bytes = self.bytes.saturating_add(size);
        self.keep_within(limits)
    }

    fn keep_within(&mut self, limits: RingLimits) -> Result<(), RingError> {
        while self.bytes > limits.camera_bytes || self.span() > limits.span {
            if let Some(oldest) = self.closed.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes());
            } else if let Some(open) = self.open.take() {
                self.bytes = 0;
                return Err(RingError::GopTooLarge { start: open.start(), bytes: open.bytes() });
            } else {
                self.bytes = 0;
            }
        }
        Ok(())
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct GopRing {
    limits: RingLimits,
    videos: BTreeMap<Video, CameraRing>,
}

impl GopRing {
    /// Empty.
    pub const fn new(limits: RingLimits) -> Self {
        Self { limits, videos: BTreeMap::new() }
    }

    /// Keeps a picture and drops what no longer fits.
    ///
    /// # Errors
    /// [`RingError`] where pictures were dropped that had not been kept before.
    pub fn push(&mut self, unit: AccessUnit) -> Result<(), RingError> {
        let video = unit.video;
        self.videos.entry(video).or_default();
        // A camera's videos share its bytes: none may eat up the other's past.
        let own = |(other, _): &(&Video, &mut CameraRing)| other.camera() == video.camera();
        let count = self.videos.keys().filter(|v| v.camera() == video.camera()).count();
        let limits =
            RingLimits { camera_bytes: self.limits.camera_bytes / count.max(1), ..self.limits };
        for (_, ring) in self.videos.iter_mut().filter(own) {
            if ring.keep_within(limits).is_err() {
                ring.dropped = ring.dropped.saturating_add(1);
            }
        }
        let ring = self.videos.entry(video).or_default();
        let kept = ring.push(unit, limits);
        if kept.is_err() {
            ring.dropped = ring.dropped.saturating_add(1);
        }
        kept
    }

    /// The videos of which anything came since the start or the last wipe.
    pub fn videos(&self) -> impl Iterator<Item = Video> {
        self.videos.keys().copied()
    }

    /// Closed GOPs reach up to here: the open GOP's key picture. None where nothing is open.
    pub fn closed_until(&self, video: impl Into<Video>) -> Option<MonoTime> {
        self.videos.get(&video.into())?.open.as_ref().map(Gop::start)
    }

    /// The whole GOPs that hold the pictures from `from` to `to`, in order: the first is the one
    /// that shows `from`. Empty where the ring holds none of them.
    pub fn range(
        &self,
        video: impl Into<Video>,
        from: MonoTime,
        to: MonoTime,
        tail: Tail,
    ) -> Vec<Arc<Gop>> {
        let Some(ring) = self.videos.get(&video.into()) else { return Vec::new() };
        let open = match tail {
            Tail::Closed => None,
            Tail::WithOpen => ring.open.clone().map(Arc::new),
        };
        let all: Vec<_> = ring.closed.iter().cloned().chain(open).collect();
        let starts = all.iter().skip(1).map(|g| Some(g.start())).chain([None]);
        all.iter()
            .zip(starts)
            // A GOP shows what is up to the next one's key picture, unless pictures are missing.
            .filter(|(gop, next)| {
                gop.start() <= to && (gop.last() >= from || next.is_some_and(|next| next > from))
            })
            .map(|(gop, _)| Arc::clone(gop))
            .collect()
    }

    /// Wipes everything, as a change of the privacy state asks.
    pub fn clear(&mut self) {
        self.videos.clear();
    }

    /// What a video's ring holds.
    pub fn metrics(&self, video: impl Into<Video>) -> RingMetrics {
        self.videos.get(&video.into()).map_or_else(RingMetrics::default, |ring| RingMetrics {
            bytes: ring.bytes,
            span: ring.span(),
            gops: ring.closed.len() + usize::from(ring.open.is_some()),
            dropped: ring.dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: RingLimits = RingLimits { span: Duration::from_secs(10), camera_bytes: 4000 };

    fn unit(ms: u64, key: bool, bytes: usize) -> AccessUnit {
        AccessUnit {
            video: CameraId::Road.into(),
            at: MonoTime::from_ns(ms * 1_000_000),
            key,
            data: Bytes::from(vec![7; bytes]),
        }
    }

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ns(ms * 1_000_000)
    }

    /// `seconds` of 1 s GOPs at 10 fps.
    fn filled(seconds: u64) -> GopRing {
        let mut ring = GopRing::new(LIMITS);
        for n in 0..seconds * 10 {
            ring.push(unit(n * 100, n % 10 == 0, 10)).unwrap();
        }
        ring
    }

    #[test]
    fn range_gives_whole_gops_that_cover_it() {
        let ring = filled(8);
        for (from, to, tail, starts) in [
            (2500, 4500, Tail::Closed, vec![2000, 3000, 4000]),
            (2000, 3999, Tail::Closed, vec![2000, 3000]),
            (2950, 3000, Tail::Closed, vec![2000, 3000]),
            (6500, 9000, Tail::Closed, vec![6000]),
            (6500, 9000, Tail::WithOpen, vec![6000, 7000]),
            (0, 500, Tail::Closed, vec![0]),
            (9000, 9500, Tail::WithOpen, vec![]),
        ] {
            let found = ring.range(CameraId::Road, at(from), at(to), tail);
            let found: Vec<_> = found.iter().map(|g| g.start().as_ns() / 1_000_000).collect();
            assert_eq!(found, starts, "{from} {to} {tail:?}");
        }
        assert_eq!(ring.range(CameraId::Cabin, at(0), at(9000), Tail::WithOpen), []);
        assert_eq!(ring.closed_until(CameraId::Road), Some(at(7000)));
    }

    #[test]
    fn a_range_copies_no_bytes() {
        let mut ring = GopRing::new(LIMITS);
        let first = unit(0, true, 100);
        let data = first.data.clone();
        ring.push(first).unwrap();
        for tail in [Tail::Closed, Tail::WithOpen] {
            if tail == Tail::Closed {
                ring.push(unit(1000, true, 1)).unwrap();
            }
            let gops = ring.range(CameraId::Road, at(0), at(0), tail);
            assert_eq!(gops[0].units()[0].data.as_ptr(), data.as_ptr());
        }
    }

    #[test]
    fn the_oldest_go_whole() {
        let ring = filled(30);
        let metrics = ring.metrics(CameraId::Road);
        assert_eq!(metrics.gops, 10);
        assert_eq!(metrics.span, Duration::from_millis(9900));
        assert_eq!(metrics.bytes, 1000);
    }

    #[test]
    fn broken_streams_leave_a_sound_ring() {
        let mut ring = GopRing::new(LIMITS);
        assert_eq!(ring.push(unit(0, false, 1)), Err(RingError::NoKey { at: at(0) }));
        ring.push(unit(100, true, 1)).unwrap();
        ring.push(unit(200, false, 1)).unwrap();
        assert!(matches!(ring.push(unit(200, false, 1)), Err(RingError::NotAfter { .. })));
        assert!(matches!(ring.push(unit(300, false, 1)), Err(RingError::NoKey { .. })));
        assert_eq!(ring.range(CameraId::Road, at(0), at(900), Tail::Closed)[0].units().len(), 2);
        ring.push(unit(400, true, 1)).unwrap();
        assert!(matches!(ring.push(unit(500, true, 4001)), Err(RingError::GopTooLarge { .. })));
        assert_eq!(ring.metrics(CameraId::Road), RingMetrics { dropped: 4, ..Default::default() });
        ring.push(unit(600, true, 1)).unwrap();
        // An encoder that sends no more key pictures must not fill the memory.
        let dropped = (7..300).filter(|n| ring.push(unit(n * 100, false, 1)).is_err()).count();
        assert!(dropped > 0 && ring.metrics(CameraId::Road).span <= LIMITS.span);
        ring.clear();
        assert_eq!(ring.videos().count(), 0);
    }

    #[test]
    fn the_videos_of_a_camera_share_its_bytes_and_keep_apart() {
        let mut ring = GopRing::new(LIMITS);
        let road = Video::from(CameraId::Road);
        let unblurred = Video::Unblurred(CameraId::Road);
        for n in 0..40 {
            for video in [road, unblurred] {
                let one = AccessUnit { video, ..unit(n * 100, n % 5 == 0, 100) };
                ring.push(one).unwrap();
                let bytes = ring.metrics(road).bytes + ring.metrics(unblurred).bytes;
                assert!(bytes <= LIMITS.camera_bytes, "{bytes}");
            }
            let cabin =
                AccessUnit { video: CameraId::Cabin.into(), ..unit(n * 100, n % 5 == 0, 90) };
            ring.push(cabin).unwrap();
        }
        assert!(ring.metrics(road).bytes > LIMITS.camera_bytes / 3, "both have a past");
        assert!(ring.metrics(unblurred).bytes > LIMITS.camera_bytes / 3);
        assert!(ring.metrics(CameraId::Cabin).bytes > LIMITS.camera_bytes * 3 / 4);
        for video in [road, unblurred] {
            let gops = ring.range(video, at(3000), at(3900), Tail::WithOpen);
            assert!(gops.iter().flat_map(|gop| gop.units()).all(|unit| unit.video == video));
        }
        assert_eq!(ring.videos().count(), 3);
    }

    #[test]
    fn a_second_video_makes_the_first_one_give_room() {
        let mut ring = GopRing::new(LIMITS);
        for n in 0..40 {
            ring.push(unit(n * 100, n % 5 == 0, 100)).unwrap();
        }
        let unblurred = Video::Unblurred(CameraId::Road);
        ring.push(AccessUnit { video: unblurred, ..unit(4000, true, 100) }).unwrap();
        assert!(ring.metrics(CameraId::Road).bytes <= LIMITS.camera_bytes / 2);
        assert!(ring.metrics(CameraId::Road).bytes > 0);
    }

    proptest! {
        #[test]
        fn bounds_hold_after_every_push(
            units in prop::collection::vec((0_u64..3000, any::<bool>(), 0_usize..5000), 0..300),
            jumps in prop::collection::vec(any::<bool>(), 300),
        ) {
            let mut ring = GopRing::new(LIMITS);
            let mut now = 0;
            for (&(step, key, bytes), &back) in units.iter().zip(&jumps) {
                now = if back { now + step } else { step };
                let kept = ring.push(unit(now, key, bytes));
                let m = ring.metrics(CameraId::Road);
                prop_assert!(m.bytes <= LIMITS.camera_bytes && m.span <= LIMITS.span);
                let all = ring.range(CameraId::Road, MonoTime::ZERO, at(u64::from(u32::MAX)), Tail::WithOpen);
                prop_assert_eq!(all.len(), m.gops);
                prop_assert_eq!(all.iter().map(|g| g.bytes()).sum::<usize>(), m.bytes);
                let units: Vec<_> = all.iter().flat_map(|g| g.units()).collect();
                prop_assert!(units.windows(2).all(|w| w[0].at < w[1].at));
                prop_assert!(all.iter().all(|g| g.units().iter().enumerate().all(|(n, u)| u.key == (n == 0))));
                if kept.is_ok() {
                    prop_assert_eq!(units.last().map(|u| u.at), Some(at(now)));
                }
            }
        }
    }
}
