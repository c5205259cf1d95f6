//! Signals from CSV files with units in the header.
//!
//! | column | meaning |
//! |---|---|
//! | `t_s` | time, seconds from any origin; needed |
//! | `speed_mps`, `speed_kmh`, `speed_mph` | speed over ground in a file with positions, else the vehicle's own |
//! | `vehicle_speed_mps`, `_kmh`, `_mph` | the vehicle's own speed in a file with positions |
//! | `accel_x_mps2` (`_y_`, `_z_`), or `_g` | specific force in the device's axes; a missing z is one g up |
//! | `gyro_x_rad_s` (`_y_`, `_z_`), or `_deg_s` | angular velocity in the device's axes |
//! | `lat_deg`, `lon_deg` | position, WGS 84 |
//! | `course_deg` or `bearing_deg`, `hdop`, `utc_ms` | more about the position |
//! | `button` | the driver's button: a press where it leaves 0 |
//!
//! Other names are mapped onto these by a drive's `columns`; several of the file's columns mapped
//! onto one of ours are averaged (the four wheels). An empty cell and `nan` say nothing.
//!
//! INVARIANT: memory does not grow with the file: one row of each file is held, and a line may
//! not be longer than 64 KiB.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use temoin_proto::{
    samples::{ButtonPress, GnssFix, ImuSample, STANDARD_GRAVITY_MPS2, Signal, VehicleSpeed},
    time::MonoTime,
};

use crate::{
    device::{SignalError, SignalSource},
    drive::{Axes, SignalInput},
    time_map::{Placed, TimeMap},
};

const MAX_LINE: usize = 64 * 1024;
/// How far apart in time rows of joined files may lie. Own choice: five samples at 100 Hz.
const JOIN_TOLERANCE_S: f64 = 0.05;
const MPS_PER_KMH: f64 = 1.0 / 3.6;
const MPS_PER_MPH: f64 = 0.447_04;
const RAD_PER_DEG: f64 = std::f64::consts::PI / 180.0;

/// What a column tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Quantity {
    Time,
    Speed,
    VehicleSpeed,
    AccelX,
    AccelY,
    AccelZ,
    GyroX,
    GyroY,
    GyroZ,
    Lat,
    Lon,
    Course,
    Hdop,
    UtcMs,
    Button,
}

/// Our column names, what each tells, and the factor to SI units.
const COLUMNS: [(&str, Quantity, f64); 27] = [
    ("t_s", Quantity::Time, 1.0),
    ("speed_mps", Quantity::Speed, 1.0),
    ("speed_kmh", Quantity::Speed, MPS_PER_KMH),
    ("speed_mph", Quantity::Speed, MPS_PER_MPH),
    ("vehicle_speed_mps", Quantity::VehicleSpeed, 1.0),
    ("vehicle_speed_kmh", Quantity::VehicleSpeed, MPS_PER_KMH),
    ("vehicle_speed_mph", Quantity::VehicleSpeed, MPS_PER_MPH),
    ("accel_x_mps2", Quantity::AccelX, 1.0),
    ("accel_y_mps2", Quantity::AccelY, 1.0),
    ("accel_z_mps2", Quantity::AccelZ, 1.0),
    ("accel_x_g", Quantity::AccelX, STANDARD_GRAVITY_MPS2),
    ("accel_y_g", Quantity::AccelY, STANDARD_GRAVITY_MPS2),
    ("accel_z_g", Quantity::AccelZ, STANDARD_GRAVITY_MPS2),
    ("gyro_x_rad_s", Quantity::GyroX, 1.0),
    ("gyro_y_rad_s", Quantity::GyroY, 1.0),
    ("gyro_z_rad_s", Quantity::GyroZ, 1.0),
    ("gyro_x_deg_s", Quantity::GyroX, RAD_PER_DEG),
    ("gyro_y_deg_s", Quantity::GyroY, RAD_PER_DEG),
    ("gyro_z_deg_s", Quantity::GyroZ, RAD_PER_DEG),
    ("lat_deg", Quantity::Lat, 1.0),
    ("lon_deg", Quantity::Lon, 1.0),
    ("course_deg", Quantity::Course, 1.0),
    ("bearing_deg", Quantity::Course, 1.0),
    ("hdop", Quantity::Hdop, 1.0),
    ("utc_ms", Quantity::UtcMs, 1.0),
    ("button", Quantity::Button, 1.0),
    ("button_pressed", Quantity::Button, 1.0),
];

