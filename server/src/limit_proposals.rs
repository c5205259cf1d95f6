//! 'The limit is wrong here': a driver proposes, the fleet administrator decides, and what was
//! accepted is written as the corrections file of the units.
//!
//! INVARIANT: who decides is shown a place, limits and the driver's words, and neither who it was
//! nor when to the hour: administering gives no right to know where somebody drove.

use std::fmt::Write as _;

use temoin_proto::{events::EventKind, geo::LatLon, ids::EventId, wire::PositionPoint};

use crate::{
    app::App,
    authn::Session,
    authz::{Asker, EventAct, EventFacts, FleetAct},
    contest::written,
    db::{
        acts::Act,
        events::{ClipState, StoredEvent},
        limits::{Place, Proposal, ProposalRow},
        users::User,
    },
    error::AppError,
    log::action,
};

/// Limits that can be proposed, km/h.
pub const LIMITS_KMH: std::ops::RangeInclusive<f64> = 5.0..=200.0;
/// Most proposals on the page.
const PAGE: u32 = 500;
/// A position this far in time from the middle of the event is not its place, milliseconds.
const NEAR_MS: i64 = 3_000;
/// A heading is taken over at least this way, m: three times what a receiver is usually wrong by.
const HEADING_M: f64 = 15.0;

/// What an event's page says of the limit.
#[derive(Debug, Clone, PartialEq)]
pub enum ProposalShown {
    /// Nothing: no speeding, or not this person's to propose.
    Nothing,
    /// The driver cannot propose, for this reason.
    Impossible(&'static str),
    /// The driver can propose another limit.
    Possible,
    /// The driver proposed.
    Made(Box<ProposalRow>),
}

/// The limit that the unit took, km/h.
fn taken_kmh(event: &StoredEvent) -> Option<f64> {
    event.record.numbers.iter().find(|n| n.name == "limit").map(|n| n.value)
}

fn why_impossible(event: &StoredEvent) -> Option<&'static str> {
    match event.clip {
        ClipState::Ready { .. } => None,
        ClipState::Waiting => Some(
            "The place is in the recording, which is still on its way. Come back when it is here.",
        ),
        ClipState::Absent(_) => Some(
            "The place of an event is known from its recording only, and there is none. You can contest the event.",
        ),
    }
}

impl App {
    /// What the page of this event says of the limit.
    pub(crate) async fn limit_shown(
        &self,
        who: &Asker,
        event: &StoredEvent,
    ) -> Result<ProposalShown, AppError> {
        let facts = EventFacts::from(event);
        if event.record.kind != EventKind::Speeding
            || !self.authz().event(who, EventAct::ProposeLimit, &facts)?
        {
            return Ok(ProposalShown::Nothing);
        }
        if let Some(made) = self.db().limit_proposal_of(event.record.id).await? {
            return Ok(ProposalShown::Made(Box::new(made)));
        }
        Ok(why_impossible(event).map_or(ProposalShown::Possible, ProposalShown::Impossible))
    }

