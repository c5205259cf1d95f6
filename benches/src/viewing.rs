//! How soon somebody who opens a clip sees it, and how soon somebody hears that there is none.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use ring::aead;
use temoin_proto::{ids::EventId, sealed::CHUNK_PLAIN_LEN};
use temoin_tests::{client::Client, storage};

use crate::figures::median;

/// Between two views, so that one that was left does not slow the next.
const PAUSE: Duration = Duration::from_millis(300);

/// What was measured, milliseconds, one for each view.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// From asking for a view to the permit: decision and durable log entry are in it.
    pub permit_ms: Vec<f64>,
    /// From asking for a camera to the first byte.
    pub first_byte_ms: Vec<f64>,
    /// From asking for a view to the first byte of a camera: both of the above.
    pub authorize_to_first_byte_ms: Vec<f64>,
    /// From asking for a camera to the end of the first `mdat` box, which holds the first pictures
    /// whole.
    pub first_frame_ms: Vec<f64>,
    /// A page of the portal that needs no decision, over the same connection.
    pub page_ms: Vec<f64>,
}

/// Views an event's clip `count` times, the cameras by turns, each time left after its first
/// pictures as by somebody who has seen enough.
///
/// # Errors
/// Where a view is refused or breaks off.
pub async fn measure(client: &Client, event: &str, count: usize) -> Result<Views> {
    let mut views = Views::default();
    for n in 0..count {
        tokio::time::sleep(PAUSE).await;
        let began = Instant::now();
        client.page("/sign-in").await?;
        views.page_ms.push(ms_since(began));
        let began = Instant::now();
        let view = client.view(event, "triage").await?;
        let permit_ms = ms_since(began);
        views.permit_ms.push(permit_ms);
        let track = view.tracks.get(n % view.tracks.len().max(1)).context("nothing to be seen")?;

        let began = Instant::now();
        let path = format!("/views/{}/{}.mp4", view.view_id, track.name);
        let mut response = client.file(&path).await?;
        ensure!(response.status().is_success(), "{path}: {}", response.status());
        let mut bytes = Vec::new();
        let mut first_byte_ms = None;
        loop {
            let chunk = response.chunk().await?.context("the stream held no picture")?;
            first_byte_ms.get_or_insert_with(|| ms_since(began));
            bytes.extend_from_slice(&chunk);
            if whole_mdat(&bytes) {
                views.first_frame_ms.push(ms_since(began));
                break;
            }
        }
        views.first_byte_ms.extend(first_byte_ms);
        views.authorize_to_first_byte_ms.extend(first_byte_ms.map(|ms| permit_ms + ms));
    }
    Ok(views)
}

/// What this person is answered for an event that exists and is none of their business, and for one
/// that does not exist: milliseconds each, asked by turns.
///
/// # Errors
/// Where one of them is found, or the two answers differ in anything but time.
pub async fn not_found(client: &Client, secret: &str, count: usize) -> Result<[Vec<f64>; 2]> {
    let (mut of_secret, mut of_unknown) = (Vec::new(), Vec::new());
    let mut answers = Vec::new();
    for n in 0..count * 2 {
        let unknown = EventId::new().to_string();
        // First the one, then the other first.
        let (event, took) = if (n / 2 + n) % 2 == 0 {
            (secret, &mut of_secret)
        } else {
            (unknown.as_str(), &mut of_unknown)
        };
        let began = Instant::now();
        let (status, text) = client.page(&format!("/events/{event}")).await?;
        took.push(ms_since(began));
        ensure!(status.as_u16() == 404, "{event}: {status}");
        answers.push(text);
    }
    answers.dedup();
    ensure!(answers.len() == 1, "the answers differ");
    Ok([of_secret, of_unknown])
}

/// Opening all of the largest stored clip with AES-256-GCM, in chunks as it is sealed, and nothing
/// else: milliseconds, the middle one of `count`.
///
/// # Errors
/// Where there is no clip.
pub fn bare_aes_gcm_ms(server: &Path, count: usize) -> Result<f64> {
    let clips = storage::objects(server)?;
    let len = |tracks: &storage::Tracks| {
        tracks.values().filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum::<u64>()
    };
    let len = usize::try_from(clips.values().map(len).max().context("no clip is stored")?)?;
    let fault = |_| anyhow!("AES-256-GCM does not open what it sealed");
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &[7; 32]).map_err(fault)?;
    let key = aead::LessSafeKey::new(key);
    let nonce = || aead::Nonce::assume_unique_for_key([1; aead::NONCE_LEN]);
    let mut sealed = vec![3; len.min(CHUNK_PLAIN_LEN)];
    key.seal_in_place_append_tag(nonce(), aead::Aad::empty(), &mut sealed).map_err(fault)?;
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let mut chunks = vec![sealed.clone(); len.div_ceil(CHUNK_PLAIN_LEN)];
        let began = Instant::now();
        for chunk in &mut chunks {
            black_box(key.open_in_place(nonce(), aead::Aad::empty(), chunk).map_err(fault)?);
        }
        took.push(ms_since(began));
    }
    median(&took)
}

fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// Whether the beginning of an MP4 file holds a whole `mdat` box.
fn whole_mdat(mut file: &[u8]) -> bool {
    while let Some((head, _)) = file.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        // Boxes of 64-bit size do not occur in a stream of short fragments.
        if size < 8 || file.len() < size {
            return false;
        }
        if kind == *b"mdat" {
            return true;
        }
        file = file.get(size..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_mdat_counts() {
        let moof = [&16_u32.to_be_bytes()[..], b"moof", b"mdat\0\0\0\0"].concat();
        let mdat = [&12_u32.to_be_bytes()[..], b"mdat", &[1, 2, 3, 4]].concat();
        let file = [moof.clone(), mdat].concat();
        for (len, want) in
            [(0, false), (moof.len(), false), (file.len() - 1, false), (file.len(), true)]
        {
            assert_eq!(whole_mdat(&file[..len]), want, "{len}");
        }
        assert!(!whole_mdat(b"\0\0\0\x01mdatxxxxxxxx"));
    }
}
