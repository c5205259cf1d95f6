//! Charts beside the figures, so that one can look: PNG files of lines, dots, bars and bands.
//!
//! A chart holds numbers only, never a part of a picture. plotters draws, with the DejaVu font of
//! the system; the program ffmpeg, which reads the evaluation pictures too, writes the PNG.

use std::{
    fs,
    io::Write as _,
    ops::Range,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow, ensure};
use plotters::{
    backend::BitMapBackend,
    chart::{ChartBuilder, SeriesLabelPosition},
    drawing::IntoDrawingArea,
    element::{Circle, PathElement, Rectangle},
    style::{Color, FontStyle, RGBColor, ShapeStyle, WHITE, register_font},
};

const SIZE: (u32, u32) = (1200, 500);
/// Where the package fonts-dejavu-core puts it.
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
const FAMILY: &str = "sans-serif";

/// Colours that can be told apart, also by most who see few colours (Okabe and Ito).
pub mod colour {
    use plotters::style::RGBColor;

    /// Labels.
    pub const BLACK: RGBColor = RGBColor(0, 0, 0);
    /// The downloaded pack.
    pub const BLUE: RGBColor = RGBColor(0, 114, 178);
    /// The built-in pack.
    pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
    /// What labels say of a stretch of time.
    pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
    /// A limit.
    pub const GREEN: RGBColor = RGBColor(0, 158, 115);
    /// What is in the background.
    pub const GREY: RGBColor = RGBColor(150, 150, 150);
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Look {
    /// Joined; a point that is not a number parts the line.
    Line,
    /// Each alone.
    Dots,
    /// A bar of this width from zero up.
    Bars(f64),
    /// The whole height of the chart, from each point's x as far as its y says.
    Spans,
}

/// One thing in a chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// How it is drawn.
    pub look: Look,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series.
    pub fn new(
        name: impl Into<String>,
        colour: RGBColor,
        look: Look,
        points: Vec<(f64, f64)>,
    ) -> Self {
        Self { name: name.into(), colour, look, points }
    }

    /// A level line over the whole width.
    pub fn level(name: impl Into<String>, colour: RGBColor, x: &Range<f64>, y: f64) -> Self {
        Self::new(name, colour, Look::Line, vec![(x.start, y), (x.end, y)])
    }

    /// What is told, less and more by its stated error. `told`: abscissa, value, error.
    pub fn deviation(told: impl IntoIterator<Item = (f64, f64, f64)>) -> Self {
        let ends = |(x, value, error)| [(x, value - error), (x, value + error)];
        let points = told.into_iter().flat_map(ends).collect();
        Self::new("one standard deviation", colour::GREY, Look::Dots, points)
    }
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below it, with the unit.
    pub x_name: &'static str,
    /// Beside it, with the unit.
    pub y_name: &'static str,
    /// What is shown of x.
    pub x: Range<f64>,
    /// What is shown of y.
    pub y: Range<f64>,
    /// What is in it; later ones lie on top.
    pub series: Vec<Series>,
}

/// Whether the font is there; without it there are no charts.
fn font() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| {
        // Once in the life of the program: the library wants bytes that stay.
        fs::read(FONT).is_ok_and(|bytes| {
            register_font(FAMILY, FontStyle::Normal, Box::leak(bytes.into_boxed_slice())).is_ok()
        })
    })
}

impl Chart {
    /// Draws it: red, green and blue, row by row.
    fn pixels(&self) -> Result<Vec<u8>> {
        ensure!(font(), "no font `{FONT}`: install fonts-dejavu-core");
        ensure!(
            self.x.start < self.x.end && self.y.start < self.y.end,
            "chart `{}` shows nothing: {:?} by {:?}",
            self.title,
            self.x,
            self.y
        );
        let (width, height) = (usize::try_from(SIZE.0)?, usize::try_from(SIZE.1)?);
        let mut pixels = vec![0; width * height * 3];
        self.draw(&mut pixels).map_err(|e| anyhow!("chart `{}`: {e}", self.title))?;
        Ok(pixels)
    }

