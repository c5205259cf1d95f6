//! What `make bench` measures of a portal must still be what the portal does: the same steps once,
//! small, without any figure. Otherwise a change of the portal breaks the bench unnoticed.

use anyhow::{Context, Result, ensure};
use temoin_benches::viewing;
use temoin_tests::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn views_and_refusals_can_be_measured() -> Result<()> {
    let stage = Stage::new("[video]\nwidth = 320\nheight = 180\nmax_bitrate_kbps = 300").await?;
    let mut agent = stage.drive(&["replay", "--sim", "--speed", "max"])?;
    Stage::finish(&mut agent)?;
    let kai = stage.fleet.signed_in("kai").await?;
    let mut event = None;
    for candidate in kai.all_events("/events").await? {
        if kai.open_view(&candidate, "triage").await?.status().is_success() {
            event = Some(candidate);
            break;
        }
    }
    let event = event.context("no event with a recording")?;
    let views = viewing::measure(&kai, &event, 2).await?;
    let counts =
        [&views.permit_ms, &views.first_byte_ms, &views.authorize_to_first_byte_ms].map(Vec::len);
    ensure!(counts == [2, 2, 2] && views.first_frame_ms.len() == 2, "{views:?}");
    let mia = stage.fleet.signed_in("mia").await?;
    let took = viewing::not_found(&mia, &event, 3).await?;
    ensure!(took.each_ref().map(Vec::len) == [3, 3], "{took:?}");
    ensure!(viewing::not_found(&kai, &event, 1).await.is_err(), "it is there for who may see it");
    ensure!(viewing::bare_aes_gcm_ms(&stage.fleet.server_folder(), 1)? > 0.0);
    Ok(())
}
