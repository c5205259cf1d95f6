//! What a report says for each verdict, that HTML and PDF say the same, and that nothing that is put in
//! breaks them.
//!
//! The golden texts lie in `golden/`; `TEMOIN_WRITE_GOLDEN=1` writes them anew.

use std::path::Path;

use super::{pdf_reader::Read, samples::*, told::Block, *};

/// What a reader of the page sees, a line for each piece.
fn seen(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let mut text = String::new();
    for piece in body.split('<') {
        let (tag, words) = piece.split_once('>').unwrap_or(("", piece));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if ["h1", "h2", "p", "li", "dt", "tr", "svg", "figcaption", "img", "text"].contains(&name)
            && !tag.starts_with('/')
        {
            text.push('\n');
        } else if !text.ends_with('\n') {
            text.push(' ');
        }
        text.push_str(words.trim());
    }
    let text = text
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Every text of a report, in its order; without the chart's, which are set elsewhere in each.
fn texts(report: &TraceReport) -> Vec<String> {
    let told = told::tell(report).unwrap();
    let mut texts = vec![told.title.to_owned(), told.which];
    for block in told.blocks {
        match block {
            Block::Verdict(headline) => {
                texts.push(headline.first);
                texts.extend(headline.more);
            }
            Block::Heading(text) => texts.push(text.to_owned()),
            Block::Text(text) => texts.push(text),
            Block::Points(points) => texts.extend(points),
            Block::Facts(facts) => {
                texts.extend(facts.into_iter().flat_map(|(name, text)| [name.to_owned(), text]));
            }
            Block::Table(table) => {
                texts.extend(table.columns.iter().map(|column| column.name.to_owned()));
                for cell in table.rows.into_iter().flatten() {
                    texts.push(cell.text);
                    texts.extend(cell.under);
                }
            }
            Block::Chart(_) => {}
            Block::Pictures(pairs) => texts.extend(pairs.into_iter().map(|pair| pair.caption)),
        }
    }
    texts
}

/// Fails unless the texts stand in the whole, one behind the other.
fn stand_in_order(whole: &str, texts: &[String]) {
    let mut rest = whole;
    for text in texts {
        let at = rest.find(&letters(text));
        let at = at.unwrap_or_else(|| panic!("{text:?} is missing in {rest:?}"));
        rest = &rest[at + letters(text).len()..];
    }
}

#[test]
fn each_verdict_says_what_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trace/report/golden");
    for (name, report) in verdicts() {
        let said = seen(&html(&report).unwrap());
        let path = folder.join(name).with_extension("txt");
        if std::env::var_os("TEMOIN_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        for (line, (said, golden)) in said.lines().zip(golden.lines()).enumerate() {
            assert_eq!(said, golden, "{name}, line {}", line + 1);
        }
        assert_eq!(said.lines().count(), golden.lines().count(), "{name}");
    }
}

#[test]
fn the_pdf_says_what_the_page_says() {
    for (name, report) in verdicts() {
        let read = Read::new(&pdf(&report).unwrap());
        let written = read.written();
        // What stands at the foot of each sheet is in neither.
        let body = written.iter().filter(|w| w.y > 50.0).map(|w| w.text.as_str());
        let whole = letters(&body.collect::<String>());
        let texts = texts(&report);
        let in_pdf: Vec<String> = texts.iter().map(|text| letters_of_pdf(text)).collect();
        stand_in_order(&whole, &in_pdf);
        stand_in_order(&letters(&seen(&html(&report).unwrap())), &texts);
        // The chart's labels, in both, somewhere.
        let page = letters(&seen(&html(&report).unwrap()));
        for block in told::tell(&report).unwrap().blocks {
            if let Block::Chart(chart) = block {
                for label in chart.lines.iter().filter_map(|line| line.label.as_ref()) {
                    assert!(whole.contains(&letters(&label.text)), "{name}: {}", label.text);
                    assert!(page.contains(&letters(&label.text)), "{name}: {}", label.text);
                }
            }
        }
        let lost = whole.contains(&letters(told::LETTERS_LOST));
        assert_eq!(lost, name == "three_views", "{name}: only there is a letter that is lost");
    }
}

/// A text as the PDF's letters write it.
fn letters_of_pdf(text: &str) -> String {
    let lost = |c: char| helvetica::encode(&c.to_string()).lost;
    text.chars().map(|c| if lost(c) { '?' } else { c }).collect()
}

