//! The pages around signing in, filled with made-up text, or with one text everywhere.

use askama::Template as _;

use super::{account::*, samples, words};

/// Every page by its name; `text` in place of all that comes from a person or a browser.
pub(crate) fn pages(text: Option<&str>) -> Vec<(&'static str, String)> {
    let or = |usual: &str| text.unwrap_or(usual).to_owned();
    let layout = || {
        let mut layout = samples::layout("Your account", "Driver", &[("/my", "My events")]);
        if let Some(person) = &mut layout.person {
            person.short_name = or("J. Moreau");
        }
        layout
    };
    let code = CodePage { layout: layout(), csrf: or("c"), problem: Some(or("Not right.")) };
    let step_up = StepUpPage {
        layout: layout(),
        action: "/requests/register".to_owned(),
        fields: vec![(or("words"), or("two\nlines"))],
        problem: Some(or("Not right.")),
    };
    let second_factor = SecondFactorPage {
        layout: layout(),
        csrf: or("c"),
        must: true,
        squares: Some(Squares { size: 9, path: "M4 4h1v1h-1z".to_owned() }),
        secret: or("MZXW 6YTB"),
        url: "otpauth://totp/Temoin:dana?secret=MZXW6YTB".to_owned(),
        problem: Some(or("Not right.")),
    };
    let codes = RecoveryCodesPage { layout: layout(), codes: vec![or("AAAAA-BBBBB-CCCCC")] };
    let session = |own| SessionCell {
        name: or("00"),
        browser: or("Firefox on Linux"),
        own,
        bound: own,
        began: words::stamp(0),
        used: words::stamp(0),
    };
    let account = |factor| AccountPage {
        layout: layout(),
        csrf: or("c"),
        notices: vec![NoticeCell { at: words::stamp(0), text: "It happened." }],
        read_until: 1,
        sessions: vec![session(true), session(false)],
        factor,
        must_have_factor: true,
        problem: Some(or("Not right.")),
        done: Some("Done."),
    };
    let factor = FactorCell { since: words::stamp(0), codes_left: 7 };
    vec![
        ("code", code.render().unwrap()),
        ("step up", step_up.render().unwrap()),
        ("second factor", second_factor.render().unwrap()),
        ("recovery codes", codes.render().unwrap()),
        ("account", account(Some(factor)).render().unwrap()),
        ("account without a second factor", account(None).render().unwrap()),
    ]
}
