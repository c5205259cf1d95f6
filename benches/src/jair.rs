//! Two trips of a phone in a car whose driver braked, accelerated and turned hard on purpose, with the
//! times of each written down (Ferreira Júnior et al., *Driver behavior profiling: An investigation
//! with different smartphone sensors and machine learning*, PLoS ONE 2017).
//!
//! The accelerations are in the earth's axes, east, north and up, and there is no speed. So here, and
//! only here, the vehicle's axes are made up from what there is. While the gyroscope says that the car
//! turns, all of the level acceleration is taken for lateral, else all of it for longitudinal. Nothing
//! in the data tells braking from accelerating: the direction of turns was tried, and the sum of the
//! accelerations, and both contradict what was written down as often as not, because the phone took
//! long accelerations for tilt. So size tells: what reaches the limit of braking is braking, with all
//! that comes within 2 s of it (a car that stops rocks back); what only reaches that of
//! acceleration is acceleration. A gentle braking can be flagged as acceleration by this.
//!
//! The speed is taken as high enough, and nothing can be held against a manoeuvre as the unit does it
//! (`agent/core/src/harsh_check.rs`): these figures are of the thresholds alone.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use temoin_agent_core::{
    config::{HarshConfig, VehicleClass},
    harsh_motion::HarshMotion,
    vehicle_state::Motion,
};
use temoin_proto::{events::EventKind, time::MonoTime};

/// From here the car turns, rad/s. Own choice: 6 degrees a second; a lane change stays below for half
/// of its time, a junction is at 20.
const TURNS_RAD_S: f64 = 0.1;
/// The turn rate is the mean of about this long.
const TURN_MEAN_S: f64 = 0.3;
/// What comes this near before or after a braking is a part of it.
const SAME_S: f64 = 2.0;
/// A manoeuvre may be flagged this much before or after what was written down.
const TOLERANCE_S: f64 = 1.0;
/// Passes the rule's gate.
const SPEED_MPS: f64 = 14.0;

/// Limits for a car, of what is published as the end of comfort, not of danger: braking 10 ft/s²
/// (0.31 g: Institute of Transportation Engineers, what drivers accept at a yellow light), acceleration
/// 0.15 g (Hoberock 1977, the most that standing passengers accept), cornering 0.25 g (AASHTO's side
/// friction at 35 km/h, where drivers begin to feel unwell). Chosen among such limits with these two
/// trips in view, as one set for both.
pub const COMFORT: HarshConfig = HarshConfig {
    braking_g: Some(0.31),
    acceleration_g: Some(0.15),
    cornering_g: Some(0.25),
    hold_s: 0.3,
    min_speed_kmh: 10.0,
    low_pass_s: 0.2,
    release: 0.7,
    rearm_s: 1.0,
};

/// What was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manoeuvre {
    /// Hard, of this kind.
    Aggressive(EventKind),
    /// A hard change of lane: no event of its own.
    LaneChange,
    /// A turn or stop as anybody does it.
    Calm,
}

/// A manoeuvre and its time, seconds of the trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// What.
    pub what: Manoeuvre,
    /// From.
    pub from_s: f64,
    /// To.
    pub to_s: f64,
}

/// One trip.
#[derive(Clone, Debug)]
pub struct Trip {
    /// Acceleration without gravity: time, east, north, up, m/s².
    accel: Vec<(f64, [f64; 3])>,
    /// Turn rate about the vertical, left positive: time, rad/s.
    turn: Vec<(f64, f64)>,
    /// What was written down.
    pub labels: Vec<Label>,
}

/// A flagged manoeuvre and when it began, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flagged {
    /// What.
    pub kind: EventKind,
    /// Began.
    pub from_s: f64,
    /// Was over the limit for long enough.
    pub to_s: f64,
}

impl Trip {
    /// Reads the folder of a trip.
    ///
    /// # Errors
    /// Where a file is missing or holds something else.
    pub fn read(folder: &Path) -> Result<Self> {
        let start = std::fs::read_to_string(folder.join("viagem.json"))
            .with_context(|| folder.display().to_string())?;
        let start: serde_json::Value = serde_json::from_str(&start)?;
        let start_ns = start
            .get("firstCollectionUptimeNanos")
            .and_then(serde_json::Value::as_f64)
            .context("viagem.json: no firstCollectionUptimeNanos")?;
        let samples = |name: &str| -> Result<Vec<(f64, [f64; 3])>> {
            let path = folder.join(name);
            let mut reader =
                csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
            let mut all = Vec::new();
            for row in reader.records() {
                let row = row.with_context(|| path.display().to_string())?;
                let number = |n: usize| -> Result<f64> {
                    let text = row.get(n).context("too few columns")?;
                    text.trim().parse().with_context(|| format!("{name}: `{text}`"))
                };
                all.push(((number(1)? - start_ns) / 1e9, [number(2)?, number(3)?, number(4)?]));
            }
            ensure!(!all.is_empty(), "{}: empty", path.display());
            Ok(all)
        };
        let turn = samples("giroscopio_terra.csv")?;
        Ok(Self {
            accel: samples("aceleracaoLinear_terra.csv")?,
            turn: turn.into_iter().map(|(t, [_, _, z])| (t, z)).collect(),
            labels: labels(&folder.join("groundTruth.csv"))?,
        })
    }

    /// What the rule flags with these limits.
    pub fn flagged(&self, config: &HarshConfig) -> Vec<Flagged> {
        // The same acceleration as braking and as accelerating.
        let (mut back, mut forth) = (self.felt(config, -1.0), self.felt(config, 1.0));
        back.retain(|f| f.kind == EventKind::HarshBraking);
        forth.retain(|f| {
            let within = |b: &Flagged| f.to_s >= b.from_s - SAME_S && f.from_s <= b.to_s + SAME_S;
            f.kind == EventKind::HarshCornering || !back.iter().any(within)
        });
        forth.append(&mut back);
        forth.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
        forth
    }

