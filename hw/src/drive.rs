//! A recorded drive: which files stand in for which device, and when each begins.
//!
//! A drive is a folder with a `drive.toml`, or loose files named on a command line. Nothing here
//! opens a recording; `replay` does.
//!
//! ```toml
//! [drive]
//! name = "head turns on a motorway"
//! duration_s = 60          # optional: else the drive ends with its last file
//! repeat = 1               # plays it again; needs duration_s
//!
//! [cabin]                  # and [road]
//! video = "cabin.mp4"      # relative to this folder, or absolute
//! start_s = 2.5            # this moment of the file ...
//! offset_s = 0             # ... is played at this moment of the drive
//! length_s = 12            # optional
//! loop = true              # starts again at start_s until the drive ends
//!
//! [[signals]]
//! file = "imu.csv"
//! format = "csv"           # csv, nmea, candump or gpx; from the file's name where left out
//! start_s = 46408.58       # this moment of the file is the drive's zero
//! join = ["gyro.csv"]      # more columns at the same times, in their own file
//! columns = { "x" = "accel_x_mps2" }  # the file's column = our column with its unit
//! axes = ["x", "-y", "-z"] # which of the device's axes points forward, left and up
//!
//! [[signals]]
//! file = "can.log"
//! vehicle = "van.toml"     # a model file; see `vehicle`
//! dbc = "car.dbc"          # in place of the model's own, or their folder; or, without a model,
//! # speed = "SPEED.SPEED"  # the DBC and the speed's message.signal
//! ```

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{drive_file, time_map::Window};

/// The name of the description in a drive's folder.
pub const DRIVE_FILE: &str = "drive.toml";

/// A drive, ready to be opened by [`crate::Replay`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drive {
    /// What people call it.
    pub name: String,
    /// Where it ends, seconds; where there is none, with the last file that does not loop.
    pub duration_s: Option<f64>,
    /// How many times it is played, end to end; at least 1.
    pub repeat: u32,
    /// The camera that looks at the driver.
    pub cabin: Option<VideoInput>,
    /// The camera that looks at the road.
    pub road: Option<VideoInput>,
    /// Everything else.
    pub signals: Vec<SignalInput>,
}

/// A video file in place of a camera.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoInput {
    /// The file.
    pub file: PathBuf,
    /// Moment of the file at which playing begins, seconds.
    pub start_s: f64,
    /// How much of it is played, seconds; to its end where there is none.
    pub length_s: Option<f64>,
    /// Moment of the drive at which playing begins, seconds.
    pub offset_s: f64,
    /// Starts again when it has ended, until the drive ends.
    pub looped: bool,
}

/// What a file of signals looks like inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignalFormat {
    /// Comma-separated values with units in the header.
    Csv,
    /// NMEA 0183, whatever else is mixed in.
    Nmea,
    /// A log of `candump -l`, or of `candump -t a`.
    Candump,
    /// GPS exchange format.
    Gpx,
}

impl SignalFormat {
    const NAMES: [(&'static str, Self); 4] =
        [("csv", Self::Csv), ("nmea", Self::Nmea), ("candump", Self::Candump), ("gpx", Self::Gpx)];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }

    /// What a file's ending says; `.log` is taken for candump where a vehicle model or a DBC is
    /// named, else NMEA.
    pub(crate) fn from_path(path: &Path, explained: bool) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "nmea" | "nma" | "txt" => Some(Self::Nmea),
            "candump" | "can" => Some(Self::Candump),
            "gpx" => Some(Self::Gpx),
            "log" if explained => Some(Self::Candump),
            "log" => Some(Self::Nmea),
            _ => None,
        }
    }
}

/// A file of signals in place of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalInput {
    /// The file.
    pub file: PathBuf,
    /// What it looks like inside.
    pub format: SignalFormat,
    /// Time in the file that is the drive's zero, seconds; its first where there is none.
    pub start_s: Option<f64>,
    /// How much of it is played, seconds.
    pub length_s: Option<f64>,
    /// Moves it later in the drive, seconds.
    pub offset_s: f64,
    /// CSV: names of the file's columns and which of ours (`speed_kmh`, ...) each is.
    pub columns: BTreeMap<String, String>,
    /// CSV: further files with more columns at the same times.
    pub join: Vec<PathBuf>,
    /// IMU: how the device is mounted.
    pub axes: Axes,
    /// candump: the database that explains the frames.
    pub dbc: Option<PathBuf>,
    /// candump: the model file that says which signal is what. Its DBC gives way to `dbc`.
    pub vehicle: Option<PathBuf>,
    /// candump without a model file: where the vehicle's speed is, as `MESSAGE.SIGNAL`.
    pub speed: Option<(String, String)>,
    /// candump: the speed's unit where the database does not say (`km/h`, `mph` or `m/s`).
    pub speed_unit: Option<String>,
}

