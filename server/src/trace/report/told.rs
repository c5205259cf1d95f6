//! What a report says, in its order: every sentence stands here once, and [`super::html`] and
//! [`super::pdf`] only set it.
//!
//! INVARIANT: nobody is named but by [`Verdict::Views`]; each number that is told is one of the trace.

use super::{
    Compared, LaidPicture, NamedView, ReportError, TraceReport, Verdict, Way,
    chart::{self, Chart},
    figures::{at_most, chance, count, counted, figure, given, seconds, seconds_of_ms, utc, wide},
};

/// Said at the end of a PDF some of whose letters its fonts do not have.
pub(super) const LETTERS_LOST: &str = "A \"?\" in this file may stand for a letter that the standard \
    fonts of PDF do not have. The HTML report of this trace has all letters.";
/// Said under the chart.
pub(super) const SCORE_AXIS: &str = "Score z";
/// Said under the left picture of a pair, and under the right one.
pub(super) const CAME_AND_LAID: [&str; 2] =
    ["as it came, the recording's outline drawn in", "as it lies on the recording"];
/// Named views that find room in the first sentence; more are in the table only.
const IN_A_SENTENCE: usize = 5;

/// A report, piece by piece.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told<'a> {
    pub(super) title: &'static str,
    /// Which trace, and when.
    pub(super) which: String,
    pub(super) blocks: Vec<Block<'a>>,
}

/// A piece of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block<'a> {
    Verdict(Headline),
    Heading(&'static str),
    Text(String),
    Points(Vec<String>),
    Facts(Vec<(&'static str, String)>),
    Table(Table),
    Chart(Chart),
    Pictures(Vec<Pair<'a>>),
}

/// The verdict.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Headline {
    /// Whether a mark was found at all.
    pub(super) found: bool,
    pub(super) first: String,
    pub(super) more: Vec<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A column: its name, its part of the page's width, and whether it holds numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) share: f32,
    pub(super) number: bool,
}

const fn column(name: &'static str, share: f32, number: bool) -> Column {
    Column { name, share, number }
}

/// A cell; `under` is what is set smaller below.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) under: Vec<String>,
}

fn cell(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), under: Vec::new() }
}

/// Two pictures side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair<'a> {
    pub(super) picture: &'a LaidPicture,
    pub(super) caption: String,
}

const NAMED: [Column; 7] = [
    column("No.", 0.05, true),
    column("Opened by", 0.30, false),
    column("When", 0.16, false),
    column("What for", 0.19, false),
    column("Log entry", 0.11, true),
    column("z", 0.08, true),
    column("Chance p", 0.11, true),
];

const WAYS: [Column; 8] = [
    column("Recording of event", 0.36, false),
    column("Likeness", 0.09, true),
    column("Pictures", 0.09, true),
    column("Mirrored", 0.10, false),
    column("Begins at", 0.10, true),
    column("Speed", 0.09, true),
    column("Signs", 0.09, true),
    column("Best z", 0.08, true),
];

/// Tells a trace.
///
/// # Errors
/// [`ReportError::Picture`] where a picture has not the shades that its size asks for.
pub(super) fn tell(report: &TraceReport) -> Result<Told<'_>, ReportError> {
    for laid in report.pictures.iter() {
        laid.came.check(laid.leak_ms)?;
        laid.laid.check(laid.leak_ms)?;
    }
    let mut blocks = vec![Block::Verdict(verdict(report))];
    let named = named(report);
    if !named.is_empty() {
        blocks.extend([
            Block::Heading("Views whose mark is in the file"),
            Block::Table(Table {
                columns: &NAMED,
                rows: (1..).zip(named).map(|(no, view)| named_row(no, view)).collect(),
            }),
            Block::Text(
                "z is the score of the view; p is the chance that any view that had no part reaches it, \
                 corrected for all looks of this trace."
                    .to_owned(),
            ),
        ]);
    }
    blocks.extend([Block::Heading("What this does not show"), Block::Points(limits(report))]);
    blocks.extend([Block::Heading("The file"), Block::Facts(file(report))]);
    blocks.push(Block::Heading("Recordings that it was compared with"));
    blocks.push(Block::Text(searched(report)));
    if !report.compared.is_empty() {
        let rows = report.compared.iter().flat_map(compared_rows).collect();
        blocks.push(Block::Table(Table { columns: &WAYS, rows }));
    }
    blocks.push(Block::Heading("Scores of the other views"));
    blocks.push(Block::Text(others(report)));
    let named_z: Vec<f64> = named.iter().map(|view| view.z).collect();
    blocks.extend(chart::lay_out(&report.others, report.threshold_z, &named_z).map(Block::Chart));
    blocks.push(Block::Heading("Pictures of the file"));
    blocks.push(Block::Text(pictures(report)));
    if !report.pictures.is_empty() {
        blocks.push(Block::Pictures(report.pictures.iter().map(pair).collect()));
    }
    blocks.extend([Block::Heading("How it was done"), Block::Points(method(report))]);
    blocks.extend([Block::Heading("Who asked"), Block::Facts(who(report))]);
    Ok(Told {
        title: "Trace of a leaked file",
        which: format!("Trace {}, {}", given(&report.trace), utc(report.at_ms)),
        blocks,
    })
}

