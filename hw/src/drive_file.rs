//! Reads `drive.toml`.
//!
//! INVARIANT: unknown keys are refused, and everything that is wrong is said at once: each table
//! is read on its own, and keys that nobody knows are gathered instead of ending the reading.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    dbc::split_name,
    drive::{Axes, Drive, DriveError, DriveMistake, SignalFormat, SignalInput, VideoInput},
};

#[derive(Deserialize)]
struct DriveTable {
    name: Option<String>,
    duration_s: Option<f64>,
    repeat: Option<u32>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct VideoTable {
    video: PathBuf,
    start_s: Option<f64>,
    length_s: Option<f64>,
    offset_s: Option<f64>,
    #[serde(rename = "loop")]
    looped: Option<bool>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct SignalTable {
    file: PathBuf,
    format: Option<String>,
    start_s: Option<f64>,
    length_s: Option<f64>,
    offset_s: Option<f64>,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    #[serde(default)]
    join: Vec<PathBuf>,
    axes: Option<Vec<String>>,
    dbc: Option<PathBuf>,
    vehicle: Option<PathBuf>,
    speed: Option<String>,
    speed_unit: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// Where a table is, and what was found wrong so far.
struct Reader<'a> {
    folder: &'a Path,
    mistakes: Vec<DriveMistake>,
}

impl Reader<'_> {
    fn say(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.mistakes.push(DriveMistake { key: key.into(), what: what.into() });
    }

    fn table<T: DeserializeOwned>(&mut self, key: &str, value: toml::Value) -> Option<T> {
        match value.try_into() {
            Ok(t) => Some(t),
            Err(e) => {
                self.say(key, e.to_string().trim_end().replace('\n', " "));
                None
            }
        }
    }

    fn unknown(&mut self, table: &str, known: &str, unknown: &BTreeMap<String, toml::Value>) {
        for key in unknown.keys() {
            self.say(format!("{table}.{key}"), format!("unknown key; known are {known}"));
        }
    }

    fn video(&mut self, key: &str, value: toml::Value) -> Option<VideoInput> {
        let t: VideoTable = self.table(key, value)?;
        self.unknown(key, "video, start_s, length_s, offset_s, loop", &t.unknown);
        Some(VideoInput {
            file: self.folder.join(t.video),
            start_s: t.start_s.unwrap_or(0.0),
            length_s: t.length_s,
            offset_s: t.offset_s.unwrap_or(0.0),
            looped: t.looped.unwrap_or(false),
        })
    }

    fn signals(&mut self, key: &str, value: toml::Value) -> Option<SignalInput> {
        let t: SignalTable = self.table(key, value)?;
        self.unknown(
            key,
            "file, format, start_s, length_s, offset_s, columns, join, axes, vehicle, dbc, speed, speed_unit",
            &t.unknown,
        );
        let format = match &t.format {
            Some(name) => SignalFormat::from_name(name),
            None => SignalFormat::from_path(&t.file, t.dbc.is_some() || t.vehicle.is_some()),
        };
        if format.is_none() {
            let given = t.format.clone().unwrap_or_else(|| t.file.display().to_string());
            self.say(format!("{key}.format"), format!("`{given}`: give csv, nmea, candump or gpx"));
        }
        let axes = t.axes.map_or_else(|| Ok(Axes::default()), |names| Axes::parse(&names));
        let axes = axes.unwrap_or_else(|e| {
            self.say(format!("{key}.axes"), e.to_string());
            Axes::default()
        });
        let speed = t.speed.and_then(|s| match split_name(&s) {
            Some((message, signal)) => Some((message.to_owned(), signal.to_owned())),
            None => {
                self.say(format!("{key}.speed"), format!("`{s}`: write `MESSAGE.SIGNAL`"));
                None
            }
        });
        Some(SignalInput {
            file: self.folder.join(t.file),
            format: format?,
            start_s: t.start_s,
            length_s: t.length_s,
            offset_s: t.offset_s.unwrap_or(0.0),
            columns: t.columns,
            join: t.join.into_iter().map(|p| self.folder.join(p)).collect(),
            axes,
            dbc: t.dbc.map(|p| self.folder.join(p)),
            vehicle: t.vehicle.map(|p| self.folder.join(p)),
            speed,
            speed_unit: t.speed_unit,
        })
    }
}

/// The drive that `text` describes; paths in it are relative to the folder of `path`.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Drive, DriveError> {
    let tables: toml::Table = text
        .parse()
        .map_err(|e| DriveError::Syntax { path: path.to_owned(), source: Box::new(e) })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut reader = Reader { folder, mistakes: Vec::new() };
    let mut drive = Drive { repeat: 1, ..Drive::default() };
    for (key, value) in tables {
        match key.as_str() {
            "drive" => {
                let Some(t) = reader.table::<DriveTable>("drive", value) else { continue };
                reader.unknown("drive", "name, duration_s, repeat", &t.unknown);
                drive.name = t.name.unwrap_or_default();
                drive.duration_s = t.duration_s;
                drive.repeat = t.repeat.unwrap_or(1);
            }
            "cabin" => drive.cabin = reader.video("cabin", value),
            "road" => drive.road = reader.video("road", value),
            "signals" => {
                let Some(list) = reader.table::<Vec<toml::Value>>("signals", value) else {
                    continue;
                };
                for (i, value) in list.into_iter().enumerate() {
                    if let Some(s) = reader.signals(&format!("signals[{i}]"), value) {
                        drive.signals.push(s);
                    }
                }
            }
            other => {
                reader.say(other, "unknown table; known are drive, cabin, road, [[signals]]");
            }
        }
    }
    if drive.name.is_empty() {
        drive.name = folder
            .file_name()
            .map_or_else(|| "drive".to_owned(), |n| n.to_string_lossy().into_owned());
    }
    let mut mistakes = reader.mistakes;
    // What a table that could not be read leaves out is no further mistake.
    let unread = !mistakes.is_empty();
    mistakes.extend(drive.mistakes().into_iter().filter(|m| !(unread && m.key == "drive")));
    if mistakes.is_empty() {
        Ok(drive)
    } else {
        Err(DriveError::Mistakes { path: path.to_owned(), mistakes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_description() {
        let dir = tempfile::tempdir().unwrap();
        for f in ["c.mp4", "imu.csv", "gyro.csv", "can.log", "car.dbc"] {
            std::fs::write(dir.path().join(f), "").unwrap();
        }
        let text = r#"
            [drive]
            duration_s = 60
            repeat = 2
            [cabin]
            video = "c.mp4"
            start_s = 1.5
            loop = true
            [[signals]]
            file = "imu.csv"
            start_s = 46408.58
            join = ["gyro.csv"]
            columns = { "x" = "accel_x_mps2" }
            axes = ["x", "-y", "-z"]
            [[signals]]
            file = "can.log"
            dbc = "car.dbc"
            speed = "SPEED.SPEED"
        "#;
        std::fs::write(dir.path().join("drive.toml"), text).unwrap();
        let drive = Drive::load(dir.path()).unwrap();
        assert_eq!(drive, Drive::load(&dir.path().join("drive.toml")).unwrap());
        assert_eq!(drive.name, dir.path().file_name().unwrap().to_string_lossy());
        assert_eq!((drive.duration_s, drive.repeat), (Some(60.0), 2));
        let cabin = drive.cabin.unwrap();
        assert_eq!(
            (cabin.file, cabin.start_s, cabin.looped),
            (dir.path().join("c.mp4"), 1.5, true)
        );
        let [imu, can] = drive.signals.as_slice() else { panic!() };
        assert_eq!(imu.format, SignalFormat::Csv);
        assert_eq!(imu.axes, Axes::parse(&["x", "-y", "-z"]).unwrap());
        assert_eq!(imu.join, [dir.path().join("gyro.csv")]);
        assert_eq!(can.format, SignalFormat::Candump);
        assert_eq!(can.speed, Some(("SPEED".to_owned(), "SPEED".to_owned())));
    }

    #[test]
    fn every_mistake_is_listed_with_its_key() {
        let text = r#"
            [drive]
            nam = "x"
            repeat = 3
            [cabin]
            video = "c.mp4"
            offset = 3
            [road]
            video = 7
            [lidar]
            [[signals]]
            file = "a.csv"
            axes = ["x", "y", "-z"]
            columns = { "v" = "speed_knots" }
            dbc = "x.dbc"
            [[signals]]
            file = "b.bin"
            [[signals]]
            file = "c.log"
            format = "candump"
            speed = "SPEED"
        "#;
        let DriveError::Mistakes { mistakes, .. } =
            parse(Path::new("/nowhere/drive.toml"), text).unwrap_err()
        else {
            panic!("not the list")
        };
        let keys: Vec<&str> = mistakes.iter().map(|m| m.key.as_str()).collect();
        for key in [
            "drive.nam",
            "cabin.offset",
            "road",
            "lidar",
            "signals[0].axes",
            "signals[0].columns",
            "signals[0].dbc",
            "signals[1].format",
            "signals[2].speed",
            "cabin.video",
            "drive.repeat",
        ] {
            assert!(keys.contains(&key), "{key} not in {keys:?}");
        }
        let shown =
            DriveError::Mistakes { path: "/nowhere/drive.toml".into(), mistakes }.to_string();
        assert!(shown.contains("/nowhere/drive.toml") && shown.lines().count() > 11, "{shown}");
    }

    #[test]
    fn no_toml_and_no_file() {
        let err = parse(Path::new("/d/drive.toml"), "[drive").unwrap_err().to_string();
        assert!(err.contains("/d/drive.toml") && err.contains("TOML"), "{err}");
        let err = Drive::load(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(err.contains("/nowhere"), "{err}");
        let all_loop = parse(Path::new("/drive.toml"), "[cabin]\nvideo='/dev/null'\nloop=true");
        assert!(all_loop.unwrap_err().to_string().contains("everything loops"));
    }
}
