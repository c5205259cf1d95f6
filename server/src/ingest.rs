//! What enrolled units hand in: events, clips, heartbeats.
//!
//! INVARIANT: OK means durable. A clip becomes visible in this order: every track's length and
//! SHA-256 checked; each moved to the objects and synced; the database's row committed. A crash
//! anywhere leaves a state from which the same calls go on: what is an object already counts as
//! received, what is not is sent again from where it stands.
//!
//! INVARIANT: a unit touches only its own events and clips, and a manifest counts only with the
//! signature of the unit that the certificate names.

use temoin_media::watermark::fingerprint::Fingerprint;
use temoin_proto::{
    convert::{EventRecord, MAX_MARKS, Mark},
    ids::{ClipId, CommandId},
    manifest::{Manifest, Track},
    sealed::TrackName,
    wire::{
        BeginClipRequest, BeginClipResponse, DistanceMark, FinishClipRequest, FinishClipResponse,
        HeartbeatRequest, HeartbeatResponse, ReportEventRequest, ReportEventResponse,
        ReportLostClipRequest, ReportLostClipResponse, TrackOffset, UploadTrackRequest,
        UploadTrackResponse, fleet_service_server::FleetService,
    },
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    app::App,
    db::{
        clips::StoredClip,
        events::Reported,
        units::{Health, HeartbeatFacts, Unit},
    },
    error::chain,
    grpc::{caller, internal},
    log::blocking,
    objects::{ObjectError, ObjectKey, partial::Sum},
    report::Happening,
};

/// Most bytes of data in one message of an upload.
const MAX_DATA: usize = 256 * 1024;
/// Messages of an upload that wait for the disk: at most 2 MiB for each upload.
const UPLOAD_QUEUE: usize = 8;
/// Most parts that a heartbeat speaks about, and most characters of each text.
const MAX_HEALTH: usize = 64;
const MAX_TEXT: usize = 200;

/// The service for enrolled units.
#[derive(Debug)]
pub struct Fleet {
    app: App,
}

impl Fleet {
    /// For this server.
    pub const fn new(app: App) -> Self {
        Self { app }
    }

    /// How much of a track is durable here, as an object or as an upload.
    async fn durable_len(&self, key: ObjectKey) -> Result<u64, Status> {
        let upload = self.app.partials().upload(key).await;
        if let Some(len) = self.app.objects().len(key).await.map_err(store_status)? {
            return Ok(len);
        }
        run(move || upload.durable_len()).await
    }

    /// The unit's own clip with its manifest.
    async fn own_clip(&self, unit: &Unit, id: &[u8]) -> Result<(StoredClip, Manifest), Status> {
        let id = ClipId::from_slice(id).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let unknown =
            || Status::failed_precondition("the clip was not begun: call BeginClip first");
        let clip = self.app.db().clip(id).await.map_err(internal)?.ok_or_else(unknown)?;
        // The same answer as for a clip that is not there: another unit's clips are not its business.
        if clip.unit != unit.id {
            return Err(unknown());
        }
        let manifest = clip.manifest().map_err(internal)?;
        Ok((clip, manifest))
    }

    /// Checks a track and makes it an object, where it is not one yet.
    async fn finish_track(&self, clip: ClipId, track: &Track) -> Result<(), Status> {
        let key = ObjectKey { clip, track: track.name };
        let upload = self.app.partials().upload(key).await;
        // Only what was verified becomes an object, so that one of the right length is it.
        let stored = self.app.objects().len(key).await.map_err(store_status)?;
        if stored == Some(track.sealed_len) {
            return run(move || upload.discard()).await;
        }
        let wanted = Sum { len: track.sealed_len, sha256: track.sealed_sha256 };
        let (upload, sum) = run(move || upload.sum().map(|sum| (upload, sum))).await?;
        if sum.len < wanted.len {
            return Err(Status::failed_precondition(format!(
                "track `{}` has {} of {} bytes: send the rest first",
                track.name.as_str(),
                sum.len,
                wanted.len
            )));
        }
        if sum != wanted {
            run(move || upload.discard()).await?;
            return Err(Status::data_loss(format!(
                "track `{}` is not what its manifest says and was thrown away: send it again",
                track.name.as_str()
            )));
        }
        self.app.objects().put_file(key, upload.path()).await.map_err(store_status)
    }
}