fn named(report: &TraceReport) -> &[NamedView] {
    match &report.verdict {
        Verdict::Views(views) => views,
        Verdict::NoneOfItsViews { .. } | Verdict::None => &[],
    }
}

/// Recordings on which the file may lie.
fn alike(report: &TraceReport) -> u64 {
    wide(report.compared.iter().filter(|c| !c.ways.is_empty()).count())
}

/// Views that were compared with the file.
fn compared_views(report: &TraceReport) -> u64 {
    let views = report.compared.iter().filter(|c| !c.ways.is_empty()).map(|c| c.views);
    views.fold(0, u64::saturating_add)
}

/// What was found.
pub(super) fn verdict(report: &TraceReport) -> Headline {
    match &report.verdict {
        Verdict::Views(views) if !views.is_empty() => views_verdict(views),
        Verdict::NoneOfItsViews { unit, event, z, p } => Headline {
            found: true,
            first: format!(
                "The mark of unit {}, as it is in its recording of event {}, is in this file, and the mark \
                 of none of the {} of it that were compared. The chance of such a score without the \
                 unit's mark is {} (z = {}).",
                given(unit),
                given(event),
                counted(compared_views(report), "view", "views"),
                at_most(*p),
                figure(*z, 2),
            ),
            more: vec![
                "So looks a copy that was taken at the unit, on the way or from the storage, and never \
                 went through the portal. A view's mark that has become too weak to be found is not \
                 excluded. Nobody is named."
                    .to_owned(),
            ],
        },
        Verdict::Views(_) | Verdict::None => Headline {
            found: false,
            first: "Nobody is named: no mark in this file reaches the score that is asked for.".to_owned(),
            more: vec![likeness(report)],
        },
    }
}

fn views_verdict(views: &[NamedView]) -> Headline {
    let told = |view: &NamedView| {
        format!(
            "view {}, opened by {} on {}",
            given(&view.view),
            given(&view.viewer),
            utc(view.opened_ms)
        )
    };
    // The weakest of several: that any innocent view reaches even that one.
    let p = views
        .iter()
        .map(|view| view.p)
        .fold(0.0, |most: f64, p| if most.is_nan() || p.is_nan() { f64::NAN } else { most.max(p) });
    let chance =
        format!("The chance that a trace names anybody who had no part is {}.", at_most(p));
    let several = "Several marks are in a file when copies were put together. The views of one recording \
                   may be of one person.";
    match views {
        [view] => Headline {
            found: true,
            first: format!("The mark of {}, is in this file. {chance}", told(view)),
            more: Vec::new(),
        },
        views if views.len() <= IN_A_SENTENCE => Headline {
            found: true,
            first: format!(
                "The marks of {} views are in this file: {}. {chance}",
                views.len(),
                views.iter().map(told).collect::<Vec<_>>().join("; ")
            ),
            more: vec![several.to_owned()],
        },
        views => Headline {
            found: true,
            first: format!(
                "The marks of {} views are in this file; the table names them. {chance}",
                count(wide(views.len()))
            ),
            more: vec![several.to_owned()],
        },
    }
}

/// What a file without a mark looks like.
fn likeness(report: &TraceReport) -> String {
    let compared = wide(report.compared.len());
    if compared == 0 {
        "The file was compared with no recording.".to_owned()
    } else if alike(report) == 0 {
        format!(
            "The file looks like none of the {} that it was compared with.",
            counted(compared, "recording", "recordings")
        )
    } else {
        format!(
            "The file can be laid on {} of the {} that it was compared with, and {} were asked for. That \
             it looks like a recording is no evidence against anybody who saw it.",
            count(alike(report)),
            counted(compared, "recording", "recordings"),
            counted(compared_views(report), "view", "views"),
        )
    }
}