    fn draw(&self, pixels: &mut [u8]) -> Result<(), Box<dyn std::error::Error>> {
        let area = BitMapBackend::with_buffer(pixels, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, (FAMILY, 22))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        chart
            .configure_mesh()
            .x_desc(self.x_name)
            .y_desc(self.y_name)
            .label_style((FAMILY, 15))
            .axis_desc_style((FAMILY, 16))
            .light_line_style(WHITE)
            .draw()?;
        for series in &self.series {
            let colour = series.colour;
            let drawn = match series.look {
                Look::Line => {
                    let lines = series.points.split(|(x, y)| !(x.is_finite() && y.is_finite()));
                    let style = ShapeStyle::from(colour).stroke_width(2);
                    chart.draw_series(lines.map(|l| PathElement::new(l.to_vec(), style)))?
                }
                Look::Dots => {
                    let dots = series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
                    chart.draw_series(dots.map(|p| Circle::new(*p, 3, colour.filled())))?
                }
                Look::Bars(width) => chart.draw_series(series.points.iter().map(|(x, y)| {
                    Rectangle::new([(*x, 0.0), (x + width, *y)], colour.mix(0.5).filled())
                }))?,
                Look::Spans => chart.draw_series(series.points.iter().map(|(x, length)| {
                    let corners = [(*x, self.y.start), (x + length, self.y.end)];
                    Rectangle::new(corners, colour.mix(0.25).filled())
                }))?,
            };
            drawn.label(&series.name).legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled())
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(colour::GREY)
            .label_font((FAMILY, 15))
            .draw()?;
        area.present()?;
        Ok(())
    }

    /// Writes `FOLDER/NAME.png`.
    ///
    /// # Errors
    /// Where there is no font or no ffmpeg, or the file cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let pixels = self.pixels()?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(format!("{name}.png"));
        let size = format!("{}x{}", SIZE.0, SIZE.1);
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-i", "-"])
            .args(["-frames:v", "1", "-y"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .context("the program ffmpeg is needed to write charts")?;
        if let Some(mut stdin) = ffmpeg.stdin.take() {
            stdin.write_all(&pixels).context("ffmpeg did not take the chart")?;
        }
        ensure!(ffmpeg.wait()?.success(), "cannot write `{}`", path.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        let title = "turn".to_owned();
        Chart { title, x_name: "s", y_name: "degrees", x: 0.0..10.0, y: -50.0..50.0, series }
    }

    #[test]
    fn what_is_in_a_chart_is_drawn() {
        if !font() {
            println!("skipped: no font, install fonts-dejavu-core");
            return;
        }
        let of = |points: Vec<(f64, f64)>, look| {
            let pixels =
                chart(vec![Series::new("a", colour::BLUE, look, points)]).pixels().unwrap();
            let blue = [colour::BLUE.0, colour::BLUE.1, colour::BLUE.2];
            pixels.chunks_exact(3).filter(|p| **p == blue).count()
        };
        let legend = of(vec![], Look::Line);
        assert!(legend > 50, "{legend}");
        for look in [Look::Line, Look::Dots] {
            let drawn = of(vec![(1.0, 0.0), (5.0, 40.0), (9.0, -40.0)], look);
            assert!(drawn > legend + 40, "{look:?}: {drawn} of {legend}");
        }
        // A value that is not a number is not drawn and does no harm.
        let gap = of(vec![(1.0, 0.0), (f64::NAN, 1.0), (9.0, f64::NAN)], Look::Line);
        assert!(gap <= legend + 3, "{gap}");
        assert_eq!(of(vec![(f64::NAN, 1.0)], Look::Dots), legend);
    }

    #[test]
    fn a_chart_is_written_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let x = 0.0..10.0;
        let good = chart(vec![
            Series::level("limit", colour::GREEN, &x, 10.0),
            Series::new("b", colour::GREY, Look::Bars(0.5), vec![(1.0, 20.0)]),
            Series::new("s", colour::GREY, Look::Spans, vec![(2.0, 1.5)]),
        ]);
        match good.write(folder.path(), "new") {
            Ok(()) => {
                let bytes = fs::read(folder.path().join("new.png")).unwrap();
                assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 1000);
            }
            Err(e) => assert!(e.to_string().contains("fonts-dejavu-core"), "{e:#}"),
        }
        let empty = Chart { y: 1.0..1.0, ..chart(vec![]) };
        assert!(empty.write(folder.path(), "none").is_err());
    }
}