/// Runs work on files beside the async threads.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, Status> {
    blocking(work).await.map_err(internal)?.map_err(store_status)
}

/// What a unit is told about its upload.
fn store_status(error: ObjectError) -> Status {
    match &error {
        ObjectError::Offset { durable_len, .. } => Status::out_of_range(format!(
            "the track stands at {durable_len} bytes here: ask BeginClip and go on there"
        )),
        ObjectError::TooLong { .. } => Status::invalid_argument(error.to_string()),
        ObjectError::Missing(_)
        | ObjectError::File { .. }
        | ObjectError::Store { .. }
        | ObjectError::Config(_) => {
            tracing::error!(error = %chain(&error), "an upload could not be stored");
            if error.is_out_of_space() {
                Status::resource_exhausted(
                    "the server's disk is full; keep the clip and try again later",
                )
            } else {
                Status::unavailable("the server could not store this; try again later")
            }
        }
    }
}

fn bad(error: impl ToString) -> Status {
    Status::invalid_argument(error.to_string())
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn report_event(
        &self,
        request: Request<ReportEventRequest>,
    ) -> Result<Response<ReportEventResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let event = request.into_inner().event.ok_or_else(|| bad("field `event` is missing"))?;
        let event = EventRecord::try_from(event).map_err(bad)?;
        let reported = self
            .app
            .db()
            .report_event(&unit.id, &event, self.app.now_ms())
            .await
            .map_err(internal)?;
        match reported {
            Reported::New => {
                self.app.report().tell(&Happening::Event(event.id, event.kind, unit.id));
            }
            Reported::Known => {}
            Reported::OfAnotherUnit => {
                return Err(Status::already_exists("another unit has an event with this id"));
            }
        }
        Ok(Response::new(ReportEventResponse {}))
    }

    async fn report_lost_clip(
        &self,
        request: Request<ReportLostClipRequest>,
    ) -> Result<Response<ReportLostClipResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let ReportLostClipRequest { clip_id, reason } = request.into_inner();
        let clip = ClipId::from_slice(&clip_id).map_err(bad)?;
        let reason = shortened(&reason);
        if reason.is_empty() {
            return Err(bad("field `reason` is missing"));
        }
        if !self.app.db().lose_clip(&unit.id, clip, &reason).await.map_err(internal)? {
            return Err(Status::failed_precondition("no event of this unit names the clip"));
        }
        // What came of it is of no use any more; a complete clip has no uploads.
        for track in TrackName::ALL {
            let upload = self.app.partials().upload(ObjectKey { clip, track }).await;
            run(move || upload.discard()).await?;
        }
        Ok(Response::new(ReportLostClipResponse {}))
    }

    async fn begin_clip(
        &self,
        request: Request<BeginClipRequest>,
    ) -> Result<Response<BeginClipResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let signed =
            request.into_inner().manifest.ok_or_else(|| bad("field `manifest` is missing"))?;
        let manifest = Manifest::verify(&signed, &unit.signing_public_key).map_err(bad)?;
        if manifest.unit != unit.id {
            return Err(Status::permission_denied("the manifest is of another unit"));
        }
        let db = self.app.db();
        let event = db.event(manifest.event).await.map_err(internal)?;
        let event = event
            .filter(|event| event.unit == unit.id)
            .ok_or_else(|| Status::failed_precondition("report the clip's event first"))?;
        if event.record.clip != Ok(manifest.clip) {
            return Err(Status::failed_precondition(
                "the event was reported with another clip or none: report it again",
            ));
        }
        // Deleted here: the unit may forget it, and nothing of it comes back.
        if db.clip_is_deleted(manifest.clip).await.map_err(internal)? {
            let whole = |t: &Track| TrackOffset {
                name: t.name.as_str().to_owned(),
                durable_len: t.sealed_len,
            };
            let offsets = manifest.tracks.iter().map(whole).collect();
            return Ok(Response::new(BeginClipResponse { offsets, complete: true }));
        }
        let fingerprints = readable(&manifest);
        db.begin_clip(
            &manifest,
            &signed,
            &unit.signing_public_key,
            &fingerprints,
            self.app.now_ms(),
        )
        .await
        .map_err(internal)?;
        let (clip, known) = self.own_clip(&unit, manifest.clip.as_bytes()).await?;
        if known != manifest {
            return Err(Status::already_exists("the clip was begun with another manifest"));
        }
        let mut offsets = Vec::with_capacity(manifest.tracks.len());
        for track in &manifest.tracks {
            let key = ObjectKey { clip: manifest.clip, track: track.name };
            let durable_len =
                if clip.complete { track.sealed_len } else { self.durable_len(key).await? };
            offsets.push(TrackOffset { name: track.name.as_str().to_owned(), durable_len });
        }
        Ok(Response::new(BeginClipResponse { offsets, complete: clip.complete }))
    }

    async fn upload_track(
        &self,
        request: Request<Streaming<UploadTrackRequest>>,
    ) -> Result<Response<UploadTrackResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| bad("the upload is empty"))?;
        let (clip, manifest) = self.own_clip(&unit, &first.clip_id).await?;
        let track = TrackName::from_name(&first.track)
            .and_then(|name| manifest.track(name))
            .ok_or_else(|| bad(format!("the clip has no track `{}`", first.track)))?;
        let key = ObjectKey { clip: manifest.clip, track: track.name };
        let (offset, limit) = (first.offset, track.sealed_len);
        let upload = self.app.partials().upload(key).await;
        let whole =
            clip.complete || self.app.objects().len(key).await.map_err(store_status)?.is_some();
        if whole {
            return Err(Status::out_of_range("the track is here already: ask BeginClip"));
        }
        // The disk is written on a thread of its own; the queue bounds what waits for it.
        let mut wanted = upload.wanted();
        let (to_disk, mut queue) = mpsc::channel::<bytes::Bytes>(UPLOAD_QUEUE);
        let writer = tokio::task::spawn_blocking(move || {
            let mut upload = upload.append_at(offset, limit)?;
            while let Some(data) = queue.blocking_recv() {
                upload.write(&data)?;
            }
            upload.finish()
        });
        let mut broken = None;
        let mut message = Some(first);
        while let Some(UploadTrackRequest { data, .. }) = message {
            if data.len() > MAX_DATA {
                broken = Some(bad(format!("a message has at most {MAX_DATA} bytes of data")));
                break;
            }
            // Fails only where the writer has given up; it says why below.
            if to_disk.send(data).await.is_err() {
                break;
            }
            let next = tokio::select! {
                next = messages.message() => next,
                () = wanted.wait() => Err(Status::aborted("the unit began again elsewhere")),
            };
            message = match next {
                Ok(message) => message,
                Err(status) => {
                    broken = Some(status);
                    break;
                }
            };
        }
        drop(to_disk);
        let durable_len = writer.await.map_err(internal)?.map_err(store_status)?;
        match broken {
            Some(status) => Err(status),
            None => Ok(Response::new(UploadTrackResponse { durable_len })),
        }
    }

    async fn finish_clip(
        &self,
        request: Request<FinishClipRequest>,
    ) -> Result<Response<FinishClipResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let (clip, manifest) = self.own_clip(&unit, &request.into_inner().clip_id).await?;
        if clip.complete {
            return Ok(Response::new(FinishClipResponse {}));
        }
        for track in &manifest.tracks {
            self.finish_track(manifest.clip, track).await?;
        }
        let now_ms = self.app.now_ms();
        if self.app.db().complete_clip(manifest.clip, now_ms).await.map_err(internal)? {
            self.app.report().tell(&Happening::Clip(manifest.clip, manifest.event, unit.id));
        }
        Ok(Response::new(FinishClipResponse {}))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        let unit = caller(&self.app, &request).await?;
        let beat = request.into_inner();
        let now_ms = self.app.now_ms();
        let db = self.app.db();
        let results = beat.results.clone();
        let driven = marks(&beat.driven)?;
        let facts = heartbeat_facts(beat, now_ms)?;
        let faulty: Vec<_> =
            facts.health.iter().filter(|h| h.state != "ok").map(|h| h.part.as_str()).collect();
        // Never heard of before: the fault may be as old as the unit.
        let heard_ms = unit.last_heartbeat_ms.unwrap_or(0);
        db.note_faults(&unit.id, &faulty, heard_ms, now_ms).await.map_err(internal)?;
        db.add_driven(&unit.id, &driven, now_ms).await.map_err(internal)?;
        db.heartbeat(&unit.id, &facts, now_ms).await.map_err(internal)?;
        for result in results.iter().take(MAX_HEALTH) {
            let id = CommandId::from_slice(&result.command_id).map_err(bad)?;
            let text = shortened(&result.text);
            db.command_result(&unit.id, id, result.done, &text, now_ms).await.map_err(internal)?;
        }
        Ok(Response::new(HeartbeatResponse {
            server_unix_ms: self.app.now_ms(),
            commands: db.open_commands(&unit.id).await.map_err(internal)?,
            // Without it the unit goes on with the key that it has.
            fleet_key: self.app.keys().public().await.ok(),
        }))
    }
}

