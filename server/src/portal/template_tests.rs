//! What must hold for every page, checked on pages filled with made-up and with hostile text.

use askama::Template;
use temoin_proto::events::{EventKind, Severity};

use super::{
    account_samples, driver_pages::*, driver_samples, pages::*, samples, samples::HOSTILE,
};

fn bad() -> String {
    HOSTILE.to_owned()
}

/// Every page, with every text that comes from a person or a unit made hostile.
fn hostile() -> Vec<(&'static str, String)> {
    let mut layout = samples::layout(HOSTILE, "Driver", &[("/my", "My events")]);
    if let Some(person) = &mut layout.person {
        person.short_name = bad();
        person.csrf = bad();
    }
    let cell = || {
        let mut cell = samples::cell(EventKind::HarshBraking, Severity::High, 1, "none", 1);
        cell.unit = bad();
        cell.driver = Some(bad());
        cell.depot = Some(bad());
        cell.uncertain = Some(bad());
        cell.key_number = Some(bad());
        cell.id = bad();
        cell.clip.text = bad();
        cell.clip.why = Some(bad());
        cell
    };
    let looked = || LookedCell {
        who: bad(),
        by_you: true,
        purpose: bad(),
        at: super::words::stamp(0),
        tracks: bad(),
        log_index: Some(1),
    };
    let mut sign_in = samples::sign_in();
    sign_in.login = bad();
    sign_in.problem = Some(bad());
    let mut error = samples::error();
    error.layout = layout.clone();
    error.text = bad();
    let mut events = samples::events(false);
    events.events = vec![cell()];
    let mut event = samples::event(false);
    event.e = cell();
    event.layout = layout.clone();
    event.sentence = bad();
    event.driver_row = Some(bad());
    event.rule = bad();
    event.csrf = bad();
    event.numbers = vec![Labelled { label: bad(), value: bad() }];
    event.seen_by = vec![looked()];
    let mut closed = samples::event_without_clip();
    if let Some(closed) = &mut closed.closed {
        closed.text = bad();
    }
    let mut my = samples::my(false);
    my.events =
        vec![MineCell { e: cell(), can_watch: true, seen_by: vec![looked()], nobody_else: true }];
    let mut units = samples::units();
    for unit in &mut units.units {
        unit.unit = bad();
        unit.depot = Some(bad());
        unit.agent_version = Some(bad());
        unit.privacy.slug = bad();
        unit.faults =
            vec![HealthCell { slug: "failed", state: "Not working", part: bad(), text: bad() }];
        unit.orders = vec![OrderCell { what: bad(), state: bad() }];
    }
    let mut log = samples::access_log(false);
    for row in &mut log.log.rows {
        row.who = bad();
        row.driver = Some(bad());
        row.unit = Some(bad());
        row.tracks = Some(bad());
        row.purpose = Some(bad());
    }
    let mut answered = driver_samples::answered();
    if let Some(objection) = &mut answered.objection {
        objection.contest = Some(ContestCell {
            words: bad(),
            at: super::words::stamp(0),
            answer: Some(AnswerCell {
                slug: "ok",
                verdict: "Overturned.",
                reason: bad(),
                by: bad(),
                at: super::words::stamp(0),
            }),
        });
    }
    answered.limit = Some(LimitCell {
        made: Some(MadeCell { text: bad(), slug: "ok", state: "Refused", reason: Some(bad()) }),
        impossible: None,
    });
    let mut score = driver_samples::score(false, 400.0);
    score.heading = bad();
    let mut drivers = driver_samples::drivers(false);
    for waiting in &mut drivers.waiting {
        waiting.words = bad();
        waiting.driver = bad();
    }
    for driver in &mut drivers.drivers {
        driver.name = bad();
    }
    let mut limits = driver_samples::limits(false);
    for proposal in limits.waiting.iter_mut().chain(&mut limits.decided) {
        proposal.words = Some(bad());
    }
    let mut all = account_samples::pages(Some(HOSTILE));
    all.extend([
        ("answered", answered.render().unwrap()),
        ("score", score.render().unwrap()),
        ("drivers", drivers.render().unwrap()),
        ("limits", limits.render().unwrap()),
        ("sign_in", sign_in.render().unwrap()),
        ("error", error.render().unwrap()),
        ("events", events.render().unwrap()),
        ("event", event.render().unwrap()),
        ("event without clip", closed.render().unwrap()),
        ("my", my.render().unwrap()),
        ("units", units.render().unwrap()),
        ("log", log.render().unwrap()),
    ]);
    all
}

