//! The spool on the unit's disk: records of flagged events and sealed clips, until the server has
//! them durably. See [`temoin_agent_core::spool_plan`] for the layout and for what a crash leaves.
//!
//! ```text
//! DATA/lock                         held by the running agent
//! DATA/spool/tmp/<clip_id>/         a clip being written
//! DATA/spool/events/<event_id>      record: the event, its place in the queue, its clip's end
//! DATA/spool/clips/<clip_id>/       manifest, and one file a track
//! DATA/spool/so-far/<clip_id>/      the same, as far as it was when the vehicle crashed
//! DATA/spool/trash/<clip_id>/       on the way out
//! ```
//!
//! INVARIANT: what is in `events`, `clips` and `so-far` is whole: it got there by rename, with its
//! content and its folder fsynced. The pictures in it are sealed; the unit cannot open them.

mod files;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost::Message;
use rustix::fs::{FlockOperation, flock};
use temoin_agent_core::spool_plan::{
    EventEntry, EventHead, Listing, Lost, LostReason, QuotaPlan, Rank, Standing, StartAction,
    StoredClip, plan_quota, plan_start,
};
use temoin_proto::{
    convert::EventRecord,
    ids::{ClipId, EventId},
    manifest::Manifest,
    sealed::TrackName,
    wire,
};

use self::files::{entries, remove_all, write_files};
use crate::{
    durable::{self, FileError},
    seal::SealedClip,
};

const MANIFEST: &str = "manifest";

/// Why the spool cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another agent uses this folder.
    #[error(
        "another temoin-agent is running on `{}`: stop it first, or give this one another `data_dir`",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file is damaged.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No room: what is there comes before it ([`temoin_agent_core::spool_plan::Standing`]).
    #[error("no room for clip {0}: what is in the spool comes before it")]
    Full(ClipId),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl SpoolError {
    /// The reason to record for a clip that could not be kept.
    pub fn lost_reason(&self) -> LostReason {
        match self {
            Self::Full(_) => LostReason::DiskFull,
            Self::File(e) if e.is_disk_full() => LostReason::DiskFull,
            Self::File(_) | Self::InUse(_) | Self::Damaged { .. } => LostReason::WriteFailed,
        }
    }
}

/// An event's record as it lies on the disk.
#[derive(Clone, PartialEq, Message)]
struct StoredEvent {
    #[prost(message, optional, tag = "1")]
    event: Option<wire::Event>,
    /// Counts the records that this spool ever held.
    #[prost(uint64, tag = "2")]
    seq: u64,
    /// The clip's end is settled: the server has it, or knows that it is lost.
    #[prost(bool, tag = "3")]
    clip_done: bool,
    /// Why the clip is lost; empty where it is not.
    #[prost(string, tag = "4")]
    lost: String,
}

struct Stored {
    record: EventRecord,
    seq: u64,
    clip: ClipId,
    clip_done: bool,
    lost: Option<LostReason>,
}

impl Stored {
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored = StoredEvent::decode(bytes).map_err(|e| e.to_string())?;
        let event = stored.event.ok_or("no event in it")?;
        let record = EventRecord::try_from(event).map_err(|e| e.to_string())?;
        let clip = record.clip.clone().map_err(|_| "it names no clip")?;
        let lost = LOST_REASONS.into_iter().find(|r| r.as_str() == stored.lost);
        Ok(Self { record, seq: stored.seq, clip, clip_done: stored.clip_done, lost })
    }

    fn encode(&self) -> Vec<u8> {
        StoredEvent {
            event: Some((&self.record).into()),
            seq: self.seq,
            clip_done: self.clip_done,
            lost: self.lost.map_or_else(String::new, |r| r.as_str().to_owned()),
        }
        .encode_to_vec()
    }

    const fn rank(&self) -> Rank {
        Rank::new(Standing::of(self.record.kind, self.record.severity), self.seq)
    }
}

