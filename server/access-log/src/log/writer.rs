//! The one writer: takes what waits, commits it and answers; and the publisher, which replaces the
//! head on disk behind it. The order of the writes, and what a crash leaves of them, is at the head of
//! [`super`]. The writer alone writes entries, the publisher alone all else.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{LogError, Shared, recovery};
use crate::{checkpoint::LogKey, files::FileError, record::Record};

/// Entries in one commit from which on no further caller is taken into it.
const MAX_BATCH: usize = 512;

/// Entries that belong together, and who waits for the number of the first.
pub(super) struct Job {
    pub(super) records: Vec<Record>,
    pub(super) reply: SyncSender<Result<u64, LogError>>,
}

impl Shared {
    /// Does it, unless something failed before; if it fails, nothing more is done.
    fn unless_poisoned<T>(
        &self,
        work: impl FnOnce() -> Result<T, LogError>,
    ) -> Result<T, Arc<str>> {
        match self.poison.get() {
            Some(reason) => Err(Arc::clone(reason)),
            None => {
                work().map_err(|e| Arc::clone(self.poison.get_or_init(|| Arc::from(e.to_string()))))
            }
        }
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    key: LogKey,
    /// Length of the entries file.
    end: u64,
    publish: Publish,
}

/// When the head on disk is replaced.
enum Publish {
    /// Before each answer.
    AtOnce(Publisher),
    /// By a thread that is told that there is a new one.
    Behind { new: SyncSender<()>, thread: JoinHandle<()> },
}

impl Writer {
    /// The writer of a log as recovery leaves it: published, and all chunks written down.
    pub(super) fn new(
        shared: Arc<Shared>,
        key: LogKey,
        end: u64,
        publish_after: Duration,
    ) -> Result<Self, FileError> {
        let saved = shared.read().tree.whole_chunks();
        let publisher = Publisher { shared: Arc::clone(&shared), saved };
        let publish = if publish_after.is_zero() {
            Publish::AtOnce(publisher)
        } else {
            let (new, news) = mpsc::sync_channel(1);
            let thread = thread::Builder::new()
                .name("access-log-head".to_owned())
                .spawn(move || publisher.run(&news, publish_after))
                .map_err(|e| FileError::new("start the publisher of", shared.files.folder(), e))?;
            Publish::Behind { new, thread }
        };
        Ok(Self { shared, key, end, publish })
    }

    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            self.take(first, queue);
        }
        if let Publish::Behind { new, thread } = self.publish {
            drop(new);
            // One that panicked leaves the head on disk as it was, which is right too.
            drop(thread.join());
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
        let shared = Arc::clone(&self.shared);
        let done = shared.unless_poisoned(|| {
            let first = self.commit(&batch)?;
            match &mut self.publish {
                Publish::AtOnce(publisher) => publisher.publish()?,
                // A full channel says the same already.
                Publish::Behind { new, .. } => drop(new.try_send(())),
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
        Ok(first)
    }
}

struct Publisher {
    shared: Arc<Shared>,
    /// How many chunks are written down in the chunks file.
    saved: u64,
}

impl Publisher {
    /// Publishes this long after the first news of a new head, and when there is no more.
    fn run(mut self, news: &Receiver<()>, after: Duration) {
        let shared = Arc::clone(&self.shared);
        while news.recv().is_ok() {
            let due = Instant::now() + after;
            while news.recv_timeout(due.saturating_duration_since(Instant::now())).is_ok() {}
            drop(shared.unless_poisoned(|| self.publish()));
        }
    }

    /// Writes down the chunks that became whole, and replaces the head on disk.
    fn publish(&mut self) -> Result<(), LogError> {
        let files = self.shared.files.as_ref();
        let (head, chunks) = {
            let committed = self.shared.read();
            (committed.checkpoint.clone(), committed.saved_from(self.saved))
        };
        self.saved = recovery::save_chunks(files, self.saved, &chunks)?;
        Ok(recovery::publish(files, &head)?)
    }
}
