//! `retention`: what goes when. Changes nothing: the running server deletes.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};

use super::{open, say};
use crate::{app::system_clock, retention::plan};

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) async fn run(config: &Path, days: u32) -> Result<(), anyhow::Error> {
    let (config, db) = open(config).await?;
    let until_ms = system_clock()().saturating_add(i64::from(days) * DAY_MS);
    let retention = &config.retention;
    let clips = db.aged_clips(retention.came_before_ms(until_ms), None).await?;
    let planned = plan(clips, retention, until_ms);
    for one in &planned {
        let kinds: Vec<_> = one.clip.kinds.iter().map(|kind| kind.as_str()).collect();
        let held = if one.clip.held { "  held: stays" } else { "" };
        say(&format!(
            "{}  clip {}  {}  {}{held}",
            Timestamp::from_millisecond(one.at_ms)?
                .to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%d %H:%M UTC"),
            one.clip.clip,
            one.clip.unit,
            kinds.join(", "),
        ))?;
    }
    let held = planned.iter().filter(|one| one.clip.held).count();
    say(&format!(
        "{} of the recordings go within {days} days, {held} more would but are held",
        planned.len() - held
    ))?;
    let events = db.events_before(retention.records_before_ms(until_ms)).await?;
    say(&format!(
        "{events} events are forgotten within {days} days, with all that belongs to them, once \
         their recordings are gone"
    ))
}