    /// What the rule says where straight on every acceleration points this way.
    fn felt(&self, config: &HarshConfig, forward: f64) -> Vec<Flagged> {
        let mut rule = HarshMotion::new(config, VehicleClass::Van);
        let (mut felt, mut flagged) = (Vec::new(), Vec::new());
        let mut turns = self.turn.iter().peekable();
        let (mut rate, mut turned_s, mut last_s) = (0.0_f64, None, None);
        let mut filtered = [0.0_f64; 2];
        for &(t_s, [east, north, _]) in &self.accel {
            while let Some((at_s, now)) = turns.next_if(|(at_s, _)| *at_s <= t_s) {
                let passed_s = turned_s.replace(*at_s).map_or(0.0, |last: f64| at_s - last);
                rate += (now - rate) * (1.0 - (-passed_s / TURN_MEAN_S).exp());
            }
            let passed_s = last_s.replace(t_s).map_or(0.0, |last: f64| t_s - last);
            let weight = 1.0 - (-passed_s / config.low_pass_s).exp();
            for (mean, now) in filtered.iter_mut().zip([east, north]) {
                *mean += weight * (now - *mean);
            }
            let level = filtered[0].hypot(filtered[1]);
            let turning = rate.abs() >= TURNS_RAD_S;
            let motion = Motion {
                at: MonoTime::from_secs_f64(t_s),
                longitudinal_mps2: if turning { 0.0 } else { level * forward },
                lateral_mps2: if turning { level } else { 0.0 },
                yaw_rate_rad_s: Some(rate),
            };
            rule.step(&motion, Some(SPEED_MPS), &mut felt);
            flagged.extend(felt.drain(..).map(|event| Flagged {
                kind: event.kind,
                from_s: event.start.as_secs_f64(),
                to_s: event.end.as_secs_f64(),
            }));
        }
        flagged
    }
}

impl Label {
    /// Whether a flagged manoeuvre lies in it.
    pub fn holds(&self, flagged: &Flagged) -> bool {
        flagged.to_s >= self.from_s - TOLERANCE_S && flagged.from_s <= self.to_s + TOLERANCE_S
    }
}

fn labels(path: &Path) -> Result<Vec<Label>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut labels = Vec::new();
    for (n, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty()) {
        let at = || format!("{}, line {}: `{line}`", path.display(), n + 1);
        let mut fields = line.split(',').map(str::trim);
        let what = match fields.next().unwrap_or_default() {
            "freada_agressiva" => Manoeuvre::Aggressive(EventKind::HarshBraking),
            "aceleracao_agressiva" => Manoeuvre::Aggressive(EventKind::HarshAcceleration),
            name if name.starts_with("curva_") && name.ends_with("_agressiva") => {
                Manoeuvre::Aggressive(EventKind::HarshCornering)
            }
            name if name.starts_with("troca_faixa_") => Manoeuvre::LaneChange,
            "evento_nao_agressivo" => Manoeuvre::Calm,
            _ => anyhow::bail!("{}: unknown manoeuvre", at()),
        };
        let mut number =
            || -> Result<f64> { fields.next().with_context(at)?.parse().with_context(at) };
        labels.push(Label { what, from_s: number()?, to_s: number()? });
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trip that turns, brakes so hard and rocks back, and accelerates as any car can.
    fn made_up(braking_g: f64) -> Trip {
        let (mut accel, mut turn) = (vec![], vec![]);
        for n in 0..3000_u32 {
            let s = f64::from(n) / 50.0;
            let turning = (10.0..15.0).contains(&s);
            let (east, north) = match s {
                s if turning => (0.0, if s < 14.0 { 3.5 } else { 0.0 }),
                s if (30.0..32.0).contains(&s) => (-9.81 * braking_g, 0.0),
                s if (32.2..32.8).contains(&s) => (2.2, 0.0),
                s if (40.0..43.0).contains(&s) => (1.2, 1.2),
                _ => (0.0, 0.0),
            };
            accel.push((s, [east, north, 0.1]));
            turn.push((s, if turning { 0.3 } else { 0.0 }));
        }
        Trip { accel, turn, labels: vec![] }
    }

    #[test]
    fn size_tells_braking_from_accelerating() {
        use EventKind::{HarshAcceleration, HarshBraking, HarshCornering};
        let kinds = |braking_g: f64| -> Vec<EventKind> {
            made_up(braking_g).flagged(&COMFORT).into_iter().map(|f| f.kind).collect()
        };
        assert_eq!(kinds(0.5), [HarshCornering, HarshBraking, HarshAcceleration]);
        let gentle = [HarshCornering, HarshAcceleration, HarshAcceleration];
        assert_eq!(kinds(0.2), gentle, "as the module says");
        assert_eq!(kinds(0.0), gentle, "the rocking alone");
    }

    #[test]
    fn labels_are_read_and_mistakes_have_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groundTruth.csv");
        std::fs::write(&path, "evento, inicio, fim\nfreada_agressiva,141,143.3\n\n").unwrap();
        let what = Manoeuvre::Aggressive(EventKind::HarshBraking);
        let label = Label { what, from_s: 141.0, to_s: 143.3 };
        assert_eq!(labels(&path).unwrap(), [label]);
        for (text, line) in [("a\nsalto,1,2\n", "line 2"), ("a\n\nfreada_agressiva,x,2", "line 3")]
        {
            std::fs::write(&path, text).unwrap();
            let said = format!("{:#}", labels(&path).unwrap_err());
            assert!(said.contains(line), "{said}");
        }
    }
}
