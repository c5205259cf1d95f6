//! Objects in a bucket of a store with the S3 API.
//!
//! A put is one request with the whole file: S3 shows an object as a whole or not at all, and
//! answers when it is durable. A clip's track is below 512 MiB, far under the 5 GiB of one put. A
//! crash between the put and the end of the upload leaves both; the put is then made again with
//! the same bytes.

use std::{ops::Range, os::unix::fs::PermissionsExt as _, path::Path};

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
        let mode =
            std::fs::metadata(&path).map_err(file_error("read", &path))?.permissions().mode();
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
            let head =
                self.client.head_object().bucket(&self.bucket).key(self.key(key)).send().await;
            match head {
                Ok(head) => Ok(head.content_length().and_then(|len| u64::try_from(len).ok())),
                Err(e) if e.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                    Ok(None)
                }
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
            let broken =
                |why: String| ObjectError::Store { what: "get", key: key.to_string(), why };
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

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        os::unix::fs::OpenOptionsExt as _,
        process::{Child, Command, Stdio},
        time::Duration,
    };

    use super::*;
    use crate::objects::check_store;

    fn credentials(path: &Path, mode: u32, text: &str) {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn config(endpoint: Option<String>) -> S3 {
        S3 {
            bucket: "clips".into(),
            prefix: "fleet/".into(),
            region: "us-east-1".into(),
            endpoint,
            credentials_file: "s3.toml".into(),
        }
    }

    const GOOD: &str = "access_key_id = \"id\"\nsecret_access_key = \"hush\"\n";

    #[test]
    fn credentials_are_private_and_never_quoted() {
        for (name, mode, text) in [
            ("readable by others", 0o644, GOOD),
            ("incomplete", 0o600, "secret_access_key = \"hush\"\n"),
            ("damaged", 0o600, "secret_access_key == \"hush\"\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            credentials(&dir.path().join("s3.toml"), mode, text);
            let error = S3Objects::open(&config(None), dir.path()).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{name}: {error}");
        }
    }

    /// Ends the test server with the test.
    struct Moto(Child);

    impl Drop for Moto {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    #[tokio::test]
    async fn does_what_a_store_must() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &free.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            println!(
                "SKIPPED: no S3 test server: `pip install moto[server]` puts moto_server in PATH"
            );
            return;
        };
        let mut moto = Moto(child);
        let dir = tempfile::tempdir().unwrap();
        credentials(&dir.path().join("s3.toml"), 0o600, GOOD);
        let store = S3Objects::open(&config(Some(format!("http://{free}"))), dir.path()).unwrap();
        let made = async {
            while store.client.create_bucket().bucket("clips").send().await.is_err() {
                if moto.0.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            true
        };
        if !tokio::time::timeout(Duration::from_secs(60), made).await.unwrap() {
            println!(
                "SKIPPED: moto_server is there but does not start: `pip install moto[server]`"
            );
            return;
        }
        check_store(&store, dir.path()).await;
    }
}
