//! The thread that makes flagged events and their clips durable, sealed.
//!
//! INVARIANT: an event's record is on the disk before its clip is written, and a clip that cannot
//! be kept is recorded as lost with its reason: never silently.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::Receiver},
    thread::{self, JoinHandle},
};

use temoin_agent_core::spool_plan::{Lost, LostReason};
use temoin_proto::{convert::EventRecord, ids::ClipId};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    clip_file::{self, ClipFileError},
    health::{HealthBoard, State},
    identity::Identity,
    journal::{self, Entry},
    machine::Backlog,
    pipeline::{ClipJob, SealJob, wall_at},
    seal::{ClipFacts, SealedClip, seal},
    spool::{Queued, Spool},
};

/// Starts the thread. It ends when the pipeline does.
///
/// # Errors
/// Where the thread cannot be started.
pub fn start(
    jobs: Receiver<SealJob>,
    identity: Arc<Identity>,
    spool: Arc<Spool>,
    uploader: UnboundedSender<Queued>,
    health: Arc<HealthBoard>,
    backlog: Backlog,
) -> std::io::Result<JoinHandle<()>> {
    let mut sealer =
        Sealer { identity, spool, uploader, health, unkept: Vec::new(), let_go: BTreeSet::new() };
    thread::Builder::new().name("sealer".into()).spawn(move || {
        for job in jobs {
            sealer.retry();
            match job {
                SealJob::Event(record) => sealer.event(record),
                SealJob::Clip(job) => sealer.clip(&job),
                SealJob::SoFar(job) => sealer.so_far(&job),
            }
            backlog.done();
        }
        sealer.retry();
    })
}

struct Sealer {
    identity: Arc<Identity>,
    spool: Arc<Spool>,
    uploader: UnboundedSender<Queued>,
    health: Arc<HealthBoard>,
    /// Events whose records the disk did not take yet.
    unkept: Vec<EventRecord>,
    /// Their clips that came meanwhile and were let go.
    let_go: BTreeSet<ClipId>,
}

impl Sealer {
    fn event(&mut self, record: EventRecord) {
        match self.spool.put_event(record.clone()) {
            Ok(queued) => self.queue(queued),
            Err(e) => {
                let text = format!("a flagged event could not be kept, and is tried again: {e}");
                self.health.set("spool", State::Failed, text);
                self.unkept.push(record);
            }
        }
    }

    /// Tries again what the disk did not take.
    fn retry(&mut self) {
        for record in std::mem::take(&mut self.unkept) {
            let clip = record.clip.clone();
            let before = self.unkept.len();
            self.event(record);
            if let Ok(clip) = clip
                && self.unkept.len() == before
                && self.let_go.remove(&clip)
            {
                self.lost(clip, LostReason::WriteFailed);
            }
        }
    }

    fn queue(&self, queued: Queued) {
        if self.uploader.send(queued).is_err() {
            tracing::debug!("no uploader: the spool keeps it for the next start");
        }
    }

    fn clip(&mut self, job: &ClipJob) {
        // A clip without its event's record would be refused by the server for ever.
        if self.unkept.iter().any(|r| r.id == job.event) {
            self.let_go.insert(job.clip);
            return;
        }
        match self.keep(job) {
            Ok(()) => self.health.set("spool", State::Ok, "flagged clips are kept"),
            Err((reason, said)) => {
                self.health.set("spool", State::Failed, format!("clip {}: {said}", job.clip));
                match self.spool.promote(job.clip) {
                    Ok(Some(queued)) => self.queue(queued),
                    Ok(None) => self.lost(job.clip, reason),
                    // The next start tries again.
                    Err(e) => tracing::error!(clip = %job.clip, "what there is of it so far: {e}"),
                }
            }
        }
    }

    /// The clip itself follows: what cannot be kept now is not lost.
    fn so_far(&self, job: &ClipJob) {
        if self.unkept.iter().any(|r| r.id == job.event) {
            return;
        }
        let kept = sealed(job, &self.identity).and_then(|sealed| {
            self.spool.put_so_far(&sealed).map_err(|e| (e.lost_reason(), e.to_string()))
        });
        match kept {
            Ok(queue) => {
                journal::write(&Entry::SoFar {
                    clip: job.clip,
                    event: job.event,
                    after: job.cut_at.elapsed(),
                });
                for queued in queue {
                    self.queue(queued);
                }
            }
            Err((_, said)) => {
                tracing::warn!(clip = %job.clip, "what there is so far is not kept: {said}");
            }
        }
    }

    fn keep(&self, job: &ClipJob) -> Result<(), (LostReason, String)> {
        let sealed = sealed(job, &self.identity)?;
        let bytes = sealed.tracks.iter().map(|(_, b)| b.len() as u64).sum();
        let queue = self.spool.put_clip(&sealed).map_err(|e| (e.lost_reason(), e.to_string()))?;
        journal::write(&Entry::Spooled { clip: job.clip, event: job.event, bytes });
        for queued in queue {
            self.queue(queued);
        }
        Ok(())
    }

    fn lost(&self, clip: ClipId, reason: LostReason) {
        match self.spool.record_lost(Lost { clip, reason }) {
            Ok(lost) => self.queue(Queued::Lost(lost)),
            // The next start finds the record without its clip and records it then.
            Err(e) => tracing::error!(%clip, "a lost clip could not be recorded: {e}"),
        }
    }
}

/// A clip as it may touch the disk; else why it never will.
fn sealed(job: &ClipJob, identity: &Identity) -> Result<SealedClip, (LostReason, String)> {
    let file =
        clip_file::write(&job.cut, &job.streams, &job.others_blurred, &job.mark).map_err(|e| {
            match e {
                ClipFileError::NoPicture => (LostReason::NoPicture, e.to_string()),
                ClipFileError::NoStream(_) | ClipFileError::Fmp4(_) => {
                    (LostReason::WriteFailed, e.to_string())
                }
            }
        })?;
    let in_clip = |at: temoin_proto::time::MonoTime| {
        u64::try_from(at.since(file.origin).as_millis()).unwrap_or(u64::MAX).min(file.duration_ms)
    };
    let facts = ClipFacts {
        clip: job.clip,
        event: job.event,
        start: wall_at(file.origin, job.now),
        duration_ms: file.duration_ms,
        event_ms: (in_clip(job.event_span.0), in_clip(job.event_span.1)),
        fingerprints: job.outlines.fingerprints(file.origin, file.duration_ms),
    };
    seal(facts, file.tracks, identity).map_err(|e| (LostReason::WriteFailed, e.to_string()))
}
