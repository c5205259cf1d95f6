//! The portal's own files, inside the program. Their address holds a hash of all of them, so that
//! browsers may keep them for ever and still never mix two versions.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use ring::digest::{Context, SHA256};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media_type:expr) => {
        Asset {
            name: $name,
            media_type: $media_type,
            bytes: include_bytes!(concat!("../../assets/", $name)),
        }
    };
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ASSETS: [Asset; 12] = [
    asset!("portal.css", CSS),
    asset!("portal.js", JS),
    asset!("binding.js", JS),
    asset!("event.js", JS),
    asset!("feed.js", JS),
    asset!("players.js", JS),
    asset!("stream.js", JS),
    asset!("transport.js", JS),
    asset!("chart.js", JS),
    asset!("verify.js", JS),
    asset!("tlog.js", JS),
    asset!("mark.svg", SVG),
];

static BASE: LazyLock<String> = LazyLock::new(|| {
    let mut all = Context::new(&SHA256);
    for asset in &ASSETS {
        all.update(&(asset.bytes.len() as u64).to_be_bytes());
        all.update(asset.bytes);
    }
    let hash = hex::encode(all.finish());
    format!("/static/{}", hash.get(..16).unwrap_or(&hash))
});

/// The address of the assets: `/static/HASH`.
pub(crate) fn base() -> &'static str {
    &BASE
}

/// One of them. An old version is gone: its page must be loaded again.
pub(crate) async fn serve(Path((version, name)): Path<(String, String)>) -> Response {
    let current = base().strip_prefix("/static/") == Some(version.as_str());
    match ASSETS.iter().find(|a| current && a.name == name) {
        Some(asset) => (
            [
                (header::CONTENT_TYPE, asset.media_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ],
            asset.bytes,
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "no such file: reload the page\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_import_only_what_is_served() {
        for asset in ASSETS.iter().filter(|a| a.media_type == JS) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for part in text.split("from \"").skip(1) {
                let file = part.split('"').next().unwrap().trim_start_matches("./");
                assert!(ASSETS.iter().any(|a| a.name == file), "{} imports {file}", asset.name);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(ASSETS.iter().any(|a| a.name == name), "{name} is not served");
        }
    }
}
