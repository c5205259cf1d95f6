//! All leaks as a table: what was found, by what was done to them, content and size.

use super::{Trial, Visible};

/// Markdown with a row for each kind of leak of each recording.
pub(super) fn markdown(trials: &[Trial]) -> String {
    let mut lines = vec![
        "| recording | lines | leak | found | named | z, least and most | p of the least | mark in a corner | \
         moving mark |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut rows: Vec<Vec<&Trial>> = Vec::new();
    for trial in trials {
        let same = |row: &Vec<&Trial>| {
            let of = |t: &Trial| (t.scene.clone(), t.side, t.what.name());
            row.first().is_some_and(|first| of(first) == of(trial))
        };
        match rows.iter_mut().find(|row| same(row)) {
            Some(row) => row.push(trial),
            None => rows.push(vec![trial]),
        }
    }
    for row in rows {
        let Some(first) = row.first() else { continue };
        let named = row.iter().filter(|trial| trial.named).count();
        let searched: Vec<bool> = row.iter().filter_map(|trial| trial.found).collect();
        let found = searched.iter().filter(|found| **found).count();
        let wrong = row.iter().filter(|trial| trial.wrong).count();
        let z = |better: fn(f64, f64) -> f64| row.iter().map(|t| t.z).reduce(better).unwrap_or(0.0);
        let log_p = row.iter().map(|t| t.log_p).fold(f64::NEG_INFINITY, f64::max);
        let whole = |which: fn(&Visible) -> bool| {
            let seen: Vec<bool> =
                row.iter().filter_map(|t| t.visible.as_ref().map(which)).collect();
            if seen.is_empty() {
                return String::new();
            }
            format!("{} of {}", seen.iter().filter(|yes| **yes).count(), seen.len())
        };
        let accused = if wrong > 0 { format!(", {wrong} WRONG") } else { String::new() };
        lines.push(format!(
            "| {} | {} | {} | {found} of {} | {named} of {}{accused} | {:.1}, {:.1} | 1e{log_p:.0} | {} | {} |",
            first.scene,
            first.side,
            first.what.name(),
            searched.len(),
            row.len(),
            z(f64::min),
            z(f64::max),
            whole(|seen| seen.in_a_corner),
            whole(|seen| seen.moving),
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Length, What},
        *,
    };
    use crate::attacks::{Attack, Severity};

    fn trial(what: What, z: f64) -> Trial {
        let named = z > 8.4;
        Trial {
            scene: "street".to_owned(),
            side: 360,
            what,
            z,
            log_p: -z,
            found: Some(named),
            named,
            wrong: false,
            visible: None,
        }
    }

    #[test]
    fn leaks_of_one_kind_make_one_row() {
        let mild = What::Filmed(Severity::Mild, Length::Six);
        let cut = Trial {
            visible: Some(Visible { in_a_corner: false, moving: true }),
            wrong: true,
            ..trial(What::Edited(Attack::PortraitCrop), 60.0)
        };
        let table = markdown(&[trial(mild, 20.0), cut, trial(mild, 5.0)]);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| street | 360 | mild, 6 s | 1 of 2 | 1 of 2 | 5.0, 20.0 | 1e-5 |  |  |",
                "| street | 360 | portrait-crop | 1 of 1 | 1 of 1, 1 WRONG | 60.0, 60.0 | 1e-60 | 0 of 1 | 1 of 1 |",
            ]
        );
    }
}