    /// The driver proposes another limit for where the event took place; none: nobody knows it.
    /// The place is read from the recording, which the access log shows as a view by the driver.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn propose_limit(
        &self,
        session: &Session,
        id: EventId,
        proposed_kmh: Option<f64>,
        words: &str,
    ) -> Result<(), AppError> {
        let who = self.asker(&session.user).await?;
        let event = self.permitted_event(&who, id).await?;
        match self.limit_shown(&who, &event).await? {
            ProposalShown::Possible => {}
            ProposalShown::Impossible(why) => return Err(AppError::Refused(why)),
            ProposalShown::Made(_) => {
                return Err(AppError::Refused("You have proposed a limit for this event already."));
            }
            ProposalShown::Nothing => {
                return Err(AppError::Refused(
                    "Only the driver can propose another limit, and only where one was exceeded.",
                ));
            }
        }
        if proposed_kmh.is_some_and(|kmh| !LIMITS_KMH.contains(&kmh)) {
            return Err(AppError::Invalid(format!(
                "A limit has {:.0} to {:.0} km/h. Go back and correct it.",
                LIMITS_KMH.start(),
                LIMITS_KMH.end()
            )));
        }
        let words = if words.trim().is_empty() { String::new() } else { written(words, "")? };
        let place = self.event_place(session, &event).await?.ok_or(AppError::Refused(
            "The recording has no position at the time of the event, so nobody could find the place. You can contest the event.",
        ))?;
        let proposal = Proposal { place, taken_kmh: taken_kmh(&event), proposed_kmh, words };
        // Without the event: who decides learns no more than the place and the day.
        let act = Act::new(action("limit_proposed")?, Some(who.user.id), who.now_ms);
        self.log().record(self.db(), &Act { driver: act.actor, ..act }).await?;
        if self.db().add_limit_proposal(id, who.user.id, &proposal, who.now_ms).await? {
            Ok(())
        } else {
            Err(AppError::Refused("You have proposed a limit for this event already."))
        }
    }

    /// All proposals, those that wait first.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who does not decide.
    pub async fn limit_proposals(&self, who: &User) -> Result<Vec<ProposalRow>, AppError> {
        self.decides(who).await?;
        Ok(self.db().limit_proposals(PAGE).await?)
    }

    /// Accepts or refuses a proposal.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Refused`], [`AppError::Invalid`].
    pub async fn decide_limit(
        &self,
        who: &User,
        id: i64,
        accepted: bool,
        reason: &str,
    ) -> Result<(), AppError> {
        self.decides(who).await?;
        // What is refused wants a reason: the driver reads it.
        let reason = if accepted && reason.trim().is_empty() {
            String::new()
        } else {
            written(reason, "The reason")?
        };
        const NONE: AppError =
            AppError::Refused("There is no such proposal that waits for a decision.");
        let driver = self.db().waiting_proposal(id).await?.ok_or(NONE)?;
        let now_ms = self.now_ms();
        let act = Act::new(action("limit_decided")?, Some(who.id), now_ms);
        self.log().record(self.db(), &Act { driver: Some(driver), ..act }).await?;
        if self.db().decide_limit_proposal(id, accepted, &reason, who.id, now_ms).await? {
            Ok(())
        } else {
            Err(NONE)
        }
    }

    /// The accepted proposals as the corrections file of the units.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for who does not decide.
    pub async fn overrides_file(&self, who: &User) -> Result<String, AppError> {
        self.decides(who).await?;
        Ok(overrides_toml(&self.db().accepted_limits().await?))
    }

    async fn decides(&self, who: &User) -> Result<(), AppError> {
        if self.authz().fleet(&self.asker(who).await?, FleetAct::CorrectLimits)? {
            Ok(())
        } else {
            Err(AppError::NotFound)
        }
    }
}

/// The file that `temoin-agent` reads: version 1, a table for each place. A later correction of the
/// same place comes later and wins.
fn overrides_toml(accepted: &[ProposalRow]) -> String {
    let mut out =
        String::from("# Corrections of speed limits that this fleet accepted.\nversion = 1\n");
    for row in accepted {
        let Place { lat_deg, lon_deg, heading_deg } = row.proposal.place;
        let limit = row
            .proposal
            .proposed_kmh
            .map_or_else(|| "unknown = true".to_owned(), |kmh| format!("kmh = {kmh}"));
        // Writing to a string cannot fail.
        let _written = write!(
            out,
            "\n[[limit]]\nlat_deg = {lat_deg:.6}\nlon_deg = {lon_deg:.6}\nheading_deg = {heading_deg:.0}\n{limit}\nnote = \"proposal {}\"\n",
            row.id
        );
    }
    out
}

