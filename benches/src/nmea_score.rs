//! Logs of real receivers against an independent decoder: gpsd's own, `gpsdecode`.
//!
//! A log is read as a unit reads it: by our own decoders where it holds a position in NMEA or UBX,
//! else through a real gpsd and our source of it (`through_gpsd`). gpsd then decodes on both
//! sides, so that this shows that our source loses and changes nothing, and no more.
//!
//! A log *agrees* where, of all that it says:
//! - every epoch with a position that `gpsdecode` tells is told by us, at the same time of day;
//! - every fix of ours has a report of its time of day within `PLACE_M` and `SPEED_MPS` of it, but
//!   for `EDGES`: `gpsdecode` tells an epoch when the next one begins, so it leaves out the last of
//!   a log and the last before a gap;
//! - where the log itself states two figures for one moment, both are right;
//! - dates are the same but for whole rollovers of the GPS week. gpsd adds 1024 weeks to dates that lie
//!   before its own build, also to a log of 2005 that is right; we pass on what the receiver says.
//!
//! Where neither tells any time (a receiver may send a place and no more), one is compared with the
//! other in the order in which they come.
//!
//! What is compared is what was decoded: also what the receiver does not vouch for, which a unit
//! refuses and gpsd may not. And only what the log states (`stated`): not what gpsd reckons of it.
//!
//! INVARIANT: the limit counts every log in which `gpsdecode` finds a position, in whatever protocol.
//! What does not agree is named, with the first reason; so is what was not compared.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use temoin_hw::receiver::{Receiver, ReceiverFix};
use temoin_proto::geo::LatLon;

use self::stated::{Stated, reported};
use crate::figures::Figure;

mod stated;
mod through_gpsd;

/// Two sentences of one epoch differ by less where they are rounded, metres.
const PLACE_M: f64 = 0.5;
/// A tenth of a knot, in which most receivers tell it.
const SPEED_MPS: f64 = 0.05;
/// Times of day are told in hundredths by many receivers, milliseconds.
const TIME_MS: i64 = 10;
/// So many fixes of ours may lie at an edge of the log or of a gap.
const EDGES: usize = 3;
const DAY_MS: i64 = 86_400_000;
/// A rollover of the GPS week: 1024 weeks.
const ROLLOVER_MS: i64 = 1024 * 7 * DAY_MS;

