//! Against moto, a test server with the API of AWS KMS.

use std::{
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::*;
use crate::{keyring::Keyring, sealing};

/// Ends the test server with the test.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn config(endpoint: Option<String>, key: &str) -> KmsConfig {
    KmsConfig {
        key: key.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint,
        credentials_file: "kms.toml".into(),
    }
}

fn credentials(folder: &Path, text: &str, mode: u32) {
    let path = folder.join("kms.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

const GOOD: &str = "access_key_id = \"id\"\nsecret_access_key = \"hush\"\n";

#[test]
fn credentials_are_private_and_never_quoted() {
    let dir = tempfile::tempdir().unwrap();
    for (text, mode) in [(GOOD, 0o640), ("secret_access_key == \"hush\"", 0o600), ("", 0o600)] {
        credentials(dir.path(), text, mode);
        let error = KmsGuard::new(&config(None, "k"), dir.path()).unwrap_err().to_string();
        assert!(error.contains("kms.toml") && !error.contains("hush"), "{error}");
    }
}

#[test]
fn guards_a_keyring() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Command::new("moto_server")
        .args(["-H", "127.0.0.1", "-p", &free.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        println!(
            "SKIPPED: no KMS test server: `pip install moto[server]` puts moto_server in PATH"
        );
        return;
    };
    let mut moto = Moto(child);
    let dir = tempfile::tempdir().unwrap();
    credentials(dir.path(), GOOD, 0o600);
    let endpoint = Some(format!("http://{free}"));
    let any = KmsGuard::new(&config(endpoint.clone(), "none"), dir.path()).unwrap();
    let began = Instant::now();
    let key = loop {
        if let Ok(made) = any.runtime.block_on(any.client.create_key().send()) {
            break made.key_metadata.unwrap().key_id;
        }
        if moto.0.try_wait().unwrap().is_some() {
            println!(
                "SKIPPED: moto_server is there but does not start: `pip install moto[server]`"
            );
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the test server does not answer");
        std::thread::sleep(Duration::from_millis(100));
    };

    let guard = KmsGuard::new(&config(endpoint, &key), dir.path()).unwrap();
    let sealing_key = sealing::new_key().unwrap();
    let wrapped = guard.wrap(&sealing_key).unwrap();
    assert_eq!(guard.unwrap(&wrapped).unwrap(), sealing_key);
    let WrappedSealingKey::AwsKms { key: arn, sealed } = wrapped else { panic!("{wrapped:?}") };
    assert!(arn.contains(&key) && !sealed.windows(32).any(|w| w == sealing_key.as_slice()));
    // Encrypted with the same key, but not for this purpose.
    let other = any
        .client
        .encrypt()
        .key_id(&key)
        .encryption_context(CONTEXT_NAME, "another")
        .plaintext(Blob::new(sealing_key.to_vec()))
        .send();
    let blob = any.runtime.block_on(other).unwrap().ciphertext_blob.unwrap().into_inner();
    let foreign = WrappedSealingKey::AwsKms { key: arn, sealed: blob };
    assert!(matches!(guard.unwrap(&foreign), Err(GuardError::Kms { what: "decrypt", .. })));

    let path = dir.path().join("keyring");
    let made = Keyring::new().unwrap();
    made.create(&path, &guard).unwrap();
    assert_eq!(Keyring::open(&path, &guard).unwrap().public(), made.public());
    drop(moto);
    let away = Keyring::open(&path, &guard).unwrap_err().to_string();
    assert!(away.contains("AWS KMS did not decrypt"), "{away}");
}
