//! The uploader's edge: carries out what [`temoin_agent_core::upload_plan`] decides, and keeps the
//! heartbeat with the fleet server.
//!
//! INVARIANT: 'durable' is said only by the server's own answer. Every refusal is mapped to an
//! [`UploadError`], and none of them is a success.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use bytes::Bytes;
use temoin_agent_core::{
    config::UploadConfig,
    spool_plan::{Lost, LostReason},
    upload_plan::{Action, Answer, Next, UploadError, Uploader},
};
use temoin_hw::{
    Clock,
    clock::{SystemClock, system_unix_ms},
};
use temoin_proto::{
    ids::{ClipId, CommandId, EventId},
    wire::{self, fleet_service_client::FleetServiceClient},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    time::Instant,
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    capture::{Captured, Order},
    durable::FileError,
    health::{HealthBoard, State},
    identity::{FleetKey, Identity},
    journal::{self, Entry},
    net::Connector,
    odometer::{Driven, Odometer},
    pipeline::OrderResult,
    spool::{Queued, Spool, SpoolError},
    trusted_time::TrustedTime,
};

/// Longest sleep with nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// How long the server may take for one answer: it fsyncs before it answers.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Longest message of an upload; the wire allows 256 KiB.
const MESSAGE_BYTES: usize = 128 << 10;

/// What the uploader works with.
pub struct Upload {
    /// Who the unit is.
    pub identity: Arc<Identity>,
    /// The connection's maker.
    pub connector: Connector,
    /// The time of day.
    pub time: Arc<TrustedTime>,
    /// What is to be uploaded.
    pub spool: Arc<Spool>,
    /// Device health.
    pub health: Arc<HealthBoard>,
    /// How often health is told and orders are taken.
    pub heartbeat: Duration,
    /// Where the fleet's orders go.
    pub orders: SyncSender<Captured>,
    /// Whether anything is recorded, for the heartbeat.
    pub privacy: watch::Receiver<&'static str>,
    /// How far this run drove.
    pub driven: watch::Receiver<Driven>,
    /// What of that, and of earlier runs, the server has not confirmed.
    pub odometer: Odometer,
    /// Tells whether everything was settled and no more will come.
    pub settled: watch::Sender<bool>,
}

