//! A report as a PDF that stands alone: two of the standard fonts, pictures as they are, no link.
//!
//! INVARIANT: it says what [`super::told`] says, in its order. A letter that the fonts do not have is a
//! `?`, and the last line says so.

use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::{Date, Filter, Finish as _, Name, Pdf, Rect, Ref, TextStr};

use super::{
    ReportError, Shades, TraceReport,
    chart::Chart,
    figures::wide,
    helvetica::Font,
    paper::{
        DARK_RULE, FIELD, FOOT, GREY, HEIGHT, INK, Ink, LEFT, Lines, MEASURE, Paper, Place, RULE,
        Sheet, Style, WIDTH,
    },
    told::{self, Block, Headline, Pair, Table, Told},
};

const TITLE: Style = Style { font: Font::Bold, size: 20.0, leading: 25.0, ink: INK };
const HEADING: Style = Style { font: Font::Bold, size: 12.5, leading: 16.0, ink: INK };
const FINDING: Style = Style { font: Font::Bold, size: 11.5, leading: 16.0, ink: INK };
const BODY: Style = Style { font: Font::Plain, size: 9.5, leading: 13.0, ink: INK };
const ASIDE: Style = Style { ink: GREY, ..BODY };
const TABLE: Style = Style { font: Font::Plain, size: 8.0, leading: 10.5, ink: INK };
const TABLE_HEAD: Style = Style { font: Font::Bold, ink: GREY, ..TABLE };
const SMALL: Style = Style { font: Font::Plain, size: 7.0, leading: 9.0, ink: GREY };

const BRAND: Ink = [0.043, 0.31, 0.384];
const BRAND_SOFT: Ink = [0.882, 0.937, 0.953];
const SOFT: Ink = [0.933, 0.945, 0.953];
const BARS: Ink = [0.498, 0.663, 0.714];
const NAMED: Ink = [0.616, 0.102, 0.071];

/// The packing of pages and pictures, 0 to 10: the usual one of zlib.
const PACKING: u8 = 6;
/// A picture is at most so high.
const PICTURE_HEIGHT: f32 = 260.0;
/// Between two pictures.
const GAP: f32 = 12.0;

/// Writes a report as PDF.
///
/// # Errors
/// [`ReportError`] where a picture is not whole, or the file would have more parts than PDF counts.
pub fn pdf(report: &TraceReport) -> Result<Vec<u8>, ReportError> {
    let told = told::tell(report)?;
    let title = format!("{}: {}", told.title, told.which);
    let foot = told.which.clone();
    let sheets = set(&told).finish(SMALL, &foot);
    let shades: Vec<&Shades> =
        report.pictures.iter().flat_map(|laid| [&laid.came, &laid.laid]).collect();
    bind(sheets, &shades, &title, report)
}

/// Sets all blocks.
fn set(told: &Told<'_>) -> Paper {
    let mut paper = Paper::new();
    let title = paper.lines(TITLE, MEASURE, told.title);
    paper.set(LEFT, &title);
    let which = paper.lines(ASIDE, MEASURE, &told.which);
    paper.set(LEFT, &which);
    paper.space(12.0);
    for block in &told.blocks {
        match block {
            Block::Verdict(headline) => set_verdict(&mut paper, headline),
            Block::Heading(text) => {
                paper.space(14.0);
                paper.room(HEADING.leading + 4.0 + 4.0 * BODY.leading);
                let text = paper.lines(HEADING, MEASURE, text);
                paper.set(LEFT, &text);
                paper.space(4.0);
            }
            Block::Text(text) => {
                let text = paper.lines(BODY, MEASURE, text);
                set_whole(&mut paper, LEFT, &text);
                paper.space(6.0);
            }
            Block::Points(points) => {
                for text in points {
                    let text = paper.lines(BODY, MEASURE - 12.0, text);
                    paper.room(text.height().min(FIELD / 3.0));
                    let y = paper.y() - BODY.leading * 0.72;
                    paper.label(BODY, LEFT, y, "\u{2022}", Place::From);
                    paper.set(LEFT + 12.0, &text);
                    paper.space(4.0);
                }
            }
            Block::Facts(facts) => {
                for (name, text) in facts {
                    let text = paper.lines(BODY, MEASURE - 80.0, text);
                    paper.room(text.height().min(FIELD / 3.0));
                    let y = paper.y() - BODY.leading * 0.72;
                    paper.label(ASIDE, LEFT, y, name, Place::From);
                    paper.set(LEFT + 80.0, &text);
                    paper.space(2.0);
                }
            }
            Block::Table(table) => set_table(&mut paper, table),
            Block::Chart(chart) => set_chart(&mut paper, chart),
            Block::Pictures(pairs) => {
                for (number, pair) in pairs.iter().enumerate() {
                    set_pair(&mut paper, number, pair);
                }
            }
        }
    }
    if paper.lost {
        paper.space(14.0);
        let text = paper.lines(ASIDE, MEASURE, told::LETTERS_LOST);
        set_whole(&mut paper, LEFT, &text);
    }
    paper
}