fn column(name: &str) -> Option<(Quantity, f64)> {
    COLUMNS.iter().find(|(n, ..)| *n == name).map(|&(_, quantity, factor)| (quantity, factor))
}

/// Whether `name` is one of our columns.
pub(crate) fn is_column(name: &str) -> bool {
    column(name).is_some()
}

/// Our columns, for an error message.
pub(crate) fn column_names() -> String {
    COLUMNS.map(|(name, ..)| name).join(", ")
}

/// Ends in an error where a line does not end.
#[derive(Debug)]
struct BoundedLines<R> {
    inner: R,
    since_newline: usize,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let got = buf.get(..n).unwrap_or_default();
        self.since_newline = match got.iter().rposition(|b| *b == b'\n') {
            Some(at) => n - at - 1,
            None => self.since_newline + n,
        };
        if self.since_newline > MAX_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line is longer than {MAX_LINE} bytes: this is no CSV file"),
            ));
        }
        Ok(n)
    }
}

/// One row in SI units; several columns of one quantity are averaged.
#[derive(Clone, Debug, Default)]
struct Row(BTreeMap<Quantity, (f64, u32)>);

impl Row {
    fn add(&mut self, quantity: Quantity, value: f64) {
        let (sum, count) = self.0.entry(quantity).or_default();
        *sum += value;
        *count += 1;
    }

    fn get(&self, quantity: Quantity) -> Option<f64> {
        // Units and sums can make infinite what was finite in the file.
        self.0
            .get(&quantity)
            .map(|(sum, count)| sum / f64::from(*count))
            .filter(|value| value.is_finite())
    }

    fn vector(&self, axes: [Quantity; 3]) -> [Option<f64>; 3] {
        axes.map(|q| self.get(q))
    }
}

struct Rows {
    path: PathBuf,
    reader: csv::Reader<BoundedLines<BufReader<File>>>,
    columns: Vec<Option<(String, Quantity, f64)>>,
    record: csv::ByteRecord,
}

impl Rows {
    fn open(path: &Path, mapped: &BTreeMap<String, String>) -> Result<Self, SignalError> {
        let file = File::open(path)
            .map_err(|source| SignalError::Open { path: path.to_owned(), source })?;
        let inner = BoundedLines { inner: BufReader::new(file), since_newline: 0 };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(inner);
        let header = reader
            .byte_headers()
            .map_err(|e| csv_error(path, &e))?
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        let columns: Vec<_> = header
            .map(|name| {
                let ours = mapped.get(&name).map_or(name.as_str(), String::as_str);
                column(ours).map(|(quantity, factor)| (name, quantity, factor))
            })
            .collect();
        let mut rows =
            Self { path: path.to_owned(), reader, columns, record: csv::ByteRecord::new() };
        if !rows.has(Quantity::Time) {
            let names = rows.header_names();
            return Err(rows.unusable(format!(
                "it has no column `t_s`; its columns are {names}; map one in the drive's `columns`"
            )));
        }
        Ok(rows)
    }

    fn has(&self, quantity: Quantity) -> bool {
        self.columns.iter().flatten().any(|(_, q, _)| *q == quantity)
    }

    fn header_names(&mut self) -> String {
        let Ok(header) = self.reader.byte_headers() else { return String::new() };
        let names: Vec<_> =
            header.iter().map(|n| format!("`{}`", String::from_utf8_lossy(n))).collect();
        names.join(", ")
    }

    fn unusable(&self, what: String) -> SignalError {
        SignalError::Unusable { path: self.path.clone(), what }
    }