impl Upload {
    /// Runs until its task is dropped. `queue` begins with what the spool held at start.
    pub async fn run(
        mut self,
        config: UploadConfig,
        at_start: Vec<Queued>,
        mut queue: UnboundedReceiver<Queued>,
        mut results: UnboundedReceiver<OrderResult>,
    ) {
        let mut plan = Uploader::new(config);
        for queued in at_start {
            add(&mut plan, queued);
        }
        let mut link = Link { client: None };
        let mut done: Vec<wire::CommandResult> = Vec::new();
        let mut given: Vec<CommandId> = Vec::new();
        let mut beat_at = Instant::now();
        // Until the sealing thread ends, more may come.
        let (mut sealing, mut driving) = (true, true);
        // Whether a heartbeat was tried after the drive's end.
        let mut told = false;
        loop {
            while let Ok(queued) = queue.try_recv() {
                add(&mut plan, queued);
            }
            while let Ok(result) = results.try_recv() {
                done.push(command_result(&result));
                beat_at = Instant::now();
            }
            if Instant::now() >= beat_at {
                beat_at = Instant::now() + self.heartbeat;
                told = !driving;
                let reached = self.beat(&mut link, &mut done, &mut given).await;
                if reached {
                    plan.resume();
                }
            }
            let next = plan.next(SystemClock.now());
            self.settled.send_replace(told && !sealing && queue.is_empty() && is_settled(&plan));
            let wait = match next {
                Next::Do(action) => {
                    let answer = self.carry_out(&mut link, action).await;
                    if let Answer::Failed(e) = answer {
                        self.failed(&mut link, action, e);
                    }
                    plan.on_answer(SystemClock.now(), answer, jitter());
                    continue;
                }
                Next::Busy | Next::Idle => IDLE,
                Next::WaitUntil(at) => at.since(SystemClock.now()),
                Next::Stopped(e) => {
                    self.health.set("upload", State::Failed, e.to_string());
                    IDLE
                }
            };
            let wake = (Instant::now() + wait).min(beat_at);
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                queued = queue.recv(), if sealing => match queued {
                    Some(queued) => add(&mut plan, queued),
                    None => sealing = false,
                },
                Ok(()) = self.privacy.changed() => beat_at = Instant::now(),
                result = results.recv(), if driving => match result {
                    Some(result) => {
                        done.push(command_result(&result));
                        beat_at = Instant::now();
                    }
                    // The drive is over: its last metres are told at once.
                    None => {
                        driving = false;
                        beat_at = Instant::now();
                    }
                },
            }
        }
    }

    fn failed(&self, link: &mut Link, action: Action, error: UploadError) {
        // A connection that failed once is made anew.
        if matches!(error, UploadError::Unreachable | UploadError::Timeout) {
            link.client = None;
        }
        tracing::debug!(?action, "upload: {error}");
        let state = if error.is_retryable() { State::Degraded } else { State::Failed };
        self.health.set("upload", state, error.to_string());
    }

    async fn client<'l>(
        &self,
        link: &'l mut Link,
    ) -> Result<&'l mut FleetServiceClient<Channel>, UploadError> {
        if link.client.is_none() {
            match self.connector.connect().await {
                Ok(channel) => {
                    self.health.set("upload", State::Ok, "the server is connected");
                    link.client = Some(FleetServiceClient::new(channel));
                }
                Err(e) => {
                    self.health.set("upload", State::Degraded, e.to_string());
                    return Err(UploadError::Unreachable);
                }
            }
        }
        link.client.as_mut().ok_or(UploadError::Unreachable)
    }

    async fn carry_out(&self, link: &mut Link, action: Action) -> Answer {
        let result = match action {
            Action::ReportEvent(event) => self.report_event(link, event).await,
            Action::ReportLost(lost) => self.report_lost(link, lost).await,
            Action::AskStatus(clip) => self.ask_status(link, clip).await,
            Action::SendChunk { clip, offset, len } => self.send(link, clip, offset, len).await,
            Action::DeleteClip(clip) => self.delete_clip(clip),
            Action::GiveUp(clip) => self.give_up(clip),
            Action::DeleteEvent(event) => {
                disk(self.spool.discard_event(event)).map(|()| Answer::Deleted)
            }
        };
        result.unwrap_or_else(Answer::Failed)
    }

    async fn report_event(&self, link: &mut Link, event: EventId) -> Result<Answer, UploadError> {
        let record = self.spool.event(event).ok_or(UploadError::Disk)?;
        let request = wire::ReportEventRequest { event: Some((&record).into()) };
        call(self.client(link).await?.report_event(request)).await?;
        Ok(Answer::Durable)
    }

    async fn report_lost(&self, link: &mut Link, lost: Lost) -> Result<Answer, UploadError> {
        let request = wire::ReportLostClipRequest {
            clip_id: Bytes::copy_from_slice(lost.clip.as_bytes()),
            reason: lost.reason.as_str().to_owned(),
        };
        call(self.client(link).await?.report_lost_clip(request)).await?;
        disk(self.spool.settle_clip(lost.clip))?;
        Ok(Answer::Durable)
    }

    async fn ask_status(&self, link: &mut Link, clip: ClipId) -> Result<Answer, UploadError> {
        let manifest = disk(self.spool.manifest(clip))?;
        let tracks = disk(self.spool.tracks(clip))?;
        let total: u64 = tracks.iter().map(|t| t.len).sum();
        let client = self.client(link).await?;
        let begun =
            call(client.begin_clip(wire::BeginClipRequest { manifest: Some(manifest) })).await?;
        if begun.complete {
            return Ok(Answer::Status { have_bytes: total, durable: true });
        }
        // One length for the whole clip: tracks go up in the manifest's order.
        let mut have_bytes = 0;
        for track in &tracks {
            let durable = begun
                .offsets
                .iter()
                .find(|o| o.name == track.name.as_str())
                .map_or(0, |o| o.durable_len.min(track.len));
            have_bytes += durable;
            if durable < track.len {
                return Ok(Answer::Status { have_bytes, durable: false });
            }
        }
        let request = wire::FinishClipRequest { clip_id: Bytes::copy_from_slice(clip.as_bytes()) };
        call(client.finish_clip(request)).await?;
        Ok(Answer::Status { have_bytes: total, durable: true })
    }

    async fn send(
        &self,
        link: &mut Link,
        clip: ClipId,
        offset: u64,
        len: u64,
    ) -> Result<Answer, UploadError> {
        let mut before = 0;
        let tracks = disk(self.spool.tracks(clip))?;
        let track = tracks
            .iter()
            .find(|t| {
                let within = offset < before + t.len;
                if !within {
                    before += t.len;
                }
                within
            })
            .ok_or(UploadError::OffsetMismatch)?;
        let in_track = offset - before;
        let len = usize::try_from(len.min(track.len - in_track)).map_err(|_| UploadError::Disk)?;
        let mut data = disk(self.spool.read_track(clip, track.name, in_track, len))?;
        let mut messages = Vec::new();
        while !data.is_empty() || messages.is_empty() {
            let piece = data.split_to(data.len().min(MESSAGE_BYTES));
            messages.push(wire::UploadTrackRequest { data: piece, ..Default::default() });
        }
        if let Some(first) = messages.first_mut() {
            first.clip_id = Bytes::copy_from_slice(clip.as_bytes());
            track.name.as_str().clone_into(&mut first.track);
            first.offset = in_track;
        }
        let client = self.client(link).await?;
        let sent = call(client.upload_track(tokio_stream::iter(messages))).await?;
        if sent.durable_len > track.len {
            return Err(UploadError::OffsetMismatch);
        }
        Ok(Answer::Status { have_bytes: before + sent.durable_len, durable: false })
    }

    fn delete_clip(&self, clip: ClipId) -> Result<Answer, UploadError> {
        disk(self.spool.settle_clip(clip))?;
        disk(self.spool.discard_clip(clip))?;
        journal::write(&Entry::Uploaded { clip });
        self.health.set("upload", State::Ok, "clips arrive at the server");
        Ok(Answer::Deleted)
    }

    /// The disk does not give the clip back: that is recorded, and what is left of it removed.
    fn give_up(&self, clip: ClipId) -> Result<Answer, UploadError> {
        disk(self.spool.record_lost(Lost { clip, reason: LostReason::Unreadable }))?;
        if let Err(e) = self.spool.discard_clip(clip) {
            tracing::warn!(%clip, "what is left of it stays: {e}");
        }
        self.health.set(
            "spool",
            State::Failed,
            format!(
                "clip {clip} cannot be read back and is lost: the disk may be worn out, replace it"
            ),
        );
        Ok(Answer::Durable)
    }

    /// Tells health, takes orders. True where the server answered.
    async fn beat(
        &mut self,
        link: &mut Link,
        done: &mut Vec<wire::CommandResult>,
        given: &mut Vec<CommandId>,
    ) -> bool {
        let (clips, bytes) = self.spool.usage();
        let driven = *self.driven.borrow();
        let marks: Vec<wire::DistanceMark> =
            self.odometer.to_send(driven).iter().map(Into::into).collect();
        let sent = marks.len();
        let request = wire::HeartbeatRequest {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            unit_unix_ms: system_unix_ms(),
            privacy_state: (*self.privacy.borrow()).to_owned(),
            spool_clips: u32::try_from(clips).unwrap_or(u32::MAX),
            spool_bytes: bytes,
            health: self.health.items(),
            results: done.clone(),
            driven: marks,
        };
        let client = match self.client(link).await {
            Ok(client) => client,
            Err(_) => {
                self.kept(Odometer::failed);
                return false;
            }
        };
        let asked = Instant::now();
        let response = match call(client.heartbeat(request)).await {
            Ok(response) => response,
            Err(e) => {
                self.kept(Odometer::failed);
                link.client = None;
                let state = if e.is_retryable() { State::Degraded } else { State::Failed };
                self.health.set("upload", state, format!("heartbeat: {e}"));
                return false;
            }
        };
        done.clear();
        self.kept(|odometer| odometer.answered(sent));
        self.take_time(response.server_unix_ms, asked.elapsed());
        if let Some(key) = response.fleet_key {
            let key = FleetKey { key_id: key.key_id, public: key.x25519_public_key.into() };
            if let Err(e) = self.identity.change_sealing_key(key) {
                self.health.set("identity", State::Failed, e.to_string());
            }
        }
        for command in response.commands {
            self.take_order(&command, given, done);
        }
        true
    }

    /// Changes what waits of the distance; a disk that refuses shows in health.
    fn kept(&mut self, change: impl FnOnce(&mut Odometer) -> Result<(), FileError>) {
        if let Err(e) = change(&mut self.odometer) {
            self.health.set("spool", State::Degraded, e.to_string());
        }
    }

    fn take_time(&self, server_unix_ms: i64, round_trip: Duration) {
        let behind_s = match self.time.told(server_unix_ms, round_trip) {
            Ok(offset_ms) => offset_ms / 1000,
            Err(e) => {
                self.health.set("clock", State::Degraded, e.to_string());
                return;
            }
        };
        if behind_s.abs() > 120 {
            let text = format!(
                "the unit's clock is {} s {} the server's, whose time is used: check its battery",
                behind_s.abs(),
                if behind_s > 0 { "behind" } else { "ahead of" }
            );
            self.health.set("clock", State::Degraded, text);
        } else {
            self.health.set("clock", State::Ok, "agrees with the server");
        }
    }

    fn take_order(
        &self,
        command: &wire::Command,
        given: &mut Vec<CommandId>,
        done: &mut Vec<wire::CommandResult>,
    ) {
        let Ok(id) = CommandId::from_slice(&command.command_id) else { return };
        // The server repeats an order until its result arrived; it is carried out once.
        if given.contains(&id) {
            return;
        }
        given.push(id);
        let order = match &command.order {
            Some(wire::command::Order::Identify(_)) => Ok(Order::Identify),
            Some(wire::command::Order::SetPrivacy(p)) => match p.state.as_str() {
                "recording" => Ok(Order::Record(true)),
                "ai_without_recording" => Ok(Order::Record(false)),
                other => Err(format!("`{other}` is no privacy state")),
            },
            Some(wire::command::Order::SetSpeedLimit(l)) => Ok(Order::SpeedLimit(l.limit_kmh)),
            None => Err("this agent does not know that order: update it".to_owned()),
        };
        let refused = match order {
            Ok(order) => match self.orders.try_send(Captured::Order(id, order)) {
                Ok(()) => return,
                Err(_) => {
                    // The pipeline is busy or ended: the server gives the order again.
                    given.retain(|g| *g != id);
                    return;
                }
            },
            Err(text) => text,
        };
        done.push(command_result(&(id, Err(refused))));
    }
}