/// The figures of all logs in `data/nmea`, and what is to be said of them.
///
/// # Errors
/// Where a log cannot be read, or gpsd or `gpsdecode` fails on one.
pub fn nmea(data: &Path) -> Result<(Vec<Figure>, Vec<String>)> {
    const SET: &str = "gpsd's logs of real receivers";
    let mut logs: Vec<_> = fs::read_dir(data.join("nmea"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect();
    logs.sort();
    let oracle = Command::new("gpsdecode").arg("-V").output().is_ok();
    let daemon = oracle && through_gpsd::installed();
    let (mut notes, mut with_position, mut with_fix) = (Vec::new(), 0, 0);
    let (mut judged, mut agreeing, mut agreeing_direct) = (0, 0, 0);
    for path in &logs {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        let ours = in_order(fixes(&bytes).into_iter().map(|fix| vec![fix]).collect());
        if bytes.split(|b| *b == b'\n').any(valid_position) {
            with_position += 1;
            with_fix += usize::from(ours.iter().any(|fix| fix.vouched));
        }
        if !oracle {
            continue;
        }
        let theirs = decoded(path)?;
        if theirs.is_empty() {
            continue;
        }
        judged += 1;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut note = |text: String| notes.push(format!("motion.nmea.logs_agreeing: {text}"));
        let stated = Stated::of(&bytes);
        let why = if stated.position {
            let (theirs, reckoned) = stated.speeds_alone(theirs);
            if reckoned > 0 {
                note(format!(
                    "{name}: gpsd reckoned the speed in {reckoned} reports; it is not compared"
                ));
            }
            let refused = ours.iter().filter(|fix| !fix.vouched).count();
            if refused > 0 {
                let all = ours.len();
                note(format!("{name}: a unit refuses {refused} of {all}, as the receiver does"));
            }
            let why = stated.foreign_speed(&ours).or_else(|| compare(&ours, &theirs, &stated));
            agreeing_direct += usize::from(why.is_none());
            why
        } else if daemon {
            let through = through_gpsd::fixes(&bytes)
                .with_context(|| format!("`{}` through gpsd", path.display()))?;
            let through = in_order(through.into_iter().map(|fix| vec![fix]).collect());
            note(format!("{name}: read through gpsd, {} fixes", through.len()));
            compare(&through, &theirs, &stated)
        } else {
            continue;
        };
        match why {
            None => agreeing += 1,
            Some(why) => note(format!("not {name}: {why}")),
        }
    }
    let of = |name: &'static str, n: usize, limit: usize, count: usize| {
        Figure::new(name, n as f64, "logs", count, SET).limit(limit as f64)
    };
    let mut figures = vec![
        of("gnss.nmea_parsed", logs.len(), logs.len(), logs.len()),
        of("gnss.nmea_with_fix", with_fix, with_position, logs.len()),
    ];
    if oracle {
        figures.push(of("motion.nmea.logs_agreeing_direct", agreeing_direct, judged, logs.len()));
    }
    if daemon {
        figures.push(of("motion.nmea.logs_agreeing", agreeing, judged, logs.len()));
    } else {
        let what = if oracle { "gpsd" } else { "gpsdecode" };
        notes.push(format!(
            "motion.nmea.logs_agreeing: not scored without {what}; install the Debian packages gpsd \
             and gpsd-clients"
        ));
    }
    Ok((figures, notes))
}

/// Everything that a log says, by us; also what the receiver does not vouch for, which a unit does
/// not take for a fix.
fn fixes(bytes: &[u8]) -> Vec<ReceiverFix> {
    let (mut receiver, mut out) = (Receiver::new(), Vec::new());
    for byte in bytes {
        receiver.push(*byte);
        out.extend(receiver.pop_decoded());
    }
    receiver.finish();
    out.extend(std::iter::from_fn(|| receiver.pop_decoded()));
    out
}

/// Everything that a log says, by gpsd.
fn decoded(log: &Path) -> Result<Vec<ReceiverFix>> {
    let input = File::open(log).with_context(|| log.display().to_string())?;
    let said = Command::new("gpsdecode").stdin(input).stderr(Stdio::null()).output()?;
    ensure!(said.status.success(), "gpsdecode fails on `{}`", log.display());
    let text = String::from_utf8_lossy(&said.stdout);
    Ok(in_order(text.lines().map(reported).collect()))
}

/// Why they do not agree; None where they do.
fn compare(ours: &[ReceiverFix], theirs: &[ReceiverFix], stated: &Stated) -> Option<String> {
    let mut epochs: BTreeMap<i64, Vec<&ReceiverFix>> = BTreeMap::new();
    for fix in theirs {
        if let Some(time) = fix.time_of_day_ms {
            epochs.entry(time).or_default().push(fix);
        }
    }
    if ours.is_empty() {
        return Some(format!("{} epochs with a position, none by us", epochs.len().max(1)));
    }
    let near = |time: i64| (time - TIME_MS).max(0)..=(time + TIME_MS).min(DAY_MS - 1);
    let (mut alone, mut wrong) = (0, Vec::new());
    for fix in ours {
        let same_time: Vec<&&ReceiverFix> = fix
            .time_of_day_ms
            .map(|time| epochs.range(near(time)).flat_map(|(_, fixes)| fixes).collect())
            .unwrap_or_default();
        if same_time.is_empty() {
            // gpsd may refuse what the receiver does not vouch for.
            alone += usize::from(fix.vouched);
            continue;
        }
        let least = |off: &dyn Fn(&ReceiverFix) -> Option<f64>| {
            let off = same_time.iter().filter_map(|other| off(other));
            off.min_by(f64::total_cmp).unwrap_or(0.0)
        };
        let place_m = least(&|other| Some(distance_m(fix, other)));
        let speed_mps = least(&|o| Some((fix.speed_mps? - o.speed_mps?).abs()));
        let date_ms = least(&|o| {
            let off = (fix.utc_unix_ms? - o.utc_unix_ms?).rem_euclid(ROLLOVER_MS);
            Some(off.min(ROLLOVER_MS - off) as f64)
        });
        let differ = place_m > PLACE_M || speed_mps > SPEED_MPS;
        if differ && same_time.iter().any(|other| stated.contradicts_itself(fix, other)) {
            // The receiver states both.
        } else if place_m > PLACE_M {
            wrong.push(format!("a position {place_m:.1} m off"));
        } else if speed_mps > SPEED_MPS {
            wrong.push(format!("a speed {speed_mps:.2} m/s off"));
        } else if date_ms > 1000.0 {
            wrong.push(format!("a date {:.1} days off", date_ms / DAY_MS as f64));
        }
    }
    let told = |time: i64| {
        let mut times = ours.iter().filter_map(|f| f.time_of_day_ms);
        times.any(|t| (t - time).abs() <= TIME_MS)
    };
    let missed = epochs.keys().filter(|time| !told(**time)).count();
    match wrong.first() {
        Some(first) => Some(format!("{first}; {} of {} fixes are wrong", wrong.len(), ours.len())),
        None if missed > 0 => Some(format!("{missed} of {} epochs are not told", epochs.len())),
        None if alone > EDGES => Some(format!("{alone} of {} fixes are ours alone", ours.len())),
        None => None,
    }
}

/// Reports of a receiver that tells no time at all, each a second after the one before; all others
/// as they are.
fn in_order(mut reports: Vec<Vec<ReceiverFix>>) -> Vec<ReceiverFix> {
    if reports.iter().flatten().all(|fix| fix.time_of_day_ms.is_none()) {
        for (report, time) in reports.iter_mut().zip((0..DAY_MS).step_by(1000)) {
            report.iter_mut().for_each(|fix| fix.time_of_day_ms = Some(time));
        }
    }
    reports.into_iter().flatten().collect()
}

fn distance_m(a: &ReceiverFix, b: &ReceiverFix) -> f64 {
    let place = |f: &ReceiverFix| LatLon { lat_deg: f.lat_deg, lon_deg: f.lon_deg };
    place(a).way_to(place(b)).length_m()
}

/// Whether a line is an RMC sentence that calls itself valid (status `A`).
fn valid_position(line: &[u8]) -> bool {
    let mut fields = line.split(|b| *b == b',');
    let rmc =
        fields.next().is_some_and(|f| f.len() == 6 && f.starts_with(b"$") && f.ends_with(b"RMC"));
    rmc && fields.nth(1) == Some(b"A")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a log that states one figure for each moment.
    fn compare(ours: &[ReceiverFix], theirs: &[ReceiverFix]) -> Option<String> {
        super::compare(ours, theirs, &Stated::of(b""))
    }

    fn fix(second: i64) -> ReceiverFix {
        let utc = 1_594_507_000_000 + second * 1000;
        ReceiverFix {
            time_of_day_ms: Some(utc.rem_euclid(DAY_MS)),
            utc_unix_ms: Some(utc),
            speed_mps: Some(10.0),
            ..ReceiverFix::new(54.0, 7.0)
        }
    }

    #[test]
    fn what_agrees_and_what_does_not() {
        let theirs: Vec<_> = (1..10).map(fix).collect();
        let ours: Vec<_> = (0..11).map(fix).collect();
        assert_eq!(compare(&ours, &theirs), None);
        // The same recording, as gpsd dates it.
        let rolled: Vec<_> = theirs
            .iter()
            .map(|f| ReceiverFix { utc_unix_ms: f.utc_unix_ms.map(|t| t + ROLLOVER_MS), ..*f })
            .collect();
        assert_eq!(compare(&ours, &rolled), None);
        let with = |change: &dyn Fn(&mut ReceiverFix)| {
            let mut ours = ours.clone();
            change(ours.get_mut(5).unwrap());
            compare(&ours, &theirs).unwrap_or_default()
        };
        assert!(with(&|f| f.lat_deg += 1e-5).contains("1.1 m"));
        assert!(with(&|f| f.speed_mps = Some(10.1)).contains("0.10 m/s"));
        assert!(with(&|f| f.utc_unix_ms = f.utc_unix_ms.map(|t| t + DAY_MS)).contains("1.0 days"));
        // One that the receiver does not vouch for is compared, but need not be told by gpsd.
        assert!(with(&|f| (f.vouched, f.lat_deg) = (false, 53.0)).contains("m off"));
        let refused: Vec<_> = (0..14).map(|n| ReceiverFix { vouched: n < 10, ..fix(n) }).collect();
        assert_eq!(compare(&refused, &theirs), None);
        assert_eq!(compare(&ours[..5], &theirs), Some("5 of 9 epochs are not told".to_owned()));
        let timeless =
            |n: i64| vec![ReceiverFix { time_of_day_ms: None, utc_unix_ms: None, ..fix(n) }; 2];
        let (a, b) = (in_order((0..9).map(timeless).collect()), in_order(vec![timeless(0)]));
        assert_eq!((a.len(), compare(&a, &a)), (18, None));
        assert_eq!(compare(&b, &a), Some("8 of 9 epochs are not told".to_owned()));
        assert!(compare(&a, &theirs).is_some(), "no time where gpsd has one");
        assert_eq!(compare(&[], &theirs), Some("9 epochs with a position, none by us".to_owned()));
        let many: Vec<_> = (0..14).map(fix).collect();
        assert!(compare(&many, &theirs).is_some_and(|why| why.contains("ours alone")));
    }

    #[test]
    fn only_valid_sentences_promise_a_position() {
        for (line, want) in [
            (&b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r"[..], true),
            (b"$GPRMC,123519,V,,,,,,,230394,,*2A", false),
            (b"$GPGGA,123519,A", false),
            (b"junk $GPRMC,1,A", false),
            (b"", false),
        ] {
            assert_eq!(valid_position(line), want, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn real_receivers() {
        let Some(data) = crate::machine::recordings().unwrap() else {
            println!("skipped: no recordings in shared/data beside the checkout");
            return;
        };
        let (figures, notes) = nmea(&data).unwrap();
        println!("{}\n{}", crate::figures::table(&figures), notes.join("\n"));
        let with_fix = figures.iter().find(|f| f.name == "gnss.nmea_with_fix").unwrap();
        assert_eq!(Some(with_fix.value), with_fix.limit);
        // Lower than what is reached: versions of gpsd differ in what they reckon.
        for (name, least) in
            [("motion.nmea.logs_agreeing_direct", 50.0), ("motion.nmea.logs_agreeing", 60.0)]
        {
            if let Some(agreeing) = figures.iter().find(|f| f.name == name) {
                assert!(agreeing.value >= least, "{agreeing:?}");
            }
        }
    }
}
