//! Drives composed of the recordings in `shared/data` beside the checkout, where they are there.
//! Nothing of them is copied into the project; a composed drive only names them.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The recordings' folder beside this checkout, where it is there.
pub fn shared_data() -> Option<PathBuf> {
    recordings_beside(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?)
}

/// The recordings' folder beside a checkout, where it is there.
pub fn recordings_beside(checkout: &Path) -> Option<PathBuf> {
    let data = checkout.parent()?.join("shared/data");
    data.join("driver_video/head_turns.mp4").is_file().then_some(data)
}

/// `head_turns.mp4` in the cabin of a real car that begins at 99 km/h (its log has speed and
/// accelerations) and is still at 50 km/h or more while the head turns.
///
/// # Errors
/// Where the folder cannot be written.
pub fn motorway(data: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let text = format!(
        r#"[drive]
name = "head turns at motorway speed"
duration_s = 30

[cabin]
video = {cabin:?}

[road]
video = {road:?}
loop = true

[[signals]]
file = {car:?}
start_s = 694.308316
axes = ["x", "-y", "-z"]
columns = {{ "Seconds" = "t_s", "Speed (MPH)" = "speed_mph", "Lateral Gs" = "accel_y_g", "Acceleration Gs" = "accel_x_g" }}
"#,
        cabin = data.join("driver_video/head_turns.mp4"),
        road = data.join("road_video/highway_white.mp4"),
        car = data.join("telemetry/cloudpose/car.csv"),
    );
    Ok(fs::write(folder.join("drive.toml"), text)?)
}

/// A van at 50 km/h that runs into something after `hit_s` seconds, and these pictures over and over.
///
/// # Errors
/// Where the folder cannot be written.
pub fn crash(cabin: &Path, road: &Path, hit_s: u32, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut signals = "t_s,speed_mps,accel_x_mps2,accel_y_mps2,accel_z_mps2\n".to_owned();
    let hit = hit_s * 100;
    for n in 0..hit + 400 {
        let t_s = f64::from(n) / 100.0;
        // As an engine and a road shake a van; then 4 g for 0.12 s, which takes 17 km/h away.
        let shake = 0.5 * (t_s * 75.0).sin();
        let x = if (hit..hit + 12).contains(&n) { -39.2 } else { shake };
        let mps = if n < hit { 13.9 } else { 9.2 };
        writeln!(signals, "{t_s:.2},{mps},{x:.3},{shake:.3},9.807")?;
    }
    fs::write(folder.join("signals.csv"), signals)?;
    let text = format!(
        "[drive]\nname = \"a crash\"\nduration_s = {duration_s}\n\n\
         [cabin]\nvideo = {cabin:?}\nloop = true\n\n[road]\nvideo = {road:?}\nloop = true\n\n\
         [[signals]]\nfile = \"signals.csv\"\n",
        duration_s = hit_s + 4,
    );
    Ok(fs::write(folder.join("drive.toml"), text)?)
}

/// The demo's drive: the same driver, and 60 s of a real car's bus (decoded by its DBC), IMU and
/// GNSS, with one press of the button.
///
/// # Errors
/// Where the folder cannot be written or the bus log cannot be unpacked.
pub fn city(data: &Path, folder: &Path) -> Result<()> {
    city_for(data, folder, 60, 1)
}

/// The same: its first seconds, so many times.
///
/// # Errors
/// Those of [`city`].
pub fn city_for(data: &Path, folder: &Path, duration_s: u32, repeat: u32) -> Result<()> {
    fs::create_dir_all(folder)?;
    let car = data.join("telemetry/comma2k19");
    let unpacked = File::create(folder.join("can.log"))?;
    let status = Command::new("gzip")
        .arg("-dc")
        .arg(car.join("can.candump.log.gz"))
        .stdout(Stdio::from(unpacked))
        .status()
        .context("gzip is needed to unpack the bus log")?;
    ensure!(status.success(), "the bus log cannot be unpacked");
    fs::write(folder.join("button.csv"), "t_s,button\n0,0\n20.0,1\n20.4,0\n")?;
    let text = format!(
        r#"[drive]
name = "a real car's minute"
duration_s = {duration_s}
repeat = {repeat}

[cabin]
video = {cabin:?}
loop = true

[road]
video = {road:?}
loop = true

[[signals]]
file = "can.log"
format = "candump"
vehicle = {vehicle:?}
dbc = {dbc:?}
start_s = 46408.58

[[signals]]
file = {accelerometer:?}
join = [{gyro:?}]
start_s = 46408.58
axes = ["x", "-y", "-z"]
[signals.columns]
x_mps2 = "accel_x_mps2"
y_mps2 = "accel_y_mps2"
z_mps2 = "accel_z_mps2"
x_rad_s = "gyro_x_rad_s"
y_rad_s = "gyro_y_rad_s"
z_rad_s = "gyro_z_rad_s"

[[signals]]
file = {gnss:?}
start_s = 46408.58

[[signals]]
file = "button.csv"
"#,
        cabin = data.join("driver_video/head_turns.mp4"),
        road = data.join("road_video/highway_white.mp4"),
        vehicle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vehicles/toyota-2017.toml"),
        dbc = car.join("dbc"),
        accelerometer = car.join("accelerometer.csv"),
        gyro = car.join("gyro.csv"),
        gnss = car.join("gnss_ublox.csv"),
    );
    Ok(fs::write(folder.join("drive.toml"), text)?)
}