/// The fingerprints that can be searched, at most one for each camera. A clip is kept without them too:
/// then a leak of it is not found by itself.
fn readable(manifest: &Manifest) -> Vec<(TrackName, bytes::Bytes)> {
    let mut found: Vec<(TrackName, bytes::Bytes)> = Vec::new();
    for bytes in &manifest.fingerprints {
        match Fingerprint::from_bytes(bytes) {
            Ok(fingerprint) if found.iter().all(|(track, _)| *track != fingerprint.track) => {
                found.push((fingerprint.track, bytes.clone()));
            }
            Ok(_) => tracing::warn!(clip = %manifest.clip, "a second fingerprint of one camera"),
            Err(error) => {
                tracing::warn!(clip = %manifest.clip, %error, "a fingerprint is not kept")
            }
        }
    }
    found
}

fn heartbeat_facts(beat: HeartbeatRequest, now_ms: i64) -> Result<HeartbeatFacts, Status> {
    if !["off", "ai_without_recording", "recording"].contains(&beat.privacy_state.as_str()) {
        return Err(bad(format!("`{}` is no privacy state", shortened(&beat.privacy_state))));
    }
    let health = beat
        .health
        .into_iter()
        .take(MAX_HEALTH)
        .map(|item| {
            if !["ok", "degraded", "failed"].contains(&item.state.as_str()) {
                return Err(bad(format!("`{}` is no state of health", shortened(&item.state))));
            }
            Ok(Health {
                part: shortened(&item.part),
                state: item.state,
                text: shortened(&item.text),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HeartbeatFacts {
        agent_version: shortened(&beat.agent_version),
        clock_error_ms: beat.unit_unix_ms.saturating_sub(now_ms),
        privacy_state: beat.privacy_state,
        spool_clips: beat.spool_clips,
        spool_bytes: beat.spool_bytes,
        health,
    })
}

fn marks(driven: &[DistanceMark]) -> Result<Vec<Mark>, Status> {
    if driven.len() > MAX_MARKS {
        return Err(bad(format!("at most {MAX_MARKS} marks of the distance at once")));
    }
    driven.iter().map(|mark| Mark::try_from(mark).map_err(bad)).collect()
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
#[path = "ingest_tests.rs"]
mod tests;
