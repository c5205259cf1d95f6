//! The one writer: takes what waits, commits it, answers, and publishes the head now and then. The
//! order of its writes, and what a crash leaves of them, is at the head of [`super`].

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Duration, Instant},
};

use super::{LogError, Shared, recovery};
use crate::{checkpoint::LogKey, record::Record};

/// Entries in one commit from which on no further caller is taken into it.
const MAX_BATCH: usize = 512;

/// Entries that belong together, and who waits for the number of the first.
pub(super) struct Job {
    pub(super) records: Vec<Record>,
    pub(super) reply: SyncSender<Result<u64, LogError>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    key: LogKey,
    /// Length of the entries file.
    end: u64,
    /// How many chunks are written down in the chunks file.
    saved: u64,
    publish_after: Duration,
    /// When the head must be published; none where it is.
    publish_at: Option<Instant>,
}

impl Writer {
    /// The writer of a log as recovery leaves it: published, and all chunks written down.
    pub(super) fn new(shared: Arc<Shared>, key: LogKey, end: u64, publish_after: Duration) -> Self {
        let saved = shared.read().tree.whole_chunks();
        Self { shared, key, end, saved, publish_after, publish_at: None }
    }

    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let next = match self.publish_at {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(first) => self.take(first, queue),
                Err(RecvTimeoutError::Timeout) => drop(self.unless_poisoned(Self::publish)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.publish_at.is_some() {
            drop(self.unless_poisoned(Self::publish));
        }
    }

    /// Commits this job and those that wait behind it, and answers.
    fn take(&mut self, first: Job, queue: &Receiver<Job>) {
        let mut count = first.records.len();
        let mut batch = vec![first];
        while count < MAX_BATCH
            && let Ok(job) = queue.try_recv()
        {
            count += job.records.len();
            batch.push(job);
        }
        let done = self.unless_poisoned(|writer| {
            let first = writer.commit(&batch)?;
            if writer.publish_at.is_some_and(|at| at <= Instant::now()) {
                writer.publish()?;
            }
            Ok(first)
        });
        let mut next = done.as_ref().copied().unwrap_or_default();
        for Job { records, reply } in batch {
            let answer = match &done {
                Ok(_) => Ok(next),
                Err(reason) => Err(LogError::Poisoned(Arc::clone(reason))),
            };
            next += records.len() as u64;
            // The caller waits as long as the channel lives, so this does not fail.
            drop(reply.send(answer));
        }
    }

    /// Does it, unless something failed before; if it fails, nothing more is done.
    fn unless_poisoned<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, Arc<str>> {
        if let Some(reason) = self.shared.poison.get() {
            return Err(Arc::clone(reason));
        }
        work(self).map_err(|e| {
            self.publish_at = None;
            Arc::clone(self.shared.poison.get_or_init(|| Arc::from(e.to_string())))
        })
    }

    /// Makes all of them durable and returns the number of the first.
    fn commit(&mut self, batch: &[Job]) -> Result<u64, LogError> {
        let files = self.shared.files.as_ref();
        let first = self.shared.read().tree.size();
        let records = || batch.iter().flat_map(|job| &job.records);
        let mut bytes = Vec::new();
        for (record, index) in records().zip(first..) {
            record.write_to(&mut bytes).map_err(|e| self.shared.damaged(index, e))?;
        }
        files.write_entries(self.end, &bytes)?;
        files.sync_entries()?;

        let (size, root) = {
            let mut committed = self.shared.write();
            for record in records() {
                self.end += record.stored_len();
                if committed.tree.push(record.hash)? {
                    committed.ends.push(self.end);
                }
            }
            (committed.tree.size(), committed.tree.root()?)
        };
        let head = self
            .key
            .sign(size, root)
            .map_err(|source| LogError::Checkpoint { folder: files.folder().to_owned(), source })?;
        self.shared.write().checkpoint = head;
        self.publish_at.get_or_insert_with(|| Instant::now() + self.publish_after);
        Ok(first)
    }

    /// Writes down the chunks that became whole, and replaces the head on disk.
    fn publish(&mut self) -> Result<(), LogError> {
        let files = self.shared.files.as_ref();
        let (head, chunks) = {
            let committed = self.shared.read();
            (committed.checkpoint.clone(), committed.saved_from(self.saved))
        };
        self.saved = recovery::save_chunks(files, self.saved, &chunks)?;
        recovery::publish(files, &head)?;
        self.publish_at = None;
        Ok(())
    }
}