const LOST_REASONS: [LostReason; 5] = [
    LostReason::UnitStopped,
    LostReason::DiskFull,
    LostReason::NoPicture,
    LostReason::WriteFailed,
    LostReason::Unreadable,
];

#[derive(Default)]
struct Index {
    events: BTreeMap<EventId, Stored>,
    clips: BTreeMap<ClipId, StoredClip>,
    /// Bytes of each clip so far.
    so_far: BTreeMap<ClipId, u64>,
    next_seq: u64,
}

/// A clip's place: that of its foremost event; last where no record names it.
fn rank_of(clip: ClipId, events: &BTreeMap<EventId, Stored>) -> Rank {
    let named = events.values().filter(|e| e.clip == clip).map(Stored::rank).min();
    named.unwrap_or(Rank::LAST)
}

/// Work for the uploader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// An event's record is durable.
    Event {
        /// Which.
        event: EventId,
        /// Its place.
        rank: Rank,
        /// The clip that it gets.
        clip: ClipId,
        /// That clip's end is settled.
        clip_done: bool,
    },
    /// A clip is durable.
    Clip {
        /// Which.
        clip: ClipId,
        /// Bytes of all tracks.
        bytes: u64,
        /// Its place; None without a record.
        rank: Option<Rank>,
    },
    /// A clip is lost, durably recorded.
    Lost(Lost),
}

/// One track's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFile {
    /// Which track.
    pub name: TrackName,
    /// Its length, bytes.
    pub len: u64,
}

/// See the module.
pub struct Spool {
    root: PathBuf,
    quota_bytes: u64,
    index: Mutex<Index>,
    _lock: File,
}

