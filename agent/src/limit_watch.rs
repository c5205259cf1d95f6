//! The speed limit and the next stop line at each fix, from the limits file on the unit's disk.
//!
//! INVARIANT: no place and no road is logged. A file that cannot be used leaves the limit unknown and
//! says so in device health; a crash leaves nothing.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use temoin_agent_core::limits::{LimitState, LocalTime, SpeedLimits, StopLine, Vehicle};
use temoin_proto::{
    samples::{GnssFix, Signal},
    time::MonoTime,
};

use crate::{
    config::LimitsConfig,
    health::{HealthBoard, State},
    limits::{MapFile, file::OpenError, read_overrides},
};

/// The part of device health that it speaks for.
const PART: &str = "speed_limits";
/// Without a fix the matcher is asked this often.
const WITHOUT_FIX_EVERY: Duration = Duration::from_secs(1);

/// Why there are no limits.
#[derive(Debug, thiserror::Error)]
pub enum LimitWatchError {
    /// The map or the corrections cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The map is damaged where a correction lies.
    #[error("the limits file is damaged at the place of a correction: {0}")]
    Corrections(temoin_agent_core::limits::LimitsError),
    /// No such time zone.
    #[error("limits.time_zone: {0}: give a name such as `Europe/Bucharest`, and install `tzdata`")]
    Zone(jiff::Error),
}

/// What the map says that is new.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MapNews {
    /// The limit, where it changed.
    pub limit: Option<LimitState>,
    /// The way to the next stop line, at each fix that is good enough to tell.
    pub stop_line: Option<StopLine>,
}

/// See the module.
pub struct LimitWatch {
    limits: SpeedLimits<MapFile>,
    zone: Option<TimeZone>,
    /// The last fix's UTC, and when it was true.
    utc: Option<(MonoTime, i64)>,
    asked: Option<MonoTime>,
    said: Option<LimitState>,
    health: Arc<HealthBoard>,
    damaged: bool,
}

impl LimitWatch {
    /// Opens what the configuration names; `None` where it names no file. What cannot be used is
    /// told in device health.
    pub fn open(config: &LimitsConfig, health: &Arc<HealthBoard>) -> Option<Self> {
        match Self::try_open(config, health) {
            Ok(watch) => watch,
            Err(e) => {
                tracing::warn!(error = %e, "speed limits are unknown");
                health.set(PART, State::Failed, format!("unknown everywhere: {e}"));
                None
            }
        }
    }

    fn try_open(
        config: &LimitsConfig,
        health: &Arc<HealthBoard>,
    ) -> Result<Option<Self>, LimitWatchError> {
        let Some(file) = &config.file else { return Ok(None) };
        let overrides = config.overrides.as_deref().map(read_overrides).transpose()?;
        let zone = config.time_zone.as_deref().map(TimeZone::get).transpose();
        let vehicle = Vehicle { max_mass_kg: config.max_mass_kg };
        let limits =
            SpeedLimits::new(MapFile::open(file)?, &overrides.unwrap_or_default(), vehicle)
                .map_err(LimitWatchError::Corrections)?;
        let nowhere = limits.corrections_nowhere();
        if nowhere.is_empty() {
            health.set(PART, State::Ok, "by the map");
        } else {
            let text = format!("by the map; corrections that name no road: {nowhere:?}");
            health.set(PART, State::Degraded, text);
        }
        Ok(Some(Self {
            limits,
            zone: zone.map_err(LimitWatchError::Zone)?,
            utc: None,
            asked: None,
            said: None,
            health: Arc::clone(health),
            damaged: false,
        }))
    }

    /// Takes a signal, and the speed then.
    pub fn on_signal(&mut self, signal: &Signal, speed_mps: Option<f64>) -> MapNews {
        let (state, stop_line) = match signal {
            Signal::Gnss(fix) => {
                self.keep_utc(fix);
                self.asked = Some(fix.at);
                let local = self.local(fix.at);
                (self.limits.on_fix(fix, local), self.limits.stop_line())
            }
            Signal::Speed(s) => {
                let due = self.asked.is_some_and(|at| s.at.since(at) >= WITHOUT_FIX_EVERY);
                if !due {
                    return MapNews::default();
                }
                self.asked = Some(s.at);
                let local = self.local(s.at);
                (self.limits.without_fix(s.at, speed_mps, local), None)
            }
            Signal::Imu(_) | Signal::Wheels(_) | Signal::Control(_) | Signal::Button(_) => {
                return MapNews::default();
            }
        };
        self.tell_damage();
        let limit = (self.said.replace(state) != Some(state)).then_some(state);
        MapNews { limit, stop_line }
    }

    fn keep_utc(&mut self, fix: &GnssFix) {
        if let Some(utc_ms) = fix.utc_unix_ms {
            self.utc = Some((fix.at, utc_ms));
        }
    }

    /// The local time at `at`, where receiver and configuration tell it.
    fn local(&self, at: MonoTime) -> Option<LocalTime> {
        let (then, utc_ms) = self.utc?;
        let passed = i64::try_from(at.since(then).as_millis()).ok()?;
        let utc = Timestamp::from_millisecond(utc_ms.checked_add(passed)?).ok()?;
        let local = utc.to_zoned(self.zone.clone()?);
        let minute = u16::try_from(local.hour()).ok()? * 60 + u16::try_from(local.minute()).ok()?;
        let weekday = u8::try_from(local.weekday().to_monday_zero_offset()).ok()?;
        Some(LocalTime { weekday, minute })
    }

    /// Says once where the file is damaged, and once when it is not any more.
    fn tell_damage(&mut self) {
        let refused = self.limits.refused().map(ToString::to_string);
        if refused.is_some() == self.damaged {
            return;
        }
        self.damaged = refused.is_some();
        match refused {
            Some(why) => self.health.set(PART, State::Degraded, format!("unknown here: {why}")),
            None => self.health.set(PART, State::Ok, "by the map"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(config: &LimitsConfig) -> (bool, Option<State>) {
        let health = Arc::new(HealthBoard::default());
        let watch = LimitWatch::open(config, &health);
        (watch.is_some(), health.state(PART))
    }

    #[test]
    fn what_cannot_be_used_is_told_and_leaves_limits_unknown() {
        assert_eq!(opened(&LimitsConfig::default()), (false, None));
        let missing = LimitsConfig { file: Some("/nowhere/limits".into()), ..Default::default() };
        assert_eq!(opened(&missing), (false, Some(State::Failed)));
    }
}