/// Sets a text on one sheet, unless it is long.
fn set_whole(paper: &mut Paper, x: f32, text: &Lines) {
    paper.room(text.height().min(FIELD / 3.0));
    paper.set(x, text);
}

fn set_verdict(paper: &mut Paper, headline: &Headline) {
    let inner = MEASURE - 30.0;
    let mut texts = vec![paper.lines(FINDING, inner, &headline.first)];
    for text in &headline.more {
        texts.push(paper.lines(BODY, inner, text));
    }
    let height: f32 = texts.iter().map(|text| text.height() + 5.0).sum::<f32>() + 17.0;
    let (bar, ground) = if headline.found { (BRAND, BRAND_SOFT) } else { (DARK_RULE, SOFT) };
    // The ground is drawn where all of it is on one sheet; hostile words may be longer than that.
    let whole = height <= FIELD;
    if whole {
        paper.room(height);
        let y = paper.y() - height;
        paper.fill(ground, [LEFT, y, MEASURE, height]);
        paper.fill(bar, [LEFT, y, 4.0, height]);
        paper.down(11.0);
    }
    for text in &texts {
        paper.set(LEFT + 18.0, text);
        paper.down(5.0);
    }
    if whole {
        paper.down(6.0);
    }
}

fn set_table(paper: &mut Paper, table: &Table) {
    let widths: Vec<f32> = table.columns.iter().map(|column| column.share * MEASURE).collect();
    let columns = || {
        let mut x = LEFT;
        table.columns.iter().zip(&widths).map(move |(column, width)| {
            x += width;
            (column, x - width, width - 8.0)
        })
    };
    let head = |paper: &mut Paper| {
        let y = paper.y() - TABLE.leading * 0.72;
        for (column, x, width) in columns() {
            let (x, place) = if column.number { (x + width, Place::To) } else { (x, Place::From) };
            paper.label(TABLE_HEAD, x, y, column.name, place);
        }
        paper.down(TABLE.leading + 2.0);
        paper.fill(DARK_RULE, [LEFT, paper.y(), MEASURE, 0.6]);
        paper.down(3.0);
    };
    paper.room(5.0 * TABLE.leading);
    head(paper);
    for row in &table.rows {
        let mut cells = Vec::new();
        for ((column, x, width), cell) in columns().zip(row) {
            let mut texts = vec![paper.lines(TABLE, width, &cell.text)];
            for under in &cell.under {
                texts.push(paper.lines(SMALL, width, under));
            }
            let lines = texts.into_iter().flat_map(|text| {
                let style = text.style;
                text.lines.into_iter().map(move |line| (style, line))
            });
            cells.push((column, x, width, lines.collect::<Vec<_>>()));
        }
        let most = cells.iter().map(|(.., lines)| lines.len()).max().unwrap_or(0);
        let line_height = TABLE.leading;
        let height: f32 = (0..most).map(|_| line_height).sum();
        if height <= FIELD / 2.0 && paper.room(height + 6.0) {
            head(paper);
        }
        // A row that is longer than its sheet goes on, line by line, on the next.
        let mut from = 0;
        while from < most {
            if paper.room(line_height) {
                head(paper);
            }
            let fits = (from..most)
                .scan(paper.y() - FOOT, |left, _| {
                    *left -= line_height;
                    (*left >= 0.0).then_some(())
                })
                .count()
                .max(1);
            for (column, x, width, lines) in &cells {
                let mut y = paper.y() - line_height * 0.72;
                for (style, line) in lines.iter().skip(from).take(fits) {
                    let end = x + width - style.font.width(line, style.size);
                    paper.put(*style, if column.number { end } else { *x }, y, line);
                    y -= line_height;
                }
            }
            paper.down((0..fits).map(|_| line_height).sum());
            from += fits;
        }
        paper.down(2.0);
        paper.fill(RULE, [LEFT, paper.y(), MEASURE, 0.5]);
        paper.down(4.0);
    }
    paper.space(4.0);
}

