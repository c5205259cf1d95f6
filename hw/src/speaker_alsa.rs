//! The speaker in the cab, through ALSA: a spoken word where there is a file of it, a tone otherwise.
//!
//! Files are WAV of 16 bits with one or two channels, named for what they say (`eyes_closed.wav`). They
//! are read at the start: an alert waits for no disk.
//!
//! INVARIANT: one sound at a time; a more urgent one cuts another short, a less urgent one follows it.
//! Nothing is said that nobody asked for: a fault is silent.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use alsa::{
    Direction, ValueOr,
    pcm::{Access, Format, HwParams, PCM},
};

use crate::{
    device::{Alert, Speaker},
    tones,
};

/// What sounds are called, and so their files; the most urgent first.
const NAMES: [(Alert, &str); 6] = [
    (Alert::EyesClosed, "eyes_closed"),
    (Alert::Distraction, "distraction"),
    (Alert::Distance, "distance"),
    (Alert::Speeding, "speeding"),
    (Alert::SeatBelt, "seat_belt"),
    (Alert::Saved, "saved"),
];
/// How much is handed to the device at once, of a second: a more urgent sound is heard within that and
/// what the device holds.
const PART: u32 = 20;
/// What the device holds, microseconds.
const HELD_US: u32 = 100_000;
/// How long to wait before a speaker that is not there is looked for again.
const REOPEN: Duration = Duration::from_secs(1);
/// Longest sound of a file.
const LONGEST: Duration = Duration::from_secs(10);

/// What is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Of all channels, one after the other.
    pub samples: Vec<i16>,
    /// One or two.
    pub channels: u32,
    /// Samples a second of each channel.
    pub rate_hz: u32,
}

/// What is wrong with a speaker or a sound.
#[derive(Debug, thiserror::Error)]
pub enum SpeakerError {
    /// The device does not play.
    #[error("the speaker `{device}` does not play: {source}")]
    Device {
        /// Its name in ALSA.
        device: String,
        /// Why.
        source: alsa::Error,
    },
    /// A file is no sound.
    #[error("`{}` cannot be played: {what}; a tone is used instead", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// Which speaker, and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeakerWish {
    /// Its name in ALSA: `default`, `plughw:1,0`.
    pub device: String,
    /// The folder of spoken words; without, all are tones.
    pub sounds: Option<PathBuf>,
    /// How loud tones are, 0 to 1.
    pub volume: f64,
}

/// The speaker.
pub struct AlsaSpeaker {
    to: Sender<Alert>,
}

impl AlsaSpeaker {
    /// Starts it, silent. `report` is told how the speaker and its sounds are, each time that changes.
    ///
    /// # Errors
    /// Where its thread cannot be started.
    pub fn start(
        wish: &SpeakerWish,
        mut report: impl FnMut(Result<(), &SpeakerError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sounds, mistakes) = read(wish);
        let device = wish.device.clone();
        let mut tell = move |played: Result<(), &SpeakerError>| match (played, mistakes.first()) {
            (Err(e), _) | (Ok(()), Some(e)) => report(Err(e)),
            (Ok(()), None) => report(Ok(())),
        };
        // A speaker that is not there is known before it is needed.
        let look = move |device: &str| open(device, tones::RATE_HZ, 1).map(drop);
        let mut there = look(&device);
        tell(there.as_ref().copied());
        let (to, told) = channel();
        thread::Builder::new().name("speaker".into()).spawn(move || {
            let mut waiting = None;
            loop {
                let next = match waiting.take() {
                    Some(alert) => Ok(alert),
                    None if there.is_ok() => {
                        told.recv().map_err(|_| RecvTimeoutError::Disconnected)
                    }
                    None => told.recv_timeout(REOPEN),
                };
                let alert = match next {
                    Ok(alert) => alert,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        there = look(&device);
                        if there.is_ok() {
                            tell(Ok(()));
                        }
                        continue;
                    }
                };
                let Some((_, sound)) = sounds.iter().find(|(of, _)| *of == alert) else { continue };
                there = say(&device, alert, sound, &told).map(|next| waiting = next);
                tell(there.as_ref().copied());
            }
        })?;
        Ok(Self { to })
    }

    /// What is wrong with the speaker or its sounds. Makes no sound.
    pub fn mistakes(wish: &SpeakerWish) -> Vec<SpeakerError> {
        let mut mistakes = read(wish).1;
        mistakes.extend(open(&wish.device, tones::RATE_HZ, 1).err());
        mistakes
    }
}

impl Speaker for AlsaSpeaker {
    fn play(&mut self, alert: Alert) -> io::Result<()> {
        self.to.send(alert).map_err(|_| io::Error::other("the speaker's thread ended"))
    }
}

/// How urgent an alert is: 0 is the most.
fn urgency(alert: Alert) -> usize {
    NAMES.iter().position(|(of, _)| *of == alert).unwrap_or(NAMES.len())
}

/// All sounds, and what is wrong with their files.
fn read(wish: &SpeakerWish) -> (Vec<(Alert, Sound)>, Vec<SpeakerError>) {
    let mut mistakes = Vec::new();
    let sounds = NAMES.into_iter().map(|(alert, name)| {
        let path = wish.sounds.as_ref().map(|folder| folder.join(format!("{name}.wav")));
        let spoken = path.filter(|path| path.exists()).and_then(|path| match spoken(&path) {
            Ok(sound) => Some(sound),
            Err(what) => {
                mistakes.push(SpeakerError::File { path, what });
                None
            }
        });
        (alert, spoken.unwrap_or_else(|| tones::of(alert, wish.volume)))
    });
    (sounds.collect(), mistakes)
}

