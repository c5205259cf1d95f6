//! How hot the machine is, by its thermal zones (kernel: `Documentation/driver-api/thermal/sysfs-api.rst`:
//! `temp` in thousandths of a degree Celsius).

use std::path::Path;

use crate::sysfs::{subfolders, value};

const ZONES: &str = "/sys/class/thermal";
/// What a sensor can say, degrees Celsius; a zone that is switched off says less.
const POSSIBLE_C: std::ops::RangeInclusive<f64> = -60.0..=150.0;

/// The hottest zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hottest {
    /// What Linux calls it (`cpu-thermal`).
    pub zone: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// The hottest zone that answers; none where none does.
pub fn hottest() -> Option<Hottest> {
    hottest_of(Path::new(ZONES))
}

fn hottest_of(zones: &Path) -> Option<Hottest> {
    let all = subfolders(zones, "thermal_zone").into_iter().filter_map(|folder| {
        let thousandths: i32 = value(&folder.join("temp")).ok()?.parse().ok()?;
        let celsius = f64::from(thousandths) / 1000.0;
        let zone = value(&folder.join("type")).unwrap_or_default();
        POSSIBLE_C.contains(&celsius).then_some(Hottest { zone, celsius })
    });
    all.max_by(|a, b| a.celsius.total_cmp(&b.celsius))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_hottest_that_answers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(hottest_of(dir.path()), None);
        for (n, (zone, temp)) in
            [("cpu-thermal", "61500"), ("gpu-thermal", "72250"), ("off", "-256000"), ("odd", "x")]
                .into_iter()
                .enumerate()
        {
            let folder = dir.path().join(format!("thermal_zone{n}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("type"), zone).unwrap();
            fs::write(folder.join("temp"), format!("{temp}\n")).unwrap();
        }
        let hottest = hottest_of(dir.path()).unwrap();
        assert_eq!(hottest, Hottest { zone: "gpu-thermal".to_owned(), celsius: 72.25 });
    }
}
