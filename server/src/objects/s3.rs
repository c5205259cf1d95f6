//! Objects in a bucket of a store with the S3 API.
//!
//! A put is one request with the whole file: S3 shows an object as a whole or not at all, and
//! answers when it is durable. A clip's track is below 512 MiB, far under the 5 GiB of one put. A
//! crash between the put and the end of the upload leaves both; the put is then made again with
//! the same bytes.

use std::{os::unix::fs::PermissionsExt as _, ops::Range, path::Path};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectError, head_object::HeadObjectError},
    primitives::ByteStream,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Deserialize;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{ObjectError, ObjectKey, Objects, file_error};
use crate::config::S3;

#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    access_key_id: String,
    secret_access_key: String,
}

/// Objects in a bucket.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Objects {
    /// In this bucket, with the credentials of the file that the configuration names. Relative
    /// paths are within `folder`.
    ///
    /// # Errors
    /// [`ObjectError::File`], [`ObjectError::Config`].
    pub fn open(config: &S3, folder: &Path) -> Result<Self, ObjectError> {
        let path = folder.join(&config.credentials_file);
        let mode = std::fs::metadata(&path).map_err(file_error("read", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(ObjectError::Config(format!(
                "others can read the credentials {}: `chmod 600` it",
                path.display()
            )));
        }
        let mut text = std::fs::read_to_string(&path).map_err(file_error("read", &path))?;
        // The parser's message would quote the line, and a line may hold the secret.
        let parsed = toml::from_str::<CredentialsFile>(&text);
        text.zeroize();
        let file = parsed.map_err(|_| {
            ObjectError::Config(format!(
                "the credentials {} need `access_key_id` and `secret_access_key` and nothing else",
                path.display()
            ))
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
        let mut sdk = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials);
        if let Some(endpoint) = &config.endpoint {
            // Stores of one's own rarely have a name for each bucket.
            sdk = sdk.endpoint_url(endpoint).force_path_style(true);
        }
        Ok(Self {
            client: Client::from_conf(sdk.build()),
            bucket: config.bucket.clone(),
            prefix: config.prefix.clone(),
        })
    }

    fn key(&self, key: ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn refused<E>(what: &'static str, key: ObjectKey) -> impl FnOnce(SdkError<E>) -> ObjectError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    move |error| ObjectError::Store {
        what,
        key: key.to_string(),
        why: DisplayErrorContext(error).to_string(),
    }
}

impl Objects for S3Objects {
    fn put_file<'a>(
        &'a self,
        key: ObjectKey,
        file: &'a Path,
    ) -> BoxFuture<'a, Result<(), ObjectError>> {
        Box::pin(async move {
            let body = ByteStream::from_path(file)
                .await
                .map_err(|e| file_error("read", file)(std::io::Error::other(e)))?;
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(self.key(key))
                .body(body)
                .send()
                .await
                .map_err(refused("put", key))?;
            tokio::fs::remove_file(file).await.map_err(file_error("delete", file))
        })
    }

    fn len(&self, key: ObjectKey) -> BoxFuture<'_, Result<Option<u64>, ObjectError>> {
        Box::pin(async move {
            let head = self.client.head_object().bucket(&self.bucket).key(self.key(key)).send().await;
            match head {
                Ok(head) => Ok(head.content_length().and_then(|len| u64::try_from(len).ok())),
                Err(e) if e.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
                Err(e) => Err(refused("look at", key)(e)),
            }
        })
    }

    fn get_range(
        &self,
        key: ObjectKey,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Bytes, ObjectError>> {
        Box::pin(async move {
            let wanted = range.end.saturating_sub(range.start);
            let got = self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(self.key(key))
                .range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
                .send()
                .await
                .map_err(|e| {
                    if e.as_service_error().is_some_and(GetObjectError::is_no_such_key) {
                        ObjectError::Missing(key.to_string())
                    } else {
                        refused("get", key)(e)
                    }
                })?;
            let broken = |why: String| ObjectError::Store { what: "get", key: key.to_string(), why };
            let bytes = got.body.collect().await.map_err(|e| broken(e.to_string()))?.into_bytes();
            if bytes.len() as u64 == wanted {
                Ok(bytes)
            } else {
                Err(broken(format!("{} bytes instead of {wanted}", bytes.len())))
            }
        })
    }

    fn delete(&self, key: ObjectKey) -> BoxFuture<'_, Result<(), ObjectError>> {
        Box::pin(async move {
            self.client
                .delete_object()
                .bucket(&self.bucket)
                .key(self.key(key))
                .send()
                .await
                .map_err(refused("delete", key))?;
            Ok(())
        })
    }
}