    fn next_row(&mut self) -> Result<Option<(f64, Row)>, SignalError> {
        loop {
            let more = self
                .reader
                .read_byte_record(&mut self.record)
                .map_err(|e| csv_error(&self.path, &e))?;
            if !more {
                return Ok(None);
            }
            let mut row = Row::default();
            for (cell, column) in self.record.iter().zip(&self.columns) {
                let Some((name, quantity, factor)) = column else { continue };
                if cell.is_empty() {
                    continue;
                }
                let text = std::str::from_utf8(cell).ok();
                match text.and_then(|t| t.parse::<f64>().ok()) {
                    Some(v) if v.is_finite() => row.add(*quantity, v * factor),
                    Some(_) => {}
                    None => {
                        return Err(SignalError::Malformed {
                            path: self.path.clone(),
                            line: self.record.position().map_or(0, csv::Position::line),
                            // Half a coordinate is one too, and errors are logged.
                            what: if matches!(quantity, Quantity::Lat | Quantity::Lon) {
                                format!("a cell of column `{name}` is no number")
                            } else {
                                let cell = String::from_utf8_lossy(cell);
                                format!("`{cell}` in column `{name}` is no number")
                            },
                        });
                    }
                }
            }
            if let Some(t_s) = row.get(Quantity::Time) {
                return Ok(Some((t_s, row)));
            }
        }
    }
}

fn csv_error(path: &Path, e: &csv::Error) -> SignalError {
    match e.position() {
        Some(at) => {
            SignalError::Malformed { path: path.to_owned(), line: at.line(), what: e.to_string() }
        }
        None => SignalError::Unusable { path: path.to_owned(), what: e.to_string() },
    }
}

/// A file that is joined to another on time.
struct Joined {
    rows: Rows,
    held: Option<(f64, Row)>,
    ahead: Option<(f64, Row)>,
}

impl Joined {
    /// Adds the row nearest to `t_s` where one is near enough.
    fn join(&mut self, t_s: f64, row: &mut Row) -> Result<(), SignalError> {
        while self.ahead.as_ref().is_some_and(|(t, _)| *t <= t_s) {
            self.held = self.ahead.take();
            self.ahead = self.rows.next_row()?;
        }
        let nearest = [&self.held, &self.ahead]
            .into_iter()
            .flatten()
            .min_by(|a, b| (a.0 - t_s).abs().total_cmp(&(b.0 - t_s).abs()));
        if let Some((t, more)) = nearest
            && (t - t_s).abs() <= JOIN_TOLERANCE_S
        {
            let more = more.0.iter().filter(|(q, _)| **q != Quantity::Time);
            row.0.extend(more.map(|(q, v)| (*q, *v)));
        }
        Ok(())
    }
}

/// Signals of one CSV file, with the files that are joined to it.
pub struct CsvSignals {
    main: Rows,
    joined: Vec<Joined>,
    axes: Axes,
    map: TimeMap,
    has_position: bool,
    button_down: bool,
    ready: VecDeque<Signal>,
    ended: bool,
}

impl CsvSignals {
    /// Opens the files and reads their headers; the drive's zero lies at `zero`.
    ///
    /// # Errors
    /// Where a file cannot be opened, has no time, no column of ours, or half of a vector.
    pub fn open(input: &SignalInput, zero: MonoTime) -> Result<Self, SignalError> {
        let main = Rows::open(&input.file, &input.columns)?;
        let mut joined = Vec::new();
        for path in &input.join {
            let mut rows = Rows::open(path, &input.columns)?;
            let ahead = rows.next_row()?;
            joined.push(Joined { rows, held: None, ahead });
        }
        let all = || std::iter::once(&main).chain(joined.iter().map(|j| &j.rows));
        for theirs in input.columns.keys() {
            if !all().any(|r| r.columns.iter().flatten().any(|(name, ..)| name == theirs)) {
                return Err(main.unusable(format!("it has no column `{theirs}`")));
            }
        }
        let has = |q| all().any(|r| r.has(q));
        for (what, needed) in [
            ("acceleration needs x and y", [Quantity::AccelX, Quantity::AccelY].as_slice()),
            (
                "angular velocity needs x, y and z",
                &[Quantity::GyroX, Quantity::GyroY, Quantity::GyroZ],
            ),
            ("a position needs lat_deg and lon_deg", &[Quantity::Lat, Quantity::Lon]),
        ] {
            if needed.iter().any(|q| has(*q)) && !needed.iter().all(|q| has(*q)) {
                return Err(main.unusable(what.to_owned()));
            }
        }
        if has(Quantity::GyroX) && !has(Quantity::AccelX) {
            return Err(main.unusable(
                "angular velocity comes with acceleration: name this file in the `join` of the \
                 file that has it"
                    .to_owned(),
            ));
        }
        let useful = [
            Quantity::Speed,
            Quantity::VehicleSpeed,
            Quantity::AccelX,
            Quantity::Lat,
            Quantity::Button,
        ];
        if !useful.into_iter().any(has) {
            return Err(main.unusable(format!(
                "no column of it is known; ours are {}; map some in the drive's `columns`",
                column_names()
            )));
        }
        let has_position = has(Quantity::Lat);
        Ok(Self {
            main,
            joined,
            axes: input.axes,
            map: TimeMap::new(input.window(), zero),
            has_position,
            button_down: false,
            ready: VecDeque::new(),
            ended: false,
        })
    }