/// A file's sound.
fn spoken(path: &Path) -> Result<Sound, String> {
    let wav = hound::WavReader::open(path).map_err(|e| e.to_string())?;
    let spec = wav.spec();
    if spec.bits_per_sample != 16
        || spec.sample_format != hound::SampleFormat::Int
        || !(1..=2).contains(&spec.channels)
        || !(8000..=48_000).contains(&spec.sample_rate)
    {
        return Err(format!(
            "16 bits, one or two channels and 8000 to 48000 Hz are needed, it has {} bits, {} channels and \
             {} Hz",
            spec.bits_per_sample, spec.channels, spec.sample_rate
        ));
    }
    if u64::from(wav.duration()) > LONGEST.as_secs() * u64::from(spec.sample_rate) {
        return Err(format!("it is longer than {} s", LONGEST.as_secs()));
    }
    let samples = wav.into_samples().collect::<Result<Vec<i16>, _>>().map_err(|e| e.to_string())?;
    Ok(Sound { samples, channels: u32::from(spec.channels), rate_hz: spec.sample_rate })
}

fn open(device: &str, rate_hz: u32, channels: u32) -> Result<PCM, SpeakerError> {
    let opened = || {
        let pcm = PCM::new(device, Direction::Playback, false)?;
        {
            let params = HwParams::any(&pcm)?;
            params.set_channels(channels)?;
            params.set_rate(rate_hz, ValueOr::Nearest)?;
            params.set_format(Format::s16())?;
            params.set_access(Access::RWInterleaved)?;
            params.set_buffer_time_near(HELD_US, ValueOr::Nearest)?;
            pcm.hw_params(&params)?;
        }
        Ok(pcm)
    };
    opened().map_err(|source| SpeakerError::Device { device: device.to_owned(), source })
}

/// Plays a sound to its end, or until a more urgent one comes. Gives back the alert that is to follow.
fn say(
    device: &str,
    alert: Alert,
    sound: &Sound,
    told: &Receiver<Alert>,
) -> Result<Option<Alert>, SpeakerError> {
    let failed = |source| SpeakerError::Device { device: device.to_owned(), source };
    let pcm = open(device, sound.rate_hz, sound.channels)?;
    let io = pcm.io_i16().map_err(failed)?;
    let channels = usize::try_from(sound.channels).unwrap_or(1);
    let part = usize::try_from(sound.rate_hz / PART).unwrap_or(1).max(1) * channels;
    let mut later: Option<Alert> = None;
    for mut part in sound.samples.chunks(part) {
        while !part.is_empty() {
            match io.writei(part) {
                Ok(frames) => part = part.get(frames * channels..).unwrap_or_default(),
                // It ran dry: the processor was late.
                Err(e) => pcm.try_recover(e, true).map_err(failed)?,
            }
        }
        match told.try_recv() {
            Ok(next) if urgency(next) < urgency(alert) => {
                pcm.drop().map_err(failed)?;
                return Ok(Some(next));
            }
            // The same again is being said.
            Ok(next) if next == alert => {}
            Ok(next) => {
                later = later.into_iter().chain([next]).min_by_key(|alert| urgency(*alert));
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }
    pcm.drain().map_err(failed)?;
    Ok(later)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(sounds: Option<&Path>) -> SpeakerWish {
        let device = "no-such-speaker".to_owned();
        SpeakerWish { device, sounds: sounds.map(Path::to_owned), volume: 0.5 }
    }

    fn write(path: &Path, bits: u16, rate: u32, samples: u32) {
        let sample_format = hound::SampleFormat::Int;
        let spec =
            hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: bits, sample_format };
        let mut wav = hound::WavWriter::create(path, spec).unwrap();
        for n in 0..samples {
            wav.write_sample(i8::try_from(n % 100).unwrap()).unwrap();
        }
        wav.finalize().unwrap();
    }

    #[test]
    fn words_are_spoken_where_there_is_a_file_of_them() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("speeding.wav"), 16, 16_000, 8000);
        let (sounds, mistakes) = read(&wish(Some(folder.path())));
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(sounds.len(), NAMES.len());
        for (alert, sound) in sounds {
            if alert == Alert::Speeding {
                assert_eq!((sound.rate_hz, sound.samples.len()), (16_000, 8000));
            } else {
                assert_eq!(sound, tones::of(alert, 0.5));
            }
        }
    }

    #[test]
    fn a_file_that_is_no_sound_gives_a_tone_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("saved.wav"), b"RIFF what is this").unwrap();
        write(&folder.path().join("distance.wav"), 8, 16_000, 100);
        write(&folder.path().join("speeding.wav"), 16, 16_000, 16_000 * 11);
        let (sounds, mistakes) = read(&wish(Some(folder.path())));
        let said: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        for (said, names) in said.iter().zip(["distance.wav", "speeding.wav", "saved.wav"]) {
            assert!(said.contains(names), "{said}");
        }
        assert!(said[0].contains("it has 8 bits") && said[1].contains("longer than 10 s"));
        assert!(sounds.iter().all(|(alert, sound)| *sound == tones::of(*alert, 0.5)));
    }

    #[test]
    fn a_speaker_that_is_not_there_is_told_and_harms_nobody() {
        let (to, told) = channel();
        let report = move |said: Result<(), &SpeakerError>| {
            drop(to.send(said.map_err(ToString::to_string)));
        };
        let mut speaker = AlsaSpeaker::start(&wish(None), report).unwrap();
        speaker.play(Alert::Speeding).unwrap();
        for _ in 0..2 {
            let said = told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap_err();
            assert!(said.contains("no-such-speaker"), "{said}");
        }
        assert_eq!(AlsaSpeaker::mistakes(&wish(None)).len(), 1);
    }
}
