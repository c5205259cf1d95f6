//! The witnesses of the access log: they are shown each new head, and without their word nobody is
//! shown a recording.
//!
//! Every few seconds the newest head goes to all witnesses with a proof that the log only grew, and
//! what they put under it is kept beside the log's own head (`access-log/cosigned`): written beside,
//! synced, renamed, the folder synced. What a crash leaves: the one before, or the new one, each whole.
//!
//! INVARIANT: where witnesses are configured, [`Witnesses::check`] says yes only while a head was
//! cosigned by as many of them as the configuration wants, within the time that it sets, and as long
//! as none of these says that this log is not the one that it cosigned before. It is asked before each
//! view and each stream.

mod ask;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use temoin_access_log::{
    Checkpoint, WitnessPublicKey,
    cosignature::{AHEAD_S, add_cosignatures, is_fresh, quorum_at},
    files::{self, FileError},
};

use crate::{
    app::App,
    config::{Config, LogRules},
    error::{AppError, chain},
    log::{Log, LogError, blocking},
};

use ask::{Asking, Trouble};

/// How often a new head is shown to the witnesses. Own choice: an entry is witnessed soon, and a busy
/// log asks no witness more than once in this time.
const ROUND: Duration = Duration::from_secs(2);
/// A head without new entries is shown again at least this often.
const MAX_REFRESH: Duration = Duration::from_secs(3600);
/// The longest pause behind a witness that did not answer.
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub(crate) const NOT_IN_TIME: &str = "Recordings cannot be watched now: no witness has signed the access log \
                           in time. The operator must look.";
const REFUSED: &str = "Recordings cannot be watched now: a witness says that the access log is not \
                       the one that it signed before. The operator must look.";