impl SignalInput {
    /// The whole of `file` from the drive's zero.
    pub fn whole(file: impl Into<PathBuf>, format: SignalFormat) -> Self {
        Self {
            file: file.into(),
            format,
            start_s: None,
            length_s: None,
            offset_s: 0.0,
            columns: BTreeMap::new(),
            join: Vec::new(),
            axes: Axes::default(),
            dbc: None,
            vehicle: None,
            speed: None,
            speed_unit: None,
        }
    }

    pub(crate) fn window(&self) -> Window {
        Window { start_s: self.start_s, length_s: self.length_s, offset_s: self.offset_s }
    }
}

/// How an IMU is mounted: for each vehicle axis (forward, left, up) the device axis that points
/// along it, 0 to 2, and whether it points the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes([(usize, bool); 3]);

impl Default for Axes {
    fn default() -> Self {
        Self([(0, false), (1, false), (2, false)])
    }
}

/// Axes that are no rotation of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxesError {
    /// Not one of x, y, z with an optional minus.
    #[error("`{0}` is no axis: write x, y or z, with a minus for the opposite direction")]
    Name(String),
    /// Not three.
    #[error("three axes are needed (forward, left, up), {0} are given")]
    Count(usize),
    /// An axis twice, or a mirror image.
    #[error("these axes are no way to mount a device: {0}")]
    NoRotation(&'static str),
}

impl Axes {
    /// From three of `x`, `y`, `z`, each with an optional minus: forward, left, up.
    ///
    /// # Errors
    /// Where they are not three, not axes, or not a right-handed mounting.
    pub fn parse(names: &[impl AsRef<str>]) -> Result<Self, AxesError> {
        let mut axes = [(0, false); 3];
        if names.len() != axes.len() {
            return Err(AxesError::Count(names.len()));
        }
        for (axis, name) in axes.iter_mut().zip(names) {
            let name = name.as_ref();
            let (negative, letter) = match name.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, name.strip_prefix('+').unwrap_or(name)),
            };
            let index = match letter {
                "x" => 0,
                "y" => 1,
                "z" => 2,
                _ => return Err(AxesError::Name(name.to_owned())),
            };
            *axis = (index, negative);
        }
        let [(a, _), (b, _), (c, _)] = axes;
        if a == b || b == c || a == c {
            return Err(AxesError::NoRotation("an axis is named twice"));
        }
        // A device cannot be mounted as its own mirror image: the signs of the permutation and
        // of the directions must multiply to +1.
        let odd_permutation = (a + 1) % 3 != b;
        let negatives = axes.iter().filter(|(_, negative)| *negative).count();
        if odd_permutation != (negatives % 2 == 1) {
            return Err(AxesError::NoRotation("they are left-handed; check the signs"));
        }
        Ok(Self(axes))
    }

    /// From device axes to vehicle axes. A device axis that was not measured gives nothing.
    pub fn apply(&self, device: [Option<f64>; 3]) -> [Option<f64>; 3] {
        self.0.map(|(index, negative)| {
            let v = device.get(index).copied().flatten();
            if negative { v.map(|v| -v) } else { v }
        })
    }
}

/// One thing that is wrong with a drive's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveMistake {
    /// Where: `cabin.video`, `signals[2].axes`, `--nmea`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for DriveMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// A drive that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The description cannot be read.
    #[error("cannot read the drive `{}`: {source}", path.display())]
    Read {
        /// Its description.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The description is no TOML.
    #[error("`{}` is no TOML: {source}", path.display())]
    Syntax {
        /// Its description.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Everything that is wrong with it.
    #[error("{}", list_mistakes(path, mistakes))]
    Mistakes {
        /// Its description, or the word for the command line.
        path: PathBuf,
        /// All of them, in the order of the file.
        mistakes: Vec<DriveMistake>,
    },
}

fn list_mistakes(path: &Path, mistakes: &[DriveMistake]) -> String {
    let mut text = format!(
        "{} mistake{} in `{}`",
        mistakes.len(),
        if mistakes.len() == 1 { "" } else { "s" },
        path.display()
    );
    for m in mistakes {
        text.push_str("\n  ");
        text.push_str(&m.to_string());
    }
    text
}

/// Files named on a command line, without a `drive.toml`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LooseFiles {
    /// Video of the driver.
    pub cabin: Option<PathBuf>,
    /// Video of the road.
    pub road: Option<PathBuf>,
    /// NMEA logs.
    pub nmea: Vec<PathBuf>,
    /// CSV files with our own column names.
    pub csv: Vec<PathBuf>,
    /// GPX tracks.
    pub gpx: Vec<PathBuf>,
    /// Start each video again when it ends, until the signals end.
    pub looped: bool,
    /// End after so many seconds.
    pub duration_s: Option<f64>,
}