/// Fails unless a PDF is whole, its pages are counted, and what is on them stays within them.
fn is_sound(file: &[u8]) -> Read {
    let read = Read::new(file);
    let (told, there) = read.pages();
    assert_eq!(told, there);
    let written = read.written();
    for w in &written {
        assert!(w.page < there);
        assert!(w.x >= 40.0 && w.x + w.width <= 560.0, "{w:?} leaves the sheet");
        assert!(w.y >= 30.0 && w.y <= 800.0, "{w:?} leaves the sheet");
        assert!(w.y < 40.0 || w.y > 60.0, "{w:?} stands on the number of the page");
    }
    for page in 0..there {
        let number = format!("Page {} of {there}", page + 1);
        assert!(written.iter().any(|w| w.page == page && w.text == number), "{number}");
    }
    read
}

/// Fails where a page holds more than its own elements, or an address.
fn stands_alone(page: &str) {
    let lower = page.to_lowercase();
    for bad in
        ["<script", "<link", "<iframe", "<object", " href", " onload", "url(", "@import", "<base"]
    {
        assert!(!lower.contains(bad), "{bad}");
    }
    for (at, _) in lower.match_indices(" src=") {
        assert!(lower[at..].starts_with(" src=\"data:image/png;base64,"));
    }
    assert!(
        lower.contains("content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"")
    );
    for element in ["<style", "</style", "<main", "</main", "<body", "</body", "<title", "</title"]
    {
        assert_eq!(lower.matches(element).count(), 1, "{element}");
    }
    for element in ["p", "td", "tr", "table", "li", "dd", "svg", "text", "figure", "div", "section"]
    {
        let opened = [">", " "].map(|end| lower.matches(&format!("<{element}{end}")).count());
        let closed = lower.matches(&format!("</{element}>")).count();
        assert_eq!(opened.iter().sum::<usize>(), closed, "{element}");
    }
}

#[test]
fn hostile_words_break_nothing() {
    for text in hostile_texts() {
        let report = with_words(&text);
        let page = html(&report).unwrap();
        stands_alone(&page);
        let told = figures::given(&text);
        // Each place where it stands: two views with four, the trace's three, and six more.
        let places = letters(&seen(&page)).matches(&letters(&told)).count();
        assert!(places >= 15, "{places} of {told:.40}");
        assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "control characters");
        assert!(!page.contains(['\u{202e}', '\u{2066}', '\u{feff}']), "marks of direction");
        assert_eq!(page.matches('\u{2068}').count(), page.matches('\u{2069}').count());
        is_sound(&pdf(&report).unwrap());
    }
}

#[test]
fn long_words_are_all_in_the_pdf() {
    let report = with_words(&"x".repeat(10_000));
    let written = is_sound(&pdf(&report).unwrap()).written();
    let body: Vec<_> = written.iter().filter(|w| w.y > 50.0).collect();
    let pages = body.iter().map(|w| w.page).max().unwrap();
    let x: usize = body.iter().map(|w| w.text.matches('x').count()).sum();
    let told: usize = texts(&report).iter().map(|text| text.matches('x').count()).sum();
    // A column's name may stand again on each sheet; none has this letter.
    assert_eq!(x, told, "on {pages} pages");
}

#[test]
fn broken_figures_break_nothing() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -0.0, 1e-320];
    for x in odd {
        let report = with_figures(x);
        let page = html(&report).unwrap();
        stands_alone(&page);
        let said = seen(&page);
        for bad in ["NaN", "inf"] {
            let numbers = said.split(|c: char| !c.is_alphanumeric());
            assert!(!numbers.clone().any(|word| word == bad), "{x}: {bad}");
            assert!(!page.contains(&format!("\"{bad}")), "{x}: {bad} in the drawing");
        }
        is_sound(&pdf(&report).unwrap());
    }
}

#[test]
fn no_other_views_no_chart() {
    let mut report = one_view();
    report.others = Scores::default();
    let page = html(&report).unwrap();
    assert!(!page.contains("<svg"));
    assert!(seen(&page).contains("There was no other view to compare."));
    is_sound(&pdf(&report).unwrap());
}

#[test]
fn the_pictures_are_those_that_were_given() {
    let report = one_view();
    let read = is_sound(&pdf(&report).unwrap());
    let given = report.pictures.iter().flat_map(|laid| [&laid.came.luma, &laid.laid.luma]);
    let drawn = read.pictures();
    assert!(drawn.iter().map(|(_, luma)| luma).eq(given));
    for pair in drawn.chunks(2) {
        assert!(pair[0].0 < pair[1].0, "as it came is on the left");
    }

    let page = html(&report).unwrap();
    let addresses = page.split("data:image/png;base64,").skip(1);
    let given = report.pictures.iter().flat_map(|laid| [&laid.came, &laid.laid]);
    let mut pictures = 0;
    for (address, shades) in addresses.zip(given) {
        use base64::Engine as _;
        let (data, _) = address.split_once('"').unwrap();
        let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(data)).read_info().unwrap();
        let mut luma = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut luma).unwrap();
        assert_eq!((info.width, info.height), (shades.width, shades.height));
        assert!(luma == shades.luma, "other shades");
        pictures += 1;
    }
    assert_eq!(pictures, 6);
}