    fn hand_out(&mut self, at: MonoTime, row: &Row) -> Result<(), String> {
        let speed = row.get(Quantity::Speed);
        let vehicle = row.get(Quantity::VehicleSpeed);
        let vehicle = if self.has_position { vehicle } else { vehicle.or(speed) };
        if let Some(mps) = vehicle {
            // Backwards is a speed too.
            self.ready.push_back(Signal::Speed(VehicleSpeed { at, mps: mps.abs() }));
        }
        let accel = row.vector([Quantity::AccelX, Quantity::AccelY, Quantity::AccelZ]);
        if let [Some(x), Some(y), z] = self.axes.apply(accel) {
            let gyro = row.vector([Quantity::GyroX, Quantity::GyroY, Quantity::GyroZ]);
            let gyro_rad_s = match self.axes.apply(gyro) {
                [Some(x), Some(y), Some(z)] => Some([x, y, z]),
                _ => None,
            };
            let accel_mps2 = [x, y, z.unwrap_or(STANDARD_GRAVITY_MPS2)];
            self.ready.push_back(Signal::Imu(ImuSample { at, accel_mps2, gyro_rad_s }));
        }
        if let (Some(lat_deg), Some(lon_deg)) = (row.get(Quantity::Lat), row.get(Quantity::Lon)) {
            if lat_deg.abs() > 90.0 || lon_deg.abs() > 180.0 {
                return Err("a position outside of the globe".to_owned());
            }
            self.ready.push_back(Signal::Gnss(GnssFix {
                utc_unix_ms: row.get(Quantity::UtcMs).and_then(whole_ms),
                speed_mps: speed.map(f64::abs),
                course_deg: row.get(Quantity::Course).map(|c| c.rem_euclid(360.0)),
                hdop: row.get(Quantity::Hdop),
                ..GnssFix::new(at, lat_deg, lon_deg)
            }));
        }
        if let Some(v) = row.get(Quantity::Button) {
            let down = v != 0.0;
            if down && !self.button_down {
                self.ready.push_back(Signal::Button(ButtonPress { at }));
            }
            self.button_down = down;
        }
        Ok(())
    }

    fn fail(&mut self, e: SignalError) -> SignalError {
        self.ended = true;
        e
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked: a whole number below 2^53")]
fn whole_ms(v: f64) -> Option<i64> {
    (v.abs() < 9e15).then_some(v.round() as i64)
}

impl SignalSource for CsvSignals {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        loop {
            if let Some(signal) = self.ready.pop_front() {
                return Ok(Some(signal));
            }
            if self.ended {
                return Ok(None);
            }
            let next = self.main.next_row();
            let Some((t_s, mut row)) = next.map_err(|e| self.fail(e))? else {
                self.ended = true;
                if self.map.fell() > 0 {
                    let (path, rows) = (self.main.path.display(), self.map.fell());
                    tracing::warn!(%path, rows, "left out rows whose time falls");
                }
                return Ok(None);
            };
            match self.map.place(t_s) {
                Placed::Before => {}
                Placed::After => self.ended = true,
                Placed::At(at) => {
                    for joined in &mut self.joined {
                        if let Err(e) = joined.join(t_s, &mut row) {
                            return Err(self.fail(e));
                        }
                    }
                    if let Err(what) = self.hand_out(at, &row) {
                        let line = self.main.record.position().map_or(0, csv::Position::line);
                        let path = self.main.path.clone();
                        return Err(self.fail(SignalError::Malformed { path, line, what }));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
