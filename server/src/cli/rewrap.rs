//! `rewrap`: wraps all clips' keys anew for the fleet's current key, after a rotation.
//!
//! Only the wrapped keys in the database change; no object is touched and no key is seen here. A
//! crash leaves whole batches done and the rest as it was: what is done is known by its key's name,
//! so the command is simply run again.

use std::path::Path;

use temoin_keys::{Answer, Refusal, Request};

use super::{open, say};
use crate::keys::{KeyError, Link};

/// Keys in one transaction.
const BATCH: u32 = 500;

pub(super) async fn run(path: &Path) -> Result<(), anyhow::Error> {
    let (config, db) = open(path).await?;
    let mut link = Link::new(&config.keys_socket());
    let current = link.public().await?.id;
    let (mut done, mut deleted, mut lost) = (0_u64, 0_u64, 0_u64);
    let mut after = None;
    loop {
        let batch = db.wrapped_for_others(&current, after, BATCH).await?;
        let Some((last, _)) = batch.last() else { break };
        after = Some(*last);
        let mut new = Vec::with_capacity(batch.len());
        for (clip, wrapped) in batch {
            let request = Request::Rewrap { clip, wrapped: wrapped.into() };
            match link.ask(&request).await? {
                Answer::Rewrapped(wrapped) => new.push((clip, wrapped.into())),
                Answer::Refused(Refusal::Destroyed) => deleted += 1,
                Answer::Refused(why @ (Refusal::UnknownKey { .. } | Refusal::DoesNotOpen)) => {
                    lost += 1;
                    say(&format!("clip {clip} stays as it is: {why}"))?;
                }
                Answer::Refused(why) => return Err(KeyError::Refused(why).into()),
                Answer::Public(_)
                | Answer::Head(_)
                | Answer::Unwrapped { .. }
                | Answer::Marks(_)
                | Answer::Destroyed
                | Answer::Witnessed => return Err(KeyError::Confused.into()),
            }
        }
        db.replace_wrapped_keys(&new).await?;
        done += new.len() as u64;
    }
    say(&format!("rewrapped {done}, deleted {deleted}, not to be opened {lost}"))?;
    for (key, clips) in db.wrapped_counts().await? {
        let which = if key == current { " (current)" } else { "" };
        say(&format!("key {key}{which}: {clips} clips"))?;
    }
    db.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use temoin_access_log::{Action, Leaf};

    use crate::{
        authz::Role,
        test_fleet::{START_MS, TestFleet, event_at, video},
    };

    #[tokio::test]
    async fn clips_open_after_a_rotation_and_the_old_key_can_go() {
        let fleet = TestFleet::new().await;
        let mut van = fleet.unit("van-1", "north").await;
        let driver = fleet.user("ann", Role::Driver, "north").await;
        fleet.app.db().set_shift(&van.id, driver.id, START_MS - 1000).await.unwrap();
        let mut clips = Vec::new();
        for n in 0..3 {
            let event = event_at(START_MS + n * 100);
            let clip = van.clip(&event, &[(temoin_proto::sealed::TrackName::Road, video(9))]);
            van.deliver(&event, &clip).await;
            clips.push(event.clip.unwrap());
        }
        // One of them is deleted; its row is there again from a backup.
        let mut leaf = Leaf::new(START_MS, Action::DELETE);
        leaf.clip = Some(clips[0]);
        let entry = fleet.app.log().append(leaf).await.unwrap();
        fleet.app.keys().destroy(clips[0], &entry).await.unwrap();

        let config = fleet.config.path("config.toml");
        super::run(&config).await.unwrap();
        fleet.keys.rotate();
        super::run(&config).await.unwrap();
        super::run(&config).await.unwrap();
        fleet.keys.forget_old();
        for (n, clip) in clips.iter().enumerate() {
            let mut leaf = Leaf::new(START_MS, Action::VIEW);
            leaf.clip = Some(*clip);
            let entry = fleet.app.log().append(leaf).await.unwrap();
            let wrapped = fleet.app.db().wrapped_key(*clip).await.unwrap().unwrap();
            let opened = fleet.app.keys().unwrap(*clip, &wrapped, &entry).await;
            assert_eq!(opened.is_ok(), n > 0, "{n}: {opened:?}");
        }
    }
}