impl Spool {
    /// Opens the spool under a data folder, cleans up what a crash left, and says what is to be
    /// uploaded. `strange` is told of files that are not the spool's.
    ///
    /// # Errors
    /// [`SpoolError::InUse`], [`SpoolError::File`].
    pub fn open(
        data: &Path,
        quota_bytes: u64,
        mut strange: impl FnMut(&str),
    ) -> Result<(Self, Vec<Queued>), SpoolError> {
        durable::make_folder(data)?;
        let lock_path = data.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(FileError::new("open", &lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::InUse(data.to_owned()))?;
        let spool =
            Self { root: data.join("spool"), quota_bytes, index: Mutex::default(), _lock: lock };
        for name in ["tmp", "events", "clips", "so-far", "trash"] {
            durable::make_folder(&spool.root.join(name))?;
        }
        let listing = spool.list()?;
        let mut queue = Vec::new();
        for action in plan_start(&listing) {
            match action {
                StartAction::RemoveTemp(name) => remove_all(&spool.root.join("tmp").join(name))?,
                StartAction::RemoveTrash(name) => remove_all(&spool.root.join("trash").join(name))?,
                StartAction::RemoveSoFar(name) => {
                    spool.throw_away(&spool.root.join("so-far").join(name))?
                }
                StartAction::Promote(clip) => {
                    spool.promote(clip)?;
                }
                StartAction::QueueEvent { event, head } => queue.push(Queued::Event {
                    event,
                    rank: head.rank,
                    clip: head.clip,
                    clip_done: head.clip_done,
                }),
                StartAction::QueueClip { clip, bytes, rank } => {
                    queue.push(Queued::Clip {
                        clip,
                        bytes: spool.track_bytes(clip).unwrap_or(bytes),
                        rank,
                    });
                }
                StartAction::RecordLost(lost) => {
                    queue.push(Queued::Lost(spool.record_lost(lost)?));
                }
                StartAction::ReportStrange { path } => strange(&path),
            }
        }
        Ok((spool, queue))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event_path(&self, event: EventId) -> PathBuf {
        self.root.join("events").join(event.to_string())
    }

    fn clip_path(&self, clip: ClipId) -> PathBuf {
        self.root.join("clips").join(clip.to_string())
    }

    fn so_far_path(&self, clip: ClipId) -> PathBuf {
        self.root.join("so-far").join(clip.to_string())
    }

    /// Reads the folder and fills the index.
    fn list(&self) -> Result<Listing, SpoolError> {
        let mut listing = Listing {
            tmp: entries(&self.root.join("tmp"))?,
            clips: entries(&self.root.join("clips"))?,
            so_far: entries(&self.root.join("so-far"))?,
            trash: entries(&self.root.join("trash"))?,
            events: Vec::new(),
        };
        let mut index = self.index();
        for entry in entries(&self.root.join("events"))? {
            let path = self.root.join("events").join(&entry.name);
            if entry.name.ends_with(".tmp") {
                // Left by a crash before the rename: never part of the spool.
                fs::remove_file(&path).map_err(FileError::new("remove", &path))?;
                continue;
            }
            // What the disk does not give back is left where it is, like what is damaged.
            let stored =
                fs::read(&path).map_err(|e| e.to_string()).and_then(|b| Stored::decode(&b));
            let head = stored.as_ref().ok().map(|s| EventHead {
                rank: s.rank(),
                clip: s.clip,
                clip_done: s.clip_done,
            });
            if let (Ok(stored), Ok(id)) = (stored, entry.name.parse::<EventId>()) {
                index.next_seq = index.next_seq.max(stored.seq.saturating_add(1));
                index.events.insert(id, stored);
            }
            listing.events.push(EventEntry { name: entry.name, head });
        }
        let Index { events, clips, so_far, .. } = &mut *index;
        for entry in &listing.so_far {
            if let Ok(clip) = entry.name.parse::<ClipId>() {
                so_far.insert(clip, entry.bytes);
            }
        }
        for entry in &listing.clips {
            if let Ok(clip) = entry.name.parse::<ClipId>() {
                let rank = rank_of(clip, events);
                clips.insert(clip, StoredClip { clip, bytes: entry.bytes, rank });
            }
        }
        Ok(listing)
    }

    /// Makes an event's record durable. From here on the event is never lost.
    ///
    /// # Errors
    /// [`SpoolError::File`]; a record without a clip is a [`SpoolError::Damaged`].
    pub fn put_event(&self, record: EventRecord) -> Result<Queued, SpoolError> {
        let path = self.event_path(record.id);
        let clip = record.clip.clone().map_err(|_| SpoolError::Damaged {
            path: path.clone(),
            reason: "a flagged event without a clip".to_owned(),
        })?;
        let event = record.id;
        let mut index = self.index();
        let seq = index.next_seq;
        let stored = Stored { record, seq, clip, clip_done: false, lost: None };
        durable::replace(&path, &stored.encode())?;
        index.next_seq = seq.saturating_add(1);
        let rank = stored.rank();
        index.events.insert(event, stored);
        Ok(Queued::Event { event, rank, clip, clip_done: false })
    }

    /// Makes a sealed clip durable; what there was of it so far goes. Clips that had to make way come
    /// first in the answer.
    ///
    /// # Errors
    /// [`SpoolError::Full`], [`SpoolError::File`]; nothing of the clip is left then but what there was
    /// so far.
    pub fn put_clip(&self, sealed: &SealedClip) -> Result<Vec<Queued>, SpoolError> {
        let stored = self.describe(sealed);
        let StoredClip { clip, bytes, rank } = stored;
        let mut queue = self.make_way(&stored)?;
        self.write_clip(sealed, &self.clip_path(clip))?;
        self.index().clips.insert(clip, stored);
        queue.push(Queued::Clip { clip, bytes, rank: Some(rank) });
        if self.index().so_far.remove(&clip).is_some() {
            // Where this fails the next start does it.
            if let Err(e) = self.throw_away(&self.so_far_path(clip)) {
                tracing::warn!(%clip, "what is no longer needed is left behind: {e}");
            }
        }
        Ok(queue)
    }

    /// Makes durable what there is of a clip that still waits for its end. It is uploaded only where that
    /// never comes: after a start, or by [`Self::promote`]. What was there of it before is replaced.
    /// Clips that had to make way are in the answer.
    ///
    /// # Errors
    /// As [`Self::put_clip`].
    pub fn put_so_far(&self, sealed: &SealedClip) -> Result<Vec<Queued>, SpoolError> {
        let stored = self.describe(sealed);
        let queue = self.make_way(&stored)?;
        self.write_clip(sealed, &self.so_far_path(stored.clip))?;
        self.index().so_far.insert(stored.clip, stored.bytes);
        Ok(queue)
    }

    /// Takes what there is of a clip so far for the clip; None where there is nothing.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn promote(&self, clip: ClipId) -> Result<Option<Queued>, SpoolError> {
        let mut index = self.index();
        let Some(&bytes) = index.so_far.get(&clip) else { return Ok(None) };
        durable::rename(&self.so_far_path(clip), &self.clip_path(clip))?;
        let rank = rank_of(clip, &index.events);
        index.so_far.remove(&clip);
        index.clips.insert(clip, StoredClip { clip, bytes, rank });
        Ok(Some(Queued::Clip { clip, bytes, rank: Some(rank) }))
    }

    fn describe(&self, sealed: &SealedClip) -> StoredClip {
        let clip = sealed.clip;
        let bytes = sealed.tracks.iter().map(|(_, b)| b.len() as u64).sum();
        StoredClip { clip, bytes, rank: rank_of(clip, &self.index().events) }
    }

    /// Deletes what must make way for a clip, and says what.
    fn make_way(&self, incoming: &StoredClip) -> Result<Vec<Queued>, SpoolError> {
        let plan = {
            let index = self.index();
            let stored: Vec<StoredClip> = index.clips.values().copied().collect();
            let others = index.so_far.iter().filter(|(clip, _)| **clip != incoming.clip);
            let so_far: u64 = others.map(|(_, bytes)| bytes).sum();
            plan_quota(&stored, incoming, self.quota_bytes.saturating_sub(so_far))
        };
        let QuotaPlan::Admit(lost) = plan else { return Err(SpoolError::Full(incoming.clip)) };
        let mut queue = Vec::new();
        for lost in lost {
            queue.push(Queued::Lost(self.record_lost(lost)?));
            self.discard_clip(lost.clip)?;
        }
        Ok(queue)
    }

    fn write_clip(&self, sealed: &SealedClip, to: &Path) -> Result<(), FileError> {
        let temporary = self.root.join("tmp").join(sealed.clip.to_string());
        let written =
            write_files(sealed, &temporary).and_then(|()| durable::put_folder(&temporary, to));
        // What is left over takes room that the next clip may need.
        if let Err(e) = remove_all(&temporary) {
            tracing::warn!(clip = %sealed.clip, "what is no longer needed is left behind: {e}");
        }
        written
    }

    /// Records durably that a clip is lost; an earlier reason stays.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn record_lost(&self, lost: Lost) -> Result<Lost, SpoolError> {
        let mut reason = lost.reason;
        self.change_events(lost.clip, |stored| {
            reason = *stored.lost.get_or_insert(lost.reason);
        })?;
        Ok(Lost { clip: lost.clip, reason })
    }