fn named_row(number: u64, view: &NamedView) -> Vec<Cell> {
    let kind = if view.export { "export to a file" } else { "look at the page" };
    vec![
        cell(count(number)),
        Cell {
            text: given(&view.viewer),
            under: vec![
                format!("view {}", given(&view.view)),
                format!("event {}", given(&view.event)),
            ],
        },
        cell(utc(view.opened_ms)),
        Cell { text: given(&view.purpose), under: vec![kind.to_owned()] },
        cell(count(view.log_index)),
        cell(figure(view.z, 2)),
        cell(chance(view.p)),
    ]
}

fn limits(report: &TraceReport) -> Vec<String> {
    let mut limits = Vec::new();
    match &report.verdict {
        Verdict::Views(views) if !views.is_empty() => limits.extend([
            "That the person was at the screen. The mark says which view the pictures come from, and the \
             access log who was signed in; not who looked over a shoulder, or used an unlocked computer.",
            "Who filmed the screen, or passed the file on.",
            "How likely it is that somebody named is innocent. The chance told is that of naming a view \
             that had no part; what else is known of the case is not in it.",
        ]),
        Verdict::NoneOfItsViews { .. } => limits.extend([
            "Who took the copy, or where.",
            "That nobody who opened the recording had a part.",
        ]),
        Verdict::Views(_) | Verdict::None => limits.extend([
            "That anybody is cleared. A mark can be destroyed by what was done to a file, and a file may \
             be too short or too poor for it.",
            "That the file shows no recording of this fleet.",
        ]),
    }
    limits.extend([
        "That the mark is not forged by whoever holds the fleet's secret, or had the keys of views from an \
         earlier trace: they can put the mark of any view into a file. Each asking for keys is in the \
         access log, and the mark without that log accuses nobody.",
        "Anything of recordings that were deleted: with those no file can be compared.",
    ]);
    limits.into_iter().map(str::to_owned).collect()
}

fn file(report: &TraceReport) -> Vec<(&'static str, String)> {
    let file = &report.file;
    vec![
        ("SHA-256", given(&file.sha256)),
        ("Length", counted(file.bytes, "byte", "bytes")),
        (
            "Looked at",
            format!(
                "{}, {}",
                seconds(file.seconds),
                counted(wide(file.pictures), "picture", "pictures")
            ),
        ),
    ]
}

fn searched(report: &TraceReport) -> String {
    let searched = if report.searched == 0 {
        "No recording was searched by its fingerprint.".to_owned()
    } else {
        format!(
            "The fingerprint of the file was compared with those of {}. How they agree is a rank, no \
             evidence.",
            counted(report.searched, "recording", "recordings")
        )
    };
    if report.compared.is_empty() {
        format!("{searched} The file was laid on none.")
    } else {
        format!(
            "{searched} On these the file was laid, the likeliest first, and each way in which it may lie \
             there was tried on its own."
        )
    }
}

fn compared_rows(compared: &Compared) -> Vec<Vec<Cell>> {
    let likeness = compared.likeness.map_or_else(
        || "named by who asked".to_owned(),
        |likeness| format!("fingerprint {}", figure(likeness, 2)),
    );
    let mut under = vec![format!(
        "{} camera; {}; {likeness}",
        given(compared.camera),
        counted(compared.views, "view", "views")
    )];
    if compared.ways.is_empty() {
        under.push("the file does not lie on it".to_owned());
    }
    let mut recording = Some(Cell { text: given(&compared.event), under });
    if compared.ways.is_empty() {
        let none = [""; WAYS.len() - 1].map(cell);
        return vec![recording.into_iter().chain(none).collect()];
    }
    let row = |way: &Way| {
        let figures = [
            figure(way.quality, 2),
            count(wide(way.pictures)),
            if way.mirrored { "yes" } else { "no" }.to_owned(),
            seconds(way.offset_s),
            figure(way.speed, 4),
            count(wide(way.signs)),
            figure(way.best_z, 2),
        ];
        let first = recording.take().unwrap_or_else(|| cell("another way"));
        std::iter::once(first).chain(figures.map(cell)).collect()
    };
    compared.ways.iter().map(row).collect()
}