/// Why the witnesses cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The configuration.
    #[error("the witness `{name}` cannot be used: {why}")]
    Config {
        /// As the configuration calls it.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The kept head.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What is known of one witness.
#[derive(Debug, Default)]
struct Standing {
    /// The size of the head that it cosigned last, as far as is known.
    size: u64,
    /// It says that this is not the log that it cosigned.
    contradicts: bool,
    /// Failures in a row, and when it is worth another try.
    failures: u32,
    again: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest head with enough cosignatures.
    cosigned: Option<Checkpoint>,
    /// The log does not contain that head: it was put back, or written anew.
    lost: bool,
    standings: Vec<Standing>,
}

/// The configured witnesses, and the newest head that they cosigned. By default none.
#[derive(Debug, Default)]
pub struct Witnesses {
    rules: LogRules,
    asking: Vec<Asking>,
    keys: Vec<WitnessPublicKey>,
    path: PathBuf,
    state: Mutex<State>,
}

impl Witnesses {
    /// Reads what was kept, and compares it with the log.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub(crate) async fn open(config: &Config, log: &Log) -> Result<Self, WitnessError> {
        let mut asking = Vec::new();
        for witness in &config.witnesses {
            asking.push(
                Asking::new(witness, &config.folder)
                    .map_err(|why| WitnessError::Config { name: witness.name.clone(), why })?,
            );
        }
        let keys: Vec<WitnessPublicKey> = asking.iter().map(|a| a.key.clone()).collect();
        let path = config.log().join(files::COSIGNED);
        let mut state = State::default();
        if let Some(note) = files::read_if_there(&path)? {
            match Checkpoint::parse(&note, log.public_key()) {
                Ok(head) => {
                    state.lost = head.size() > log.len() || log.root(head.size())? != head.root();
                    state.cosigned = Some(head);
                }
                // Derived: the witnesses are asked again.
                Err(error) => tracing::warn!(%error, path = %path.display(), "not used"),
            }
        }
        if state.lost && !keys.is_empty() {
            tracing::error!(
                "the access log does not contain the head that was cosigned: it was put back or \
                 written anew, and nobody can watch anything until it is restored"
            );
        }
        state.standings = keys
            .iter()
            .map(|key| {
                let kept = state.cosigned.as_ref().filter(|head| key.cosigned_at(head).is_some());
                Standing { size: kept.map_or(0, Checkpoint::size), ..Standing::default() }
            })
            .collect();
        Ok(Self { rules: config.log_rules, asking, keys, path, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The newest head with enough cosignatures, as a note.
    pub fn cosigned(&self) -> Option<Checkpoint> {
        let state = self.state();
        state.cosigned.clone().filter(|_| !state.lost)
    }

    /// Whether recordings may be shown.
    ///
    /// # Errors
    /// [`AppError::Unwitnessed`] with what the person is told.
    pub fn check(&self, now_ms: i64) -> Result<(), AppError> {
        if self.is_empty() {
            return Ok(());
        }
        let state = self.state();
        let standing = self.keys.iter().zip(&state.standings);
        let counted: Vec<WitnessPublicKey> =
            standing.filter(|(_, s)| !s.contradicts).map(|(key, _)| key.clone()).collect();
        if state.lost || counted.len() < self.rules.quorum {
            return Err(AppError::Unwitnessed(REFUSED));
        }
        let at = state.cosigned.as_ref().and_then(|h| quorum_at(h, &counted, self.rules.quorum));
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        match at {
            Some(at) if is_fresh(at, now_s, self.rules.cosigned_within_s) => Ok(()),
            Some(_) | None => Err(AppError::Unwitnessed(NOT_IN_TIME)),
        }
    }

    /// A fourth of the time that a cosignature is good for: three more tries.
    fn quarter(&self) -> Duration {
        Duration::from_secs(self.rules.cosigned_within_s) / 4
    }

    /// Shows the head to the witnesses where that is due, and keeps what they say.
    pub(crate) async fn round(&self, log: &Log, now_ms: i64) {
        let head = log.head();
        let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
        if self.is_empty() || !self.is_due(&head, now_s) {
            return;
        }
        let turns: Vec<(usize, u64)> = {
            let state = self.state();
            let now = Instant::now();
            let standings = state.standings.iter().enumerate();
            let waits = |s: &Standing| s.again.is_some_and(|again| again > now);
            standings.filter(|(_, s)| !waits(s)).map(|(i, s)| (i, s.size)).collect()
        };
        let answers = turns.iter().filter_map(|&(i, size)| {
            let asking = self.asking.get(i)?;
            let head = &head;
            Some(async move { (i, asking.ask(log, head, size).await) })
        });
        let answers = futures::future::join_all(answers).await;
        let mut lines = String::new();
        {
            let mut state = self.state();
            for (i, answer) in answers {
                let (Some(standing), Some(asking)) =
                    (state.standings.get_mut(i), self.asking.get(i))
                else {
                    continue;
                };
                match self.heard(standing, asking, &head, answer) {
                    Some(line) => lines.push_str(&line),
                    None => continue,
                }
            }
        }
        if lines.is_empty() {
            return;
        }
        let cosigned = match add_cosignatures(&head, &lines, &self.keys) {
            Ok(cosigned) => cosigned,
            Err(error) => return tracing::error!(%error, "cosignatures that cannot be kept"),
        };
        if quorum_at(&cosigned, &self.keys, self.rules.quorum).is_none() {
            return;
        }
        let (path, note) = (self.path.clone(), cosigned.note().to_owned());
        match blocking(move || files::replace(&path, note.as_bytes())).await {
            Ok(Ok(())) => {
                let mut state = self.state();
                state.cosigned = Some(cosigned);
                state.lost = false;
            }
            Ok(Err(error)) => tracing::error!(%error, "a cosigned head could not be kept"),
            Err(error) => tracing::error!(error = %chain(&error), "a cosigned head was not kept"),
        }
    }

    fn is_due(&self, head: &Checkpoint, now_s: u64) -> bool {
        let state = self.state();
        let contradicted = state.lost || state.standings.iter().any(|s| s.contradicts);
        match &state.cosigned {
            Some(kept) if kept.text() == head.text() && !contradicted => {
                let refresh = self.quarter().min(MAX_REFRESH).as_secs();
                match quorum_at(kept, &self.keys, self.rules.quorum) {
                    Some(at) => at > now_s + AHEAD_S || now_s.saturating_sub(at) >= refresh,
                    None => true,
                }
            }
            Some(_) | None => true,
        }
    }

    /// Takes a witness's answer into its standing.
    fn heard(
        &self,
        standing: &mut Standing,
        asking: &Asking,
        head: &Checkpoint,
        answer: Result<String, Trouble>,
    ) -> Option<String> {
        let name = &asking.name;
        let trouble = match answer {
            Ok(lines) => match add_cosignatures(head, &lines, std::slice::from_ref(&asking.key)) {
                Ok(signed) if asking.key.cosigned_at(&signed).is_some() => {
                    if standing.failures > 0 {
                        tracing::info!(witness = name, "cosigns again");
                    }
                    *standing = Standing { size: head.size(), ..Standing::default() };
                    return Some(lines);
                }
                Ok(_) | Err(_) => {
                    Trouble::Answer("its answer holds no cosignature of its key".into())
                }
            },
            Err(trouble) => trouble,
        };
        let contradicts = trouble.is_contradiction();
        if standing.failures == 0 || contradicts != standing.contradicts {
            if contradicts {
                tracing::error!(
                    witness = name,
                    size = head.size(),
                    "{trouble}: the access log was put back, or has two histories; its word does \
                     not count until it cosigns again"
                );
            } else {
                tracing::warn!(witness = name, "{trouble}; asked again");
            }
        }
        // What was contradicted once stays so until the witness cosigns again.
        standing.contradicts |= contradicts;
        standing.failures = standing.failures.saturating_add(1);
        let longest = MAX_PAUSE.min(self.quarter()).max(Duration::from_millis(200));
        let pause = ROUND.saturating_mul(1 << standing.failures.min(6)).min(longest);
        standing.again = Some(Instant::now() + pause);
        None
    }
}

/// Shows new heads to the witnesses until it is dropped.
pub(crate) async fn rounds(app: App) {
    let witnesses = app.witnesses();
    if witnesses.is_empty() {
        return tracing::warn!("{}", none_configured());
    }
    let every = ROUND.min(witnesses.quarter()).max(Duration::from_millis(200));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        witnesses.round(app.log(), app.now_ms()).await;
    }
}

/// What `check` and a start say where there is no witness.
pub(crate) const fn none_configured() -> &'static str {
    "no witness is configured: whoever runs this server could rewrite the access log unnoticed \
     (docs/witness.md)"
}

/// Checks what the configuration says of the witnesses; what is wrong.
pub(crate) fn mistakes(config: &Config, folder: &Path) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut keys = Vec::new();
    for witness in &config.witnesses {
        match Asking::new(witness, folder) {
            Ok(asking) if keys.contains(&asking.key) => {
                mistakes.push(format!("the witness `{}` has the key of another", witness.name));
            }
            Ok(asking) => keys.push(asking.key),
            Err(why) => mistakes.push(format!("the witness `{}`: {why}", witness.name)),
        }
    }
    let rules = config.log_rules;
    if rules.cosigned_within_s == 0 {
        mistakes.push("`log.cosigned_within_s` is at least 1".to_owned());
    }
    if rules.quorum == 0 || (!config.witnesses.is_empty() && rules.quorum > keys.len()) {
        mistakes.push(format!(
            "`log.quorum` is {}: it is at least 1 and at most the number of witnesses",
            rules.quorum
        ));
    }
    mistakes
}