impl Drive {
    /// Reads and checks the `drive.toml` of a folder (or the file itself). Reads no recording.
    ///
    /// # Errors
    /// [`DriveError::Mistakes`] lists everything that is wrong at once.
    pub fn load(path: &Path) -> Result<Self, DriveError> {
        let file = if path.is_dir() { path.join(DRIVE_FILE) } else { path.to_owned() };
        let text = std::fs::read_to_string(&file)
            .map_err(|source| DriveError::Read { path: file.clone(), source })?;
        drive_file::parse(&file, &text)
    }

    /// A drive of loose files, each from its own beginning.
    ///
    /// # Errors
    /// [`DriveError::Mistakes`] where files are missing or none is named.
    pub fn from_files(files: LooseFiles) -> Result<Self, DriveError> {
        let video = |file: Option<PathBuf>| {
            file.map(|file| VideoInput { file, looped: files.looped, ..VideoInput::default() })
        };
        let mut signals = Vec::new();
        for (paths, format) in [
            (&files.nmea, SignalFormat::Nmea),
            (&files.csv, SignalFormat::Csv),
            (&files.gpx, SignalFormat::Gpx),
        ] {
            signals.extend(paths.iter().map(|p| SignalInput::whole(p, format)));
        }
        let drive = Self {
            name: "loose files".to_owned(),
            duration_s: files.duration_s,
            repeat: 1,
            cabin: video(files.cabin.clone()),
            road: video(files.road.clone()),
            signals,
        };
        let mistakes = drive.mistakes();
        if mistakes.is_empty() {
            Ok(drive)
        } else {
            Err(DriveError::Mistakes { path: PathBuf::from("command line"), mistakes })
        }
    }

    /// What is wrong with it: missing files, impossible times, parts that do not fit together.
    /// Has no side effects.
    pub fn mistakes(&self) -> Vec<DriveMistake> {
        let mut found = Vec::new();
        let mut say = |key: String, what: String| found.push(DriveMistake { key, what });
        if self.duration_s.is_some_and(|d| !(d > 0.0 && d.is_finite())) {
            say("drive.duration_s".to_owned(), "must be more than 0".to_owned());
        }
        if self.repeat == 0 {
            say("drive.repeat".to_owned(), "must be 1 or more".to_owned());
        }
        if self.repeat > 1 && self.duration_s.is_none() {
            say("drive.repeat".to_owned(), "needs drive.duration_s".to_owned());
        }
        if self.cabin.is_none() && self.road.is_none() && self.signals.is_empty() {
            say("drive".to_owned(), "has neither a video nor signals".to_owned());
        }
        for (key, video) in [("cabin", &self.cabin), ("road", &self.road)] {
            let Some(v) = video else { continue };
            missing_file(&v.file, &format!("{key}.video"), &mut say);
            bad_time(Some(v.start_s), &format!("{key}.start_s"), 0.0, &mut say);
            bad_time(Some(v.offset_s), &format!("{key}.offset_s"), 0.0, &mut say);
            bad_length(v.length_s, &format!("{key}.length_s"), &mut say);
        }
        let ends = self.duration_s.is_some()
            || !self.signals.is_empty()
            || [&self.cabin, &self.road].into_iter().flatten().any(|v| !v.looped);
        let loops = [&self.cabin, &self.road].into_iter().flatten().any(|v| v.looped);
        if loops && !ends {
            say(
                "loop".to_owned(),
                "everything loops: give drive.duration_s, or one file that does not loop"
                    .to_owned(),
            );
        }
        for (i, s) in self.signals.iter().enumerate() {
            let key = |name: &str| format!("signals[{i}].{name}");
            missing_file(&s.file, &key("file"), &mut say);
            bad_time(s.start_s, &key("start_s"), f64::MIN, &mut say);
            bad_time(Some(s.offset_s), &key("offset_s"), f64::MIN, &mut say);
            bad_length(s.length_s, &key("length_s"), &mut say);
            for j in &s.join {
                missing_file(j, &key("join"), &mut say);
            }
            if let Some(vehicle) = &s.vehicle {
                missing_file(vehicle, &key("vehicle"), &mut say);
            }
            // A folder of DBC files goes with a model file, which names those in it.
            if let Some(dbc) = &s.dbc
                && !(s.vehicle.is_some() && dbc.is_dir())
            {
                missing_file(dbc, &key("dbc"), &mut say);
            }
            let csv = s.format == SignalFormat::Csv;
            let candump = s.format == SignalFormat::Candump;
            for (name, given, fits) in [
                ("columns", !s.columns.is_empty(), csv),
                ("join", !s.join.is_empty(), csv),
                ("axes", s.axes != Axes::default(), csv),
                ("dbc", s.dbc.is_some(), candump),
                ("vehicle", s.vehicle.is_some(), candump),
                ("speed", s.speed.is_some(), candump),
                ("speed_unit", s.speed_unit.is_some(), candump),
            ] {
                if given && !fits {
                    say(key(name), "does not go with this format".to_owned());
                }
            }
            if candump && s.vehicle.is_none() && s.speed.is_none() {
                let what = "name a vehicle's model file, or the speed as `MESSAGE.SIGNAL`";
                say(key("vehicle"), what.to_owned());
            }
            if candump && s.speed.is_some() && s.dbc.is_none() {
                say(key("dbc"), "a candump log needs the DBC file that explains it".to_owned());
            }
            if s.vehicle.is_some() && (s.speed.is_some() || s.speed_unit.is_some()) {
                let what = "the vehicle's model file says what the speed is: leave this out";
                say(key("speed"), what.to_owned());
            }
            for ours in s.columns.values() {
                if !crate::csv_signals::is_column(ours) {
                    let what = format!(
                        "`{ours}` is no column of ours: {}",
                        crate::csv_signals::column_names()
                    );
                    say(key("columns"), what);
                }
            }
        }
        found
    }
}