fn usual() -> Vec<(&'static str, String)> {
    let mut all = account_samples::pages(None);
    all.extend([
        ("sign_in", samples::sign_in().render().unwrap()),
        ("error", samples::error().render().unwrap()),
        ("events", samples::events(false).render().unwrap()),
        ("no events", samples::events(true).render().unwrap()),
        ("event", samples::event(false).render().unwrap()),
        ("own event", samples::event(true).render().unwrap()),
        ("event without clip", samples::event_without_clip().render().unwrap()),
        ("my", samples::my(false).render().unwrap()),
        ("no events of mine", samples::my(true).render().unwrap()),
        ("units", samples::units().render().unwrap()),
        ("log", samples::access_log(false).render().unwrap()),
        ("no log", samples::access_log(true).render().unwrap()),
        ("event to contest", driver_samples::to_contest().render().unwrap()),
        ("event to answer", driver_samples::to_answer().render().unwrap()),
        ("event with an answer", driver_samples::answered().render().unwrap()),
        ("my score", driver_samples::score(true, 412.3).render().unwrap()),
        ("score", driver_samples::score(false, 412.3).render().unwrap()),
        ("no score", driver_samples::score(true, 43.2).render().unwrap()),
        ("drivers", driver_samples::drivers(false).render().unwrap()),
        ("no drivers", driver_samples::drivers(true).render().unwrap()),
        ("limits", driver_samples::limits(false).render().unwrap()),
        ("no limits", driver_samples::limits(true).render().unwrap()),
    ]);
    all
}

/// The tags of a page, each without its brackets. No attribute of ours holds a `>`.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or(rest))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    tag.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next())
}

#[test]
fn hostile_text_stays_text() {
    for (page, html) in hostile() {
        assert!(html.contains("&#60;script&#62;alert(1)"), "{page} shows nothing of it");
        assert!(!html.contains("<script>alert"), "{page}");
        assert!(!html.contains("<img src=x"), "{page}");
        assert!(!html.contains("\"&#62;&#60;script"), "{page}: a quote closes its attribute");
    }
}

#[test]
fn no_page_has_inline_script_or_style() {
    for (page, html) in usual().into_iter().chain(hostile()) {
        for tag in tags(&html) {
            let name = tag.split([' ', '\n']).next().unwrap();
            assert_ne!(name, "style", "{page}");
            assert!(name != "script" || attribute(tag, "src").is_some(), "{page}: <{tag}>");
            for word in tag.split_whitespace().skip(1) {
                let Some((key, _)) = word.split_once("=\"") else { continue };
                assert!(key != "style" && !key.starts_with("on"), "{page}: <{tag}>");
            }
            for address in [attribute(tag, "href"), attribute(tag, "src"), attribute(tag, "action")]
                .into_iter()
                .flatten()
            {
                // An authenticator app on the same device.
                let app = address.starts_with("otpauth://");
                assert!(app || !address.contains(':'), "{page} leads elsewhere: <{tag}>");
            }
        }
    }
}

#[test]
fn pages_are_usable_without_eyes_and_without_a_mouse() {
    for (page, html) in usual() {
        assert!(html.contains("<html lang=\"en\">"), "{page}");
        assert_eq!(html.matches("<h1").count(), 1, "{page} needs one heading");
        assert_eq!(html.matches("<main").count(), 1, "{page}");
        for tag in tags(&html) {
            let name = tag.split(' ').next().unwrap();
            match name {
                "img" => assert!(tag.contains(" alt="), "{page}: <{tag}>"),
                "input" | "select" | "textarea" => {
                    let hidden = matches!(attribute(tag, "type"), Some("hidden" | "radio"));
                    let named = tag.contains(" aria-label=")
                        || attribute(tag, "id")
                            .is_some_and(|id| html.contains(&format!("for=\"{id}\"")));
                    assert!(hidden || named, "{page}: <{tag}> has no label");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn no_template_switches_escaping_off() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["|safe", "| safe", "autoescape", "HtmlSafe"] {
            assert!(!text.contains(word), "{} has `{word}`", path.display());
        }
    }
}

#[test]
fn a_view_by_others_says_that_it_is_logged_before_it_is_opened() {
    let html = samples::event(false).render().unwrap();
    assert!(html.contains("This view is logged and marked with your name. The driver sees it."));
    let own = samples::event(true).render().unwrap();
    assert!(own.contains("Your own view is logged too"));
    assert!(own.contains("name=\"purpose\" value=\"own_review\""));
    assert!(!own.contains("type=\"radio\""), "one tap");
}

#[test]
fn a_score_shows_its_formula_its_figures_and_each_event() {
    let html = driver_samples::score(true, 400.0).render().unwrap();
    // 1 + 2 braking, 1 cornering, 4 speeding, 2 following, 2 belt, 4 stop, 3 phone.
    assert!(html.contains("100 − 19 points × 100 km ÷ 400.0 km = 95.2"), "{html}");
    assert_eq!(html.matches("data-testid=\"scored\"").count(), 15);
    for words in ["a sign of tiredness, not a fault", "contested and overturned", "only a person"] {
        assert!(html.contains(words), "{words}");
    }
    let none = driver_samples::score(true, 43.2).render().unwrap();
    assert!(none.contains("43.2 km of 200 km") && !none.contains("score-figure\">"), "{none}");
}

/// To look at the pages: `TEMOIN_PAGES=FOLDER` writes each as a file beside the assets.
#[test]
fn pages_can_be_looked_at() {
    let Ok(folder) = std::env::var("TEMOIN_PAGES") else { return };
    let folder = std::path::Path::new(&folder);
    for (page, html) in usual() {
        let name = format!("{}.html", page.replace(' ', "-"));
        std::fs::write(folder.join(name), html.replace("\"/static/", "\"static/")).unwrap();
    }
}