/// The place in the middle of an event, and where the vehicle drove there. None where no position
/// is near enough in time, or the vehicle moved too little for a heading. Times are milliseconds of
/// the recording.
pub(crate) fn place_of(points: &[PositionPoint], event_ms: (u64, u64)) -> Option<Place> {
    let middle = i64::try_from(event_ms.0.midpoint(event_ms.1)).ok()?;
    let near: Vec<_> = points
        .iter()
        .filter(|p| {
            (-90.0..=90.0).contains(&p.lat_deg)
                && (-180.0..=180.0).contains(&p.lon_deg)
                && (i64::from(p.offset_ms) - middle).abs() <= NEAR_MS
        })
        .collect();
    let at = near.iter().min_by_key(|p| (i64::from(p.offset_ms) - middle).abs())?;
    let (first, last) =
        (near.iter().min_by_key(|p| p.offset_ms)?, near.iter().max_by_key(|p| p.offset_ms)?);
    let place = |p: &PositionPoint| LatLon { lat_deg: p.lat_deg, lon_deg: p.lon_deg };
    let way = place(first).way_to(place(last));
    (way.length_m() >= HEADING_M).then(|| Place {
        lat_deg: at.lat_deg,
        lon_deg: at.lon_deg,
        heading_deg: way.bearing_deg(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point each second of a drive over ground from 44° N 26° E, m per second north and east.
    fn drive(north: f64, east: f64) -> Vec<PositionPoint> {
        (0..20)
            .map(|s| PositionPoint {
                offset_ms: s * 1000,
                lat_deg: 44.0 + f64::from(s) * north / 111_200.0,
                lon_deg: 26.0 + f64::from(s) * east / (111_200.0 * 44.0_f64.to_radians().cos()),
            })
            .collect()
    }

    #[test]
    fn the_place_is_the_middle_of_the_event_with_its_heading() {
        for (north, east, heading) in
            [(20.0, 0.0, 0.0), (0.0, 20.0, 90.0), (-14.0, -14.0, 225.0), (14.0, -14.0, 315.0)]
        {
            let place = place_of(&drive(north, east), (6_000, 14_000)).unwrap();
            assert!((place.heading_deg - heading).abs() < 0.5, "{place:?}");
            assert!((place.lat_deg - (44.0 + 10.0 * north / 111_200.0)).abs() < 1e-6);
        }
    }

    #[test]
    fn no_place_is_guessed() {
        let fast = drive(20.0, 0.0);
        for (what, points, event_ms) in [
            ("no position at all", vec![], (0, 10_000)),
            ("none near in time", fast.clone(), (60_000, 90_000)),
            ("it stood", drive(0.5, 0.0), (0, 10_000)),
            ("a time beyond all", fast.clone(), (u64::MAX - 2, u64::MAX)),
            (
                "no coordinates",
                fast.iter().map(|p| PositionPoint { lat_deg: f64::NAN, ..*p }).collect(),
                (6_000, 14_000),
            ),
            (
                "beyond the globe",
                fast.iter().map(|p| PositionPoint { lon_deg: 181.0, ..*p }).collect(),
                (6_000, 14_000),
            ),
        ] {
            assert_eq!(place_of(&points, event_ms), None, "{what}");
        }
    }

    #[test]
    fn the_file_is_what_units_read() {
        let row = |id, proposed_kmh| ProposalRow {
            id,
            proposal: Proposal {
                place: Place { lat_deg: 44.43, lon_deg: -26.1, heading_deg: 89.6 },
                taken_kmh: Some(50.0),
                proposed_kmh,
                words: "\"\n[[limit]]".into(),
            },
            day: 1,
            decision: None,
        };
        assert_eq!(
            overrides_toml(&[row(3, Some(70.0)), row(9, None)]),
            "# Corrections of speed limits that this fleet accepted.\nversion = 1\n\
             \n[[limit]]\nlat_deg = 44.430000\nlon_deg = -26.100000\nheading_deg = 90\nkmh = 70\nnote = \"proposal 3\"\n\
             \n[[limit]]\nlat_deg = 44.430000\nlon_deg = -26.100000\nheading_deg = 90\nunknown = true\nnote = \"proposal 9\"\n"
        );
    }
}