fn set_chart(paper: &mut Paper, chart: &Chart) {
    const BARS_HEIGHT: f32 = 110.0;
    const ROW: f32 = 11.0;
    let rows: f32 = (0..chart.rows).map(|_| ROW).sum();
    let height = rows + BARS_HEIGHT + 34.0;
    paper.room(height);
    let head = paper.y();
    let floor = head - rows - 4.0 - BARS_HEIGHT;
    let across = |at: f64| LEFT + points(at) * MEASURE;
    for bar in &chart.bars {
        let bar_height = (points(bar.height) * BARS_HEIGHT).max(1.0);
        let width = across(bar.right) - across(bar.left);
        paper.fill(BARS, [across(bar.left), floor, width, bar_height]);
    }
    paper.fill(DARK_RULE, [LEFT, floor - 0.3, MEASURE, 0.6]);
    for line in &chart.lines {
        let x = across(line.at);
        let (style, ink, width) = if line.named {
            (Style { font: Font::Bold, ink: NAMED, ..SMALL }, NAMED, 1.4)
        } else {
            (SMALL, INK, 0.8)
        };
        let mut top = floor + BARS_HEIGHT;
        if let Some(label) = &line.label {
            let y = head - (0..=label.row).map(|_| ROW).sum::<f32>() + 2.0;
            let (x, place) =
                if label.leftwards { (x - 3.0, Place::To) } else { (x + 3.0, Place::From) };
            paper.label(style, x, y, &label.text, place);
            top = y + 6.0;
        }
        if line.named {
            paper.fill(ink, [x - width / 2.0, floor, width, top - floor]);
        } else {
            dashes(paper, ink, x - width / 2.0, floor, top, width);
        }
    }
    for tick in &chart.ticks {
        let x = across(tick.at);
        paper.fill(DARK_RULE, [x - 0.3, floor - 3.0, 0.6, 3.0]);
        paper.label(SMALL, x, floor - 11.0, &tick.label, Place::Around);
    }
    paper.label(SMALL, LEFT + MEASURE / 2.0, floor - 22.0, told::SCORE_AXIS, Place::Around);
    paper.down(height);
}

/// A dashed line upwards.
fn dashes(paper: &mut Paper, ink: Ink, x: f32, from: f32, to: f32, width: f32) {
    let mut y = from;
    while y < to {
        paper.fill(ink, [x, y, width, 3.0_f32.min(to - y)]);
        y += 5.5;
    }
}

fn set_pair(paper: &mut Paper, number: usize, pair: &Pair<'_>) {
    let across = (MEASURE - GAP) / 2.0;
    let sizes = [&pair.picture.came, &pair.picture.laid].map(|shades| {
        let (width, height) = (points(f64::from(shades.width)), points(f64::from(shades.height)));
        let scale = (across / width).min(PICTURE_HEIGHT / height);
        [width * scale, height * scale]
    });
    let [[_, came], [_, laid]] = sizes;
    let high = came.max(laid);
    let caption = paper.lines(BODY, MEASURE, &pair.caption);
    paper.room(caption.height() + high + SMALL.leading + 18.0);
    paper.set(LEFT, &caption);
    paper.down(3.0);
    let head = paper.y();
    for (side, ([width, height], what)) in sizes.into_iter().zip(told::CAME_AND_LAID).enumerate() {
        let x = if side == 0 { LEFT } else { LEFT + across + GAP };
        let picture = number * 2 + side;
        let name = picture_name(picture);
        let sheet = paper.on_sheet();
        sheet.pictures.push(picture);
        sheet.content.save_state().transform([width, 0.0, 0.0, height, x, head - height]);
        sheet.content.x_object(Name(name.as_bytes())).restore_state();
        paper.label(SMALL, x, head - high - 9.0, what, Place::From);
    }
    paper.down(high + SMALL.leading + 12.0);
}