struct Link {
    client: Option<FleetServiceClient<Channel>>,
}

fn add(plan: &mut Uploader, queued: Queued) {
    match queued {
        Queued::Event { event, rank, clip, clip_done } => {
            plan.add_event(event, rank, clip, clip_done)
        }
        Queued::Clip { clip, bytes, rank } => plan.add_clip(clip, bytes, rank),
        Queued::Lost(lost) => plan.add_lost(lost),
    }
}

/// Whether everything is in the server, but for what it refuses for good.
fn is_settled(plan: &Uploader) -> bool {
    let (backlog, aside) = (plan.backlog(), plan.set_aside());
    backlog.0 <= aside.0 && backlog.1 <= aside.1
}

fn command_result((id, result): &OrderResult) -> wire::CommandResult {
    wire::CommandResult {
        command_id: Bytes::copy_from_slice(id.as_bytes()),
        done: result.is_ok(),
        text: result.as_ref().err().cloned().unwrap_or_default(),
    }
}

fn disk<T>(result: Result<T, SpoolError>) -> Result<T, UploadError> {
    result.map_err(|e| {
        tracing::error!("spool: {e}");
        UploadError::Disk
    })
}

async fn call<T>(
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, UploadError> {
    match tokio::time::timeout(CALL_LIMIT, answer).await {
        Err(_) => Err(UploadError::Timeout),
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => {
            tracing::debug!(code = ?status.code(), "the server says: {}", status.message());
            Err(refusal(status.code()))
        }
    }
}

/// What a gRPC status means for the upload.
const fn refusal(code: Code) -> UploadError {
    match code {
        // `Ok` as an error is a server that breaks the protocol: never a success.
        Code::Ok | Code::Unknown | Code::Internal | Code::Cancelled => UploadError::Internal,
        Code::DeadlineExceeded => UploadError::Timeout,
        // A server that restarts, and an event that it does not know yet, come right by themselves.
        Code::Unavailable | Code::Aborted | Code::FailedPrecondition => UploadError::Unavailable,
        Code::ResourceExhausted => UploadError::ResourceExhausted,
        Code::OutOfRange => UploadError::OffsetMismatch,
        Code::DataLoss => UploadError::Corrupt,
        Code::Unauthenticated => UploadError::Unauthenticated,
        Code::PermissionDenied => UploadError::PermissionDenied,
        Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::Unimplemented => {
            UploadError::Rejected
        }
    }
}

/// Spreads the waits of many units: 0 to 1.
fn jitter() -> f64 {
    let mut byte = [0_u8; 2];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut byte) {
        Ok(()) => f64::from(u16::from_le_bytes(byte)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refusal_is_a_success_and_each_has_its_reaction() {
        for (code, error) in [
            (Code::Ok, UploadError::Internal),
            (Code::PermissionDenied, UploadError::PermissionDenied),
            (Code::Unauthenticated, UploadError::Unauthenticated),
            (Code::OutOfRange, UploadError::OffsetMismatch),
            (Code::InvalidArgument, UploadError::Rejected),
            (Code::Unavailable, UploadError::Unavailable),
        ] {
            assert_eq!(refusal(code), error);
        }
        assert!(!refusal(Code::PermissionDenied).is_retryable());
    }
}