#[test]
fn a_picture_that_is_not_whole_is_refused() {
    for (width, height, shades) in [(0, 0, 0), (2, 2, 3), (2, 2, 5), (u32::MAX, u32::MAX, 0)] {
        for side in 0..2 {
            let mut report = one_view();
            let broken = Shades { width, height, luma: vec![0; shades] };
            let laid = Arc::make_mut(&mut report.pictures).last_mut().unwrap();
            *(if side == 0 { &mut laid.came } else { &mut laid.laid }) = broken;
            let errors = [html(&report).map(drop), pdf(&report).map(drop)];
            for error in errors {
                assert!(
                    matches!(error, Err(ReportError::Picture { leak_ms: 5833, .. })),
                    "{error:?}"
                );
            }
        }
    }
}

#[test]
fn pictures_of_any_shape_stay_on_the_sheet() {
    for (width, height) in [(1, 1), (1, 4000), (4000, 1), (90, 160)] {
        let mut report = one_view();
        for laid in Arc::make_mut(&mut report.pictures) {
            let luma = vec![128; (width * height) as usize];
            laid.came = Shades { width, height, luma };
        }
        is_sound(&pdf(&report).unwrap());
        stands_alone(&html(&report).unwrap());
    }
}

#[test]
fn many_views_are_named_in_the_table() {
    let mut report = three_views();
    let Verdict::Views(views) = &mut report.verdict else { panic!("views") };
    let one = views[0].clone();
    *views = vec![one; 400];
    let said = seen(&html(&report).unwrap());
    assert!(said.contains("The marks of 400 views are in this file; the table names them."));
    let read = is_sound(&pdf(&report).unwrap());
    let heads = read.written().into_iter().filter(|w| w.text == "Opened by");
    let pages: Vec<usize> = heads.map(|w| w.page).collect();
    assert!(pages.len() > 5 && pages.windows(2).all(|w| w[0] + 1 == w[1]), "{pages:?}");
}

#[test]
fn the_chance_told_of_several_is_the_weakest() {
    let said = |p: [f64; 3]| {
        let mut report = three_views();
        let Verdict::Views(views) = &mut report.verdict else { panic!("views") };
        for (view, p) in views.iter_mut().zip(p) {
            view.p = p;
        }
        let told = told::tell(&report).unwrap();
        let Some(Block::Verdict(headline)) = told.blocks.first() else { panic!("a verdict") };
        headline.first.clone()
    };
    for (p, told) in [
        ([1e-20, 1e-12, 1e-30], " is at most 1e-12."),
        ([0.0, 0.0, 0.0], " is below 1e-300."),
        ([f64::NAN, 1e-12, 1e-12], " is not known."),
        ([1e-12, 1e-12, f64::NAN], " is not known."),
    ] {
        let said = said(p);
        assert!(said.ends_with(told), "{said}");
    }
}

#[test]
fn the_title_is_in_the_document() {
    let read = is_sound(&pdf(&one_view()).unwrap());
    let title = b"(Trace of a leaked file: Trace 0199e6f0-7a00-7111-8000-c0ffee000001, 15 Oct 2025";
    assert!(read.title().starts_with(title), "{}", String::from_utf8_lossy(&read.title()[..80]));
}

#[test]
#[ignore = "writes the samples to the folder TEMOIN_LOOK, to be looked at"]
fn samples_to_look_at() {
    let folder = std::env::var_os("TEMOIN_LOOK").unwrap();
    let more = hostile_texts().into_iter().map(|text| with_words(&text)).collect::<Vec<_>>();
    let names =
        ["empty", "script", "long", "hyphens", "words", "control", "right_to_left", "emoji", "pdf"];
    for (name, report) in verdicts().into_iter().chain(names.into_iter().zip(more)) {
        let path = Path::new(&folder).join(name);
        std::fs::write(path.with_extension("html"), html(&report).unwrap()).unwrap();
        std::fs::write(path.with_extension("pdf"), pdf(&report).unwrap()).unwrap();
    }
}