fn picture_name(picture: usize) -> String {
    format!("P{picture}")
}

/// Puts sheets and pictures into a file.
fn bind(
    sheets: Vec<Sheet>,
    shades: &[&Shades],
    title: &str,
    report: &TraceReport,
) -> Result<Vec<u8>, ReportError> {
    let mut last = 0_i32;
    let mut next = || -> Result<Ref, ReportError> {
        last = last.checked_add(1).ok_or(ReportError::TooLong)?;
        Ok(Ref::new(last))
    };
    let (catalog, tree, info, plain, bold) = (next()?, next()?, next()?, next()?, next()?);
    let mut pdf = Pdf::new();
    {
        let mut catalog = pdf.catalog(catalog);
        catalog.pages(tree).lang(TextStr("en"));
        catalog.viewer_preferences().display_doc_title(true);
    }
    {
        let mut info = pdf.document_info(info);
        let version = format!("Temoin {}", super::figures::given(&report.version));
        info.title(TextStr(title)).producer(TextStr(&version));
        if let Some(date) = date(report.at_ms) {
            info.creation_date(date);
        }
    }
    for (font, name) in [(plain, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        pdf.type1_font(font).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    let mut pictures = Vec::with_capacity(shades.len());
    for shades in shades {
        let id = next()?;
        let packed = packed(&shades.luma)?;
        let mut image = pdf.image_xobject(id, &packed);
        image.filter(Filter::FlateDecode);
        image.width(count(shades.width)?).height(count(shades.height)?);
        image.color_space().device_gray();
        image.bits_per_component(8).finish();
        pictures.push(id);
    }
    let mut pages = Vec::with_capacity(sheets.len());
    for sheet in sheets {
        let (page_id, content_id) = (next()?, next()?);
        let packed = packed(&sheet.content.finish())?;
        pdf.stream(content_id, &packed).filter(Filter::FlateDecode);
        let mut page = pdf.page(page_id);
        page.parent(tree).contents(content_id).media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT));
        let mut resources = page.resources();
        let fonts = [(Font::Plain, plain), (Font::Bold, bold)];
        resources.fonts().pairs(fonts.map(|(font, id)| (Name(font.name()), id)));
        let mut objects = resources.x_objects();
        for picture in sheet.pictures {
            if let Some(id) = pictures.get(picture) {
                objects.pair(Name(picture_name(picture).as_bytes()), *id);
            }
        }
        objects.finish();
        resources.finish();
        page.finish();
        pages.push(page_id);
    }
    let number = count(wide(pages.len()))?;
    pdf.pages(tree).kids(pages).count(number);
    Ok(pdf.finish())
}

/// The bytes of a stream, no more than PDF counts.
fn packed(bytes: &[u8]) -> Result<Vec<u8>, ReportError> {
    let packed = compress_to_vec_zlib(bytes, PACKING);
    count(packed.len())?;
    Ok(packed)
}

fn count(n: impl TryInto<i32>) -> Result<i32, ReportError> {
    n.try_into().map_err(|_| ReportError::TooLong)
}

/// The day and time of a trace, where PDF has it.
fn date(at_ms: i64) -> Option<Date> {
    let at = jiff::Timestamp::from_millisecond(at_ms).ok()?.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |part: i8| u8::try_from(part).ok();
    Some(
        Date::new(u16::try_from(at.year()).ok()?)
            .month(part(at.month())?)
            .day(part(at.day())?)
            .hour(part(at.hour())?)
            .minute(part(at.minute())?)
            .second(part(at.second())?)
            .utc_offset_hour(0)
            .utc_offset_minute(0),
    )
}

/// A number of the drawing, as PDF has it.
#[expect(clippy::cast_possible_truncation, reason = "a place on a sheet needs no more digits")]
fn points(x: f64) -> f32 {
    x as f32
}
