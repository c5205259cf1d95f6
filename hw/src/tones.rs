//! What the speaker says without words: a tone for each alert, told apart by number, length and pitch.
//!
//! Own choice, after what cars do: the more urgent, the higher, shorter and more often. All lie between
//! 600 and 1800 Hz, where a van's noise hides least and older ears still hear.

use crate::{device::Alert, speaker_alsa::Sound};

/// Samples a second.
pub(crate) const RATE_HZ: u32 = 48_000;
/// How long a tone takes to come and go, s: without, it clicks.
const RAMP_S: f64 = 0.008;

/// Pitch in Hz (0: silence) and length in ms of each part.
fn parts(alert: Alert) -> &'static [(f64, u32)] {
    match alert {
        Alert::EyesClosed => &[
            (1760.0, 120),
            (0.0, 60),
            (1760.0, 120),
            (0.0, 60),
            (1760.0, 120),
            (0.0, 60),
            (1760.0, 300),
        ],
        Alert::Distraction => &[(1320.0, 150), (0.0, 80), (1320.0, 150)],
        Alert::Distance => &[(990.0, 90), (0.0, 60), (990.0, 90), (0.0, 60), (990.0, 90)],
        Alert::Speeding => &[(880.0, 250), (0.0, 120), (660.0, 250)],
        Alert::SeatBelt => &[(660.0, 400), (0.0, 200), (660.0, 400)],
        Alert::Saved => &[(880.0, 100), (1175.0, 160)],
    }
}

/// An alert's tone. `volume` is of the loudest that can be, 0 to 1.
pub(crate) fn of(alert: Alert, volume: f64) -> Sound {
    let rate = f64::from(RATE_HZ);
    let mut samples = Vec::new();
    for (pitch, ms) in parts(alert) {
        let length = ms * RATE_HZ / 1000;
        samples.extend((0..length).map(|n| {
            let (at_s, left_s) = (f64::from(n) / rate, f64::from(length - n) / rate);
            let ramp = (at_s.min(left_s) / RAMP_S).min(1.0);
            let wave = (std::f64::consts::TAU * pitch * at_s).sin();
            #[expect(clippy::cast_possible_truncation, reason = "within its range by `volume`")]
            let sample = (wave * ramp * volume.clamp(0.0, 1.0) * f64::from(i16::MAX)) as i16;
            sample
        }));
    }
    Sound { samples, channels: 1, rate_hz: RATE_HZ }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Alert; 6] = [
        Alert::Distraction,
        Alert::EyesClosed,
        Alert::Speeding,
        Alert::Distance,
        Alert::SeatBelt,
        Alert::Saved,
    ];

    #[test]
    fn no_two_are_alike_none_clicks_and_none_is_louder_than_asked() {
        for alert in ALL {
            let sound = of(alert, 0.5);
            assert!(ALL.iter().all(|other| *other == alert || of(*other, 0.5) != sound));
            let seconds = f64::from(u32::try_from(sound.samples.len()).unwrap()) / 48_000.0;
            assert!((0.2..1.1).contains(&seconds), "{alert:?}: {seconds} s");
            let loudest = sound.samples.iter().map(|s| s.unsigned_abs()).max().unwrap();
            assert!((16_000..=16_384).contains(&loudest), "{alert:?}: {loudest}");
            let ends = [sound.samples.first(), sound.samples.last()];
            assert!(ends.iter().all(|s| s.unwrap().unsigned_abs() < 50), "{alert:?}: {ends:?}");
            let silent = of(alert, 0.0);
            assert!(silent.samples.iter().all(|s| *s == 0));
        }
    }
}
