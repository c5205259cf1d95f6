//! AWS KMS: the sealing key is encrypted by a symmetric key that never leaves the service.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_kms::{
    Client,
    config::{BehaviorVersion, Credentials, Region, timeout::TimeoutConfig},
    error::DisplayErrorContext,
    primitives::Blob,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{CONTEXT, Guard, GuardError, SealingKey, WrappedSealingKey, sealing_key};
use crate::place::check_private;

/// The encryption context's name: KMS logs it, and decrypts only with the same one.
const CONTEXT_NAME: &str = "temoin";
/// For one request with all its attempts.
const LIMIT: Duration = Duration::from_secs(30);

/// Which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsConfig {
    /// The key's id, alias or ARN.
    pub key: String,
    /// Its region.
    pub region: String,
    /// The service's address, where it is not AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// A file, mode 0600, with `access_key_id = "..."` and `secret_access_key = "..."`.
    pub credentials_file: PathBuf,
}

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    access_key_id: String,
    secret_access_key: String,
}

/// Guards by AWS KMS.
#[derive(Debug)]
pub struct KmsGuard {
    client: Client,
    key: String,
    /// Of its own: guards are asked outside of any other runtime.
    runtime: tokio::runtime::Runtime,
}

impl KmsGuard {
    /// With this configuration; relative paths begin at `folder`. Asks the service nothing yet.
    ///
    /// # Errors
    /// [`GuardError::Credentials`], [`GuardError::System`].
    pub fn new(config: &KmsConfig, folder: &Path) -> Result<Self, GuardError> {
        let path = folder.join(&config.credentials_file);
        let unusable = |what: String| GuardError::Credentials { path: path.clone(), what };
        check_private(&path).map_err(|e| unusable(e.to_string()))?;
        let text =
            Zeroizing::new(std::fs::read_to_string(&path).map_err(|e| unusable(e.to_string()))?);
        // The parser's message would quote the line, and a line may hold the secret.
        let file: CredentialsFile = toml::from_str(&text).map_err(|_| {
            unusable("`access_key_id` and `secret_access_key` and nothing else".to_owned())
        })?;
        let credentials = Credentials::new(
            &file.access_key_id,
            &file.secret_access_key,
            None,
            None,
            "credentials_file",
        );
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut sdk = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().operation_timeout(LIMIT).build())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials);
        if let Some(endpoint) = &config.endpoint {
            sdk = sdk.endpoint_url(endpoint);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|_| GuardError::System)?;
        Ok(Self { client: Client::from_conf(sdk.build()), key: config.key.clone(), runtime })
    }
}

fn refused<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> GuardError {
    move |e| GuardError::Kms { what, why: DisplayErrorContext(e).to_string() }
}

impl Guard for KmsGuard {
    fn wrap(&self, key: &SealingKey) -> Result<WrappedSealingKey, GuardError> {
        let what = "encrypt";
        let request = self
            .client
            .encrypt()
            .key_id(&self.key)
            .encryption_context(CONTEXT_NAME, CONTEXT)
            .plaintext(Blob::new(key.to_vec()))
            .send();
        let done = self.runtime.block_on(request).map_err(refused(what))?;
        match (done.key_id, done.ciphertext_blob) {
            (Some(key), Some(blob)) => {
                Ok(WrappedSealingKey::AwsKms { key, sealed: blob.into_inner() })
            }
            (Some(_) | None, Some(_) | None) => {
                Err(GuardError::Kms { what, why: "the answer holds no ciphertext".to_owned() })
            }
        }
    }

    fn unwrap(&self, wrapped: &WrappedSealingKey) -> Result<SealingKey, GuardError> {
        let WrappedSealingKey::AwsKms { key, sealed } = wrapped else {
            return Err(GuardError::OtherKind { file: wrapped.kind(), config: "AWS KMS" });
        };
        let request = self
            .client
            .decrypt()
            // The key that the file names, not any that the blob may have been made with.
            .key_id(key)
            .encryption_context(CONTEXT_NAME, CONTEXT)
            .ciphertext_blob(Blob::new(sealed.clone()))
            .send();
        let done = self.runtime.block_on(request).map_err(refused("decrypt"))?;
        let plain = done.plaintext.map(Blob::into_inner).unwrap_or_default();
        sealing_key(&Zeroizing::new(plain))
    }
}

#[cfg(test)]
#[path = "kms_tests.rs"]
mod tests;