fn others(report: &TraceReport) -> String {
    let views = report.others.bins.iter().map(|(_, n)| *n).fold(0, u64::saturating_add);
    let drawn = chart::drawn(&report.others).map(|(_, n)| n).fold(0, u64::saturating_add);
    if views == 0 {
        return "There was no other view to compare.".to_owned();
    }
    let best = report
        .others
        .best
        .map_or_else(String::new, |best| format!(" The best of them reached {}.", figure(best, 2)));
    let left_out = if drawn == views {
        String::new()
    } else {
        format!(" {} whose score is no number are not drawn.", count(views - drawn))
    };
    format!(
        "{} that are not named, each by its score. A view had to reach {} to be named.{best} A bar that is \
         not empty is drawn at least as a line; the highest holds {}.{left_out}",
        counted(views, "view", "views"),
        figure(report.threshold_z, 2),
        counted(chart::drawn(&report.others).map(|(_, n)| n).max().unwrap_or(0), "view", "views"),
    )
}

fn pictures(report: &TraceReport) -> String {
    let shown = if report.pictures.is_empty() {
        "None is shown: the file lies on no recording, or its pictures are not held any more."
    } else {
        "Each is shown as it came, and as it was laid on the recording, in shades of grey."
    };
    format!(
        "{shown} The recording itself is not shown here: this report is passed on, and a recording is only \
         shown in the portal, where each look at it is decided on, logged and marked."
    )
}

fn pair(picture: &LaidPicture) -> Pair<'_> {
    Pair {
        picture,
        caption: format!(
            "At {} of the file, {} of the recording; likeness {}",
            seconds_of_ms(picture.leak_ms),
            seconds_of_ms(picture.clip_ms),
            figure(picture.quality, 2)
        ),
    }
}

fn method(report: &TraceReport) -> Vec<String> {
    let ways = report.compared.iter().map(|c| wide(c.ways.len())).fold(0, u64::saturating_add);
    vec![
        "The marks. Each view of a recording has a mark of its own in its pictures: cells that are a little \
         brighter or darker, anew every half second. Which of the two, its sign, comes from a key of that \
         view by HMAC-SHA256. The server keeps the recordings without these marks, and the list of the \
         views."
            .to_owned(),
        format!(
            "Laying on. It was looked for how the file may lie on each recording: which moment of it each \
             picture shows, where in the picture the recording lies, mirrored or not. In this trace {} \
             on {} were kept and tried.",
            counted(ways, "way", "ways"),
            counted(alike(report), "recording", "recordings"),
        ),
        "Taking off. The recording was taken off the file, and what was left was added up for each cell \
         and each half second, every number kept within bounds. This evidence was complete before the key \
         of any view was looked at."
            .to_owned(),
        "Score. z is the sum of sign times evidence over all cells and half seconds, divided by the root \
         of the sum of the squared evidence."
            .to_owned(),
        "Chance of one look. The signs of a view that had no part are fair coins, independent of the \
         evidence. By Hoeffding's inequality it reaches a score of z with a chance of at most \
         exp(-z\u{b2}/2): whatever the file is, however it was filmed, and however wrong the laying on. A \
         wrong step can hide a mark; it cannot make one."
            .to_owned(),
        format!(
            "Chance of the trace. Each view, and each unit's mark, in each way is one look: {} in this \
             trace. By Bonferroni's inequality the chance that any of them reaches z without a part is at \
             most that of one look times their number. The chance accepted for the whole trace is {}, and \
             for it a score of {} is needed.",
            count(report.looks),
            chance(report.bound),
            figure(report.threshold_z, 2),
        ),
        "What it rests on. That HMAC-SHA256 cannot be told from chance, that whoever made the file did not \
         know the keys, and that the program does what is written here. A very small number is one under \
         these conditions: that one of them fails is then likelier than the number. The derivation and \
         its tests are in docs/forensic-mark.md of the program's source."
            .to_owned(),
    ]
}

fn who(report: &TraceReport) -> Vec<(&'static str, String)> {
    vec![
        ("Asked by", given(&report.asked_by)),
        ("Let by", given(&report.decided_by)),
        ("Why", given(&report.words)),
        ("Begun", utc(report.at_ms)),
        ("Trace", given(&report.trace)),
        ("Program", format!("Temoin {}", given(&report.version))),
    ]
}
