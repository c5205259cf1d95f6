//! How soon somebody who opens a clip sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use temoin_tests::client::Client;

/// Between two views, so that one that was left does not slow the next.
const PAUSE: Duration = Duration::from_millis(300);

/// What was measured, milliseconds, one for each view.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// From asking for a view to the permit: decision and durable log entry are in it.
    pub permit_ms: Vec<f64>,
    /// From asking for a camera to the first byte.
    pub first_byte_ms: Vec<f64>,
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
        views.permit_ms.push(ms_since(began));
        let track = view.tracks.get(n % view.tracks.len().max(1)).context("nothing to be seen")?;

        let began = Instant::now();
        let path = format!("/views/{}/{}.mp4", view.view_id, track.name);
        let mut response = client.get(&path).await?;
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
    }
    Ok(views)
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
