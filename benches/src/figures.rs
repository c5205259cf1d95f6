//! A figure, lists of them as JSON and as a table.

use std::{borrow::Cow, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured. Names stay the same over time.
    pub name: Cow<'static, str>,
    /// The number.
    pub value: f64,
    /// Its unit; `1` for a ratio.
    pub unit: &'static str,
    /// Of how many measurements it is made.
    pub count: usize,
    /// On what it was measured.
    pub data_set: String,
    /// What the same work costs at the least, measured in the same run, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// What it should be, in words; for people.
    #[serde(skip)]
    pub goal: Option<&'static str>,
}

impl Figure {
    /// A figure without a limit and a goal.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: f64,
        unit: &'static str,
        count: usize,
        data_set: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            count,
            data_set: data_set.into(),
            limit: None,
            goal: None,
        }
    }

    /// The same with a limit.
    pub fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The same with a goal.
    pub fn goal(self, goal: &'static str) -> Self {
        Self { goal: Some(goal), ..self }
    }
}

/// The smallest of the values that `percent` of them do not exceed (nearest rank).
///
/// # Errors
/// Where there is no value.
pub fn percentile(values: &[f64], percent: usize) -> Result<f64> {
    ensure!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().context("nothing was measured")
}

/// The middle value.
///
/// # Errors
/// Where there is no value.
pub fn median(values: &[f64]) -> Result<f64> {
    percentile(values, 50)
}

/// Writes the list as JSON.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_json(path: &Path, figures: &[Figure]) -> Result<()> {
    store(path, &figures.iter().map(rounded).collect::<Vec<_>>())
}

/// Puts figures into a list that may be there already: those of the same name are replaced.
///
/// # Errors
/// Where the file is no such list or cannot be written.
pub fn put_json(path: &Path, figures: &[Figure]) -> Result<()> {
    let mut all: Vec<serde_json::Value> = match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .with_context(|| format!("`{}` is no list of figures", path.display()))?,
        Err(_) => Vec::new(),
    };
    all.retain(|old| {
        let name = old.get("name").and_then(|name| name.as_str());
        figures.iter().all(|new| name != Some(&*new.name))
    });
    for new in figures {
        all.push(serde_json::to_value(rounded(new))?);
    }
    store(path, &all)
}

fn rounded(figure: &Figure) -> Figure {
    Figure { value: round(figure.value), limit: figure.limit.map(round), ..figure.clone() }
}

fn store(path: &Path, list: &impl Serialize) -> Result<()> {
    make_folder_of(path)?;
    let mut json = serde_json::to_vec_pretty(list)?;
    json.push(b'\n');
    fs::write(path, json).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Makes the folder of a file where there is none.
///
/// # Errors
/// Where it cannot be made.
pub fn make_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// To a ten-thousandth: more is noise.
fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The list as a Markdown table with aligned columns, which is readable as plain text too.
pub fn table(figures: &[Figure]) -> String {
    let head = ["figure", "value", "unit", "of", "limit", "goal", "data set"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head)
        .chain(figures.iter().map(|f| {
            [
                format!("`{}`", f.name),
                short(f.value),
                f.unit.to_owned(),
                f.count.to_string(),
                f.limit.map_or_else(|| "–".to_owned(), short),
                f.goal.unwrap_or("–").to_owned(),
                f.data_set.clone(),
            ]
        }))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if n == 0 {
            let line: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            text.push_str(&format!("| {} |\n", line.join(" | ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, want) in
            [(0, 1.0), (1, 1.0), (50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0)]
        {
            assert!((percentile(&hundred, percent).unwrap() - want).abs() < 1e-9, "{percent}");
        }
        assert!((percentile(&[7.0], 99).unwrap() - 7.0).abs() < 1e-9);
        assert!((median(&[3.0, 1.0, 2.0]).unwrap() - 2.0).abs() < 1e-9);
        assert!(percentile(&[], 50).is_err());
    }

    #[test]
    fn figures_are_replaced_by_those_of_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        let figure = |name: &'static str, value| Figure::new(name, value, "1", 1, "sim");
        put_json(&path, &[figure("a", 1.0), figure("b", 2.0)]).unwrap();
        put_json(&path, &[figure("b", 3.0), figure("c", 4.0)]).unwrap();
        let read: Vec<serde_json::Value> =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let values: Vec<_> = read.iter().map(|f| f["value"].as_f64().unwrap()).collect();
        assert_eq!(values, [1.0, 3.0, 4.0]);
        fs::write(&path, "no list").unwrap();
        assert!(put_json(&path, &[figure("a", 1.0)]).is_err());
    }

    #[test]
    fn json_has_a_limit_only_where_one_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/bench.json");
        let figures = [
            Figure::new("a.b_ms", 1.234_567, "ms", 3, "sim"),
            Figure::new("a.c", 1.5, "1", 2, "sim").limit(1.0).goal("at most 1.25"),
        ];
        write_json(&path, &figures).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            read,
            serde_json::json!([
                {"name": "a.b_ms", "value": 1.2346, "unit": "ms", "count": 3, "data_set": "sim"},
                {"name": "a.c", "value": 1.5, "unit": "1", "count": 2, "data_set": "sim", "limit": 1.0},
            ])
        );
        let table = table(&figures);
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("at most 1.25"), "{table}");
        let lengths: Vec<usize> = table.lines().map(|l| l.chars().count()).collect();
        assert!(lengths.windows(2).all(|w| w[0] == w[1]), "{table}");
    }
}
