//! One witness, asked over HTTP (C2SP tlog-witness).

use std::{path::Path, time::Duration};

use temoin_access_log::{
    AddCheckpoint, Checkpoint, WitnessPublicKey, checkpoint::MAX_CHECKPOINT_LEN,
};

use crate::{
    config::WitnessAt,
    error::{AppError, chain},
    log::Log,
};

/// A witness that takes longer has not answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// A size may have to be learned, and may change meanwhile.
const TRIES: usize = 3;

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it does not answer: {0}")]
    Unreachable(String),
    #[error("{0}")]
    Answer(String),
    #[error("it has cosigned {theirs} entries, and this log has only {ours}")]
    Longer { theirs: u64, ours: u64 },
    #[error("it has cosigned other entries than the first {0} of this log")]
    Others(u64),
    #[error(transparent)]
    Log(#[from] AppError),
}

impl Trouble {
    /// Whether it says that this is not the log that it cosigned.
    pub(super) const fn is_contradiction(&self) -> bool {
        match self {
            Self::Longer { .. } | Self::Others(_) => true,
            Self::Unreachable(_) | Self::Answer(_) | Self::Log(_) => false,
        }
    }
}

/// How one witness is asked.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) name: String,
    pub(super) key: WitnessPublicKey,
    url: String,
    http: reqwest::Client,
}

impl Asking {
    /// As configured; what is wrong otherwise.
    pub(super) fn new(witness: &WitnessAt, folder: &Path) -> Result<Self, String> {
        let key = witness.key.parse().map_err(|e| format!("its key: {e}"))?;
        let prefix = witness.url.trim_end_matches('/');
        if !(prefix.starts_with("https://") || prefix.starts_with("http://")) {
            return Err(format!("its url `{}` begins with https:// or http://", witness.url));
        }
        // Where no provider is set yet, as in `check`.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(ca) = &witness.ca {
            let path = folder.join(ca);
            let pem = std::fs::read(&path)
                .map_err(|e| format!("its certificate cannot be read: {}: {e}", path.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|e| format!("`{}` is no certificate: {e}", path.display()))?;
            http = http.tls_certs_only(certificates);
        }
        let http = http.build().map_err(|e| chain(&e))?;
        let url = format!("{prefix}/add-checkpoint");
        reqwest::Url::parse(&url).map_err(|e| format!("its url `{}`: {e}", witness.url))?;
        Ok(Self { name: witness.name.clone(), key, url, http })
    }

    /// Shows it a head, with the proof from the size that it is thought to have cosigned last.
    /// Answers the lines that it says; not checked.
    pub(super) async fn ask(
        &self,
        log: &Log,
        head: &Checkpoint,
        size: u64,
    ) -> Result<String, Trouble> {
        let mut old = size.min(head.size());
        for _ in 0..TRIES {
            let proof = log.consistency_proof(old, head.size()).await?;
            let request = AddCheckpoint { old, proof, checkpoint: head.note().to_owned() };
            let (status, body) = self.post(request.to_text()).await?;
            match status {
                200 => return Ok(body),
                409 => {
                    let theirs = body.trim_end().parse().map_err(|_| {
                        Trouble::Answer("it refuses and does not say its size".to_owned())
                    })?;
                    if theirs > head.size() {
                        return Err(Trouble::Longer { theirs, ours: head.size() });
                    }
                    if theirs == old {
                        return Err(Trouble::Others(old));
                    }
                    old = theirs;
                }
                422 => return Err(Trouble::Others(old)),
                status => {
                    let said: String = body.chars().filter(|c| !c.is_control()).take(200).collect();
                    return Err(Trouble::Answer(format!("it answers {status}: {said}")));
                }
            }
        }
        Err(Trouble::Answer("it changes its mind about the size that it cosigned".to_owned()))
    }

    async fn post(&self, body: String) -> Result<(u16, String), Trouble> {
        let unreachable = |e: reqwest::Error| Trouble::Unreachable(chain(&e));
        let mut answer = self.http.post(&self.url).body(body).send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unreachable)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > MAX_CHECKPOINT_LEN {
                return Err(Trouble::Answer("its answer is too long".to_owned()));
            }
        }
        Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
    }
}