fn missing_file(file: &Path, key: &str, say: &mut impl FnMut(String, String)) {
    match std::fs::metadata(file) {
        Ok(m) if m.is_dir() => say(key.to_owned(), format!("`{}` is a folder", file.display())),
        Ok(_) => {}
        Err(e) => say(key.to_owned(), format!("`{}`: {e}", file.display())),
    }
}

fn bad_time(t: Option<f64>, key: &str, least: f64, say: &mut impl FnMut(String, String)) {
    if t.is_some_and(|t| !t.is_finite() || t < least) {
        say(key.to_owned(), "must be a number of seconds, 0 or more for a video".to_owned());
    }
}

fn bad_length(t: Option<f64>, key: &str, say: &mut impl FnMut(String, String)) {
    if t.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
        say(key.to_owned(), "must be more than 0".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_mountings() {
        let ok = |names: [&str; 3], device: [f64; 3], vehicle: [f64; 3]| {
            let axes = Axes::parse(&names).unwrap();
            assert_eq!(axes.apply(device.map(Some)), vehicle.map(Some), "{names:?}");
        };
        ok(["x", "y", "z"], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]);
        ok(["x", "-y", "-z"], [1.0, 2.0, -9.8], [1.0, -2.0, 9.8]);
        ok(["-y", "x", "z"], [1.0, 2.0, 3.0], [-2.0, 1.0, 3.0]);
        ok(["z", "-x", "-y"], [1.0, 2.0, 3.0], [3.0, -1.0, -2.0]);
        for wrong in [["x", "-y", "z"], ["y", "x", "z"], ["x", "x", "z"], ["x", "y", "w"]] {
            assert!(Axes::parse(&wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Axes::parse(&["x"]), Err(AxesError::Count(1)));
    }

    #[test]
    fn loose_files_are_checked_all_at_once() {
        let err = Drive::from_files(LooseFiles {
            cabin: Some("/nowhere/c.mp4".into()),
            nmea: vec!["/nowhere/n.nmea".into()],
            duration_s: Some(-1.0),
            ..LooseFiles::default()
        })
        .unwrap_err()
        .to_string();
        for part in ["3 mistakes", "cabin.video", "/nowhere/c.mp4", "signals[0].file", "duration_s"]
        {
            assert!(err.contains(part), "{part} not in:\n{err}");
        }
        let err = Drive::from_files(LooseFiles::default()).unwrap_err().to_string();
        assert!(err.contains("neither a video nor signals"), "{err}");
    }
}
