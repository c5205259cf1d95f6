//! `check`: says everything that is wrong at once, and changes nothing.

use std::path::Path;

use super::say;
use crate::{
    authz::Authz,
    config::{Config, Objects},
    error::chain,
    keys::Link,
    objects::s3::S3Objects,
    pki::{Pki, read_identity},
    sign_in_key::SignInKey,
    witnesses,
};

pub(super) async fn run(path: &Path) -> Result<(), anyhow::Error> {
    let config = Config::read(path)?;
    let mut problems = Vec::new();
    let mut look = |result: Result<(), Box<dyn std::error::Error>>| {
        if let Err(error) = result {
            problems.push(chain(error.as_ref()));
        }
    };
    look(Authz::load().map(drop).map_err(Into::into));
    look(Pki::open(&config.pki()).map(drop).map_err(Into::into));
    look(Link::new(&config.keys_socket()).public().await.map(drop).map_err(Into::into));
    // A folder of an older version gets one at the next start.
    if config.sign_in_key().exists() {
        look(SignInKey::open(&config.sign_in_key()).map(drop).map_err(Into::into));
    }
    if let (Some(certificate), Some(key)) = (&config.https.certificate, &config.https.private_key) {
        look(
            read_identity(&config.folder.join(certificate), &config.folder.join(key))
                .map_err(anyhow::Error::from)
                .and_then(|identity| crate::https::tls_config(&identity))
                .map(drop)
                .map_err(Into::into),
        );
    }
    match &config.objects {
        Objects::Disk => {}
        Objects::S3(s3) => look(S3Objects::open(s3, &config.folder).map(drop).map_err(Into::into)),
    }
    for file in [config.database(), config.log()] {
        if !file.exists() {
            problems.push(format!("{} is missing: restore it from a backup", file.display()));
        }
    }
    if let Err(error) = crate::trace::find_decoder() {
        problems.push(error.to_string());
    }
    if problems.is_empty() {
        if config.witnesses.is_empty() {
            say(witnesses::none_configured())?;
        }
        say(&format!("{} is good", path.display()))
    } else {
        Err(anyhow::anyhow!(problems.join("\n")))
    }
}