    /// Notes in its events' records that the server has the clip, or knows that it is lost.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn settle_clip(&self, clip: ClipId) -> Result<(), SpoolError> {
        self.change_events(clip, |stored| stored.clip_done = true)
    }

    fn change_events(
        &self,
        clip: ClipId,
        mut change: impl FnMut(&mut Stored),
    ) -> Result<(), SpoolError> {
        let mut index = self.index();
        for (id, stored) in index.events.iter_mut().filter(|(_, e)| e.clip == clip) {
            change(stored);
            durable::replace(&self.event_path(*id), &stored.encode())?;
        }
        Ok(())
    }

    /// Deletes a clip: away by rename first, so that no half of it is ever seen.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn discard_clip(&self, clip: ClipId) -> Result<(), SpoolError> {
        let trash = self.to_trash(&self.clip_path(clip))?;
        self.index().clips.remove(&clip);
        Ok(remove_all(&trash)?)
    }

    /// Where it lies then, to be removed: no half of it is ever seen where it was.
    fn to_trash(&self, path: &Path) -> Result<PathBuf, FileError> {
        let trash = self.root.join("trash").join(path.file_name().unwrap_or_default());
        durable::rename(path, &trash)?;
        Ok(trash)
    }

    fn throw_away(&self, path: &Path) -> Result<(), FileError> {
        remove_all(&self.to_trash(path)?)
    }

    /// Deletes an event's record.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn discard_event(&self, event: EventId) -> Result<(), SpoolError> {
        let path = self.event_path(event);
        fs::remove_file(&path).map_err(FileError::new("remove", &path))?;
        durable::sync_folder(&self.root.join("events"))?;
        self.index().events.remove(&event);
        Ok(())
    }

    /// An event's record.
    pub fn event(&self, event: EventId) -> Option<EventRecord> {
        self.index().events.get(&event).map(|s| s.record.clone())
    }

    /// Reads a clip's signed manifest.
    ///
    /// # Errors
    /// [`SpoolError::File`], [`SpoolError::Damaged`].
    pub fn manifest(&self, clip: ClipId) -> Result<wire::SignedManifest, SpoolError> {
        let path = self.clip_path(clip).join(MANIFEST);
        let bytes = fs::read(&path).map_err(FileError::new("read", &path))?;
        wire::SignedManifest::decode(Bytes::from(bytes))
            .map_err(|e| SpoolError::Damaged { path, reason: e.to_string() })
    }

    /// A clip's tracks in the manifest's order.
    ///
    /// # Errors
    /// [`SpoolError::File`], [`SpoolError::Damaged`].
    pub fn tracks(&self, clip: ClipId) -> Result<Vec<TrackFile>, SpoolError> {
        let damaged = |reason: String| SpoolError::Damaged {
            path: self.clip_path(clip).join(MANIFEST),
            reason,
        };
        let signed = self.manifest(clip)?;
        // Its own signature is not checked here: the server does, and is the one to judge.
        let manifest =
            wire::Manifest::decode(signed.manifest).map_err(|e| damaged(e.to_string()))?;
        let manifest = Manifest::try_from(manifest).map_err(|e| damaged(e.to_string()))?;
        Ok(manifest.tracks.iter().map(|t| TrackFile { name: t.name, len: t.sealed_len }).collect())
    }

    fn track_bytes(&self, clip: ClipId) -> Option<u64> {
        Some(self.tracks(clip).ok()?.iter().map(|t| t.len).sum())
    }

    /// Reads part of a sealed track.
    ///
    /// # Errors
    /// [`SpoolError::File`].
    pub fn read_track(
        &self,
        clip: ClipId,
        track: TrackName,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, SpoolError> {
        let path = self.clip_path(clip).join(track.as_str());
        let mut bytes = vec![0; len];
        File::open(&path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut bytes)
            })
            .map_err(FileError::new("read", &path))?;
        Ok(bytes.into())
    }

    /// Whether nothing is left to be uploaded.
    pub fn is_empty(&self) -> bool {
        let index = self.index();
        index.clips.is_empty() && index.events.is_empty()
    }

    /// Clips in the spool and their bytes.
    pub fn usage(&self) -> (usize, u64) {
        let index = self.index();
        let whole: u64 = index.clips.values().map(|c| c.bytes).sum();
        (index.clips.len(), whole + index.so_far.values().sum::<u64>())
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
