//! A report as one page of HTML that stands alone: style and pictures are in it, no script, no address.
//!
//! INVARIANT: every text goes through the template's escaping; the page's own policy lets it fetch nothing.

use std::borrow::Borrow;

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    ReportError, Shades, TraceReport,
    chart::{Chart, Label},
    told::{self, Block, Told},
};

/// Width of the chart, in units of its drawing, and of the field within it.
const CHART_WIDTH: f64 = 760.0;
/// Height of the bars.
const BARS: f64 = 150.0;
/// Height of a row of labels.
const ROW: f64 = 16.0;
/// A bar is at least so high.
const LEAST_BAR: f64 = 1.5;

#[derive(Template)]
#[template(path = "trace_report.html")]
struct Page<'a> {
    told: Told<'a>,
    pairs: Vec<[Drawn; 2]>,
}

/// A picture, ready for the page.
struct Drawn {
    address: String,
    width: u32,
    height: u32,
}

/// Writes a report as a page.
///
/// # Errors
/// [`ReportError`] where a picture is not whole, or cannot be written.
pub fn html(report: &TraceReport) -> Result<String, ReportError> {
    let told = told::tell(report)?;
    let pairs = report
        .pictures
        .iter()
        .map(|laid| Ok([drawn(&laid.came)?, drawn(&laid.laid)?]))
        .collect::<Result<_, ReportError>>()?;
    Ok(Page { told, pairs }.render()?)
}

/// A picture as an address that holds all of it.
fn drawn(shades: &Shades) -> Result<Drawn, ReportError> {
    let png = temoin_media::png::encode_grey(shades.width, shades.height, &shades.luma)?;
    Ok(Drawn {
        address: format!("data:image/png;base64,{}", STANDARD.encode(&png)),
        width: shades.width,
        height: shades.height,
    })
}

/// Where the pieces of a chart stand in its drawing; all for the template.
impl Chart {
    fn across(&self, at: impl Borrow<f64>) -> String {
        format!("{:.1}", at.borrow() * CHART_WIDTH)
    }

    fn top(&self) -> f64 {
        // A chart has some rows of labels only.
        f64::from(u32::try_from(self.rows).unwrap_or(0)) * ROW + 4.0
    }

    fn floor(&self) -> f64 {
        self.top() + BARS
    }

    fn drawing(&self) -> String {
        format!("-8 0 {:.0} {:.0}", CHART_WIDTH + 16.0, self.floor() + 40.0)
    }

    fn bar_height(&self, height: f64) -> f64 {
        (height * BARS).max(LEAST_BAR)
    }

    /// Left, top, width and height.
    fn bar(&self, bar: &super::chart::Bar) -> [String; 4] {
        let height = self.bar_height(bar.height);
        let (left, width) = (bar.left * CHART_WIDTH, (bar.right - bar.left) * CHART_WIDTH);
        [left, self.floor() - height, width, height].map(|at| format!("{at:.1}"))
    }

    fn label_y(&self, label: &Label) -> f64 {
        f64::from(u32::try_from(label.row).unwrap_or(0)) * ROW + 12.0
    }

    fn label_x(&self, at: &f64, label: &Label) -> String {
        let aside = if label.leftwards { -4.0 } else { 4.0 };
        format!("{:.1}", at * CHART_WIDTH + aside)
    }
}
