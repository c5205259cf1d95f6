//! One's own account: where one is signed in, password, second factor; and the page that asks for
//! password or code again.
//!
//! INVARIANT: recovery codes and the second factor's secret are in no other page than the one that
//! makes them, which no browser keeps (`no-store`). A password that was typed is in none.

use askama::Template;
use axum::{
    extract::{FromRequest, Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use qrcode::{Color, EcLevel, QrCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::Session,
    error::AppError,
    second_factor::SetUp,
    sessions::{Notice, Stage},
    sign_in::SignInError,
};

use super::{
    answers,
    gate::{self, AnyStage, Form, Fresh, HalfForm, HasToken, Sensitive, SignedIn},
    pages::Layout,
    sign_in::{CodeForm, OnlyToken, refused, signed_in, signed_out},
    words::{self, Stamp},
};

/// Asks for the code, after the password.
#[derive(Debug, Template)]
#[template(path = "code.html")]
pub(crate) struct CodePage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) problem: Option<String>,
}

/// Asks for password or code again, with the form that waits for it.
#[derive(Debug, Template)]
#[template(path = "step_up.html")]
pub(crate) struct StepUpPage {
    pub(crate) layout: Layout,
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) problem: Option<String>,
}

/// A code of squares.
#[derive(Debug, Clone)]
pub(crate) struct Squares {
    /// How many in a row, with the quiet zone.
    pub(crate) size: usize,
    /// The dark ones, as a path.
    pub(crate) path: String,
}

/// Sets up a second factor.
#[derive(Debug, Template)]
#[template(path = "second_factor.html")]
pub(crate) struct SecondFactorPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    /// Nothing else can be done before.
    pub(crate) must: bool,
    pub(crate) squares: Option<Squares>,
    pub(crate) secret: String,
    pub(crate) url: String,
    pub(crate) problem: Option<String>,
}

/// Recovery codes, once.
#[derive(Debug, Template)]
#[template(path = "recovery_codes.html")]
pub(crate) struct RecoveryCodesPage {
    pub(crate) layout: Layout,
    pub(crate) codes: Vec<String>,
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct SessionCell {
    pub(crate) name: String,
    pub(crate) browser: String,
    pub(crate) own: bool,
    pub(crate) bound: bool,
    pub(crate) began: Stamp,
    pub(crate) used: Stamp,
}

/// Something to be read.
#[derive(Debug, Clone)]
pub(crate) struct NoticeCell {
    pub(crate) at: Stamp,
    pub(crate) text: &'static str,
}

/// The second factor's state.
#[derive(Debug, Clone)]
pub(crate) struct FactorCell {
    pub(crate) since: Stamp,
    pub(crate) codes_left: i64,
}

/// One's own account.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub(crate) struct AccountPage {
    pub(crate) layout: Layout,
    pub(crate) csrf: String,
    pub(crate) notices: Vec<NoticeCell>,
    /// Up to when they count as read, milliseconds since 1970.
    pub(crate) read_until: i64,
    pub(crate) sessions: Vec<SessionCell>,
    pub(crate) factor: Option<FactorCell>,
    pub(crate) must_have_factor: bool,
    pub(crate) problem: Option<String>,
    pub(crate) done: Option<&'static str>,
}

const fn notice(what: Notice) -> &'static str {
    match what {
        Notice::UsedTwice => {
            "A session of yours was used in two places at once, so it was ended. Somebody may have \
             copied its cookie. If you cannot explain it, change your password and tell whoever runs \
             Temoin in your fleet."
        }
        Notice::OtherBrowser => {
            "A session of yours came from another browser than the one in which it began, so it was \
             ended. An update of the browser does that too, and so does asking for a desktop page on \
             a phone. If you cannot explain it, change your password."
        }
        Notice::SignedOut => "An administrator ended all your sessions.",
        Notice::FactorRemoved => {
            "An administrator removed your second factor. If you did not ask for that, tell your \
             privacy officer."
        }
    }
}

/// The page that asks for password or code, and sends the form again.
pub(crate) fn step_up_page(
    session: &Session,
    action: &str,
    fields: Vec<(String, String)>,
    problem: Option<SignInError>,
) -> Response {
    let page = |problem| {
        answers::page(&StepUpPage {
            layout: answers::layout("Is it you?", Some(session), ""),
            action: action.to_owned(),
            fields,
            problem,
        })
    };
    match problem {
        None => (StatusCode::FORBIDDEN, page(None)).into_response(),
        Some(error) => refused(error, "That password or code is not right.", |p| page(Some(p))),
    }
}

async fn account_page(
    app: &App,
    session: &Session,
    problem: Option<String>,
    done: Option<&'static str>,
) -> Result<AccountPage, AppError> {
    let factor = app.factor_of(session.user.id).await?;
    let notices = app.notices(&session.user).await?;
    Ok(AccountPage {
        layout: answers::layout("Your account", Some(session), "/account"),
        csrf: session.csrf.clone(),
        read_until: notices.first().map_or(0, |(at_ms, _)| *at_ms),
        notices: notices
            .into_iter()
            .map(|(at_ms, what)| NoticeCell { at: words::stamp(at_ms), text: notice(what) })
            .collect(),
        sessions: app
            .own_sessions(session)
            .await?
            .into_iter()
            .map(|shown| SessionCell {
                name: shown.name,
                browser: shown.browser,
                own: shown.own,
                bound: shown.bound,
                began: words::stamp(shown.created_ms),
                used: words::stamp(shown.used_ms),
            })
            .collect(),
        factor: factor.map(|factor| FactorCell {
            since: words::stamp(factor.set_ms),
            codes_left: factor.codes_left,
        }),
        must_have_factor: app.needs_second_factor(session.user.role),
        problem,
        done,
    })
}

/// `GET /account`.
pub(crate) async fn page(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    match account_page(&app, &session, None, None).await {
        Ok(page) => answers::page(&page),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

fn back(session: &Session, done: Result<(), AppError>, to: &str) -> Response {
    match done {
        Ok(()) => Redirect::to(to).into_response(),
        Err(error) => answers::refuse_page(Some(session), &error),
    }
}

/// What was read.
#[derive(Deserialize)]
pub(crate) struct ReadForm {
    csrf: String,
    #[serde(default)]
    until: i64,
}

impl HasToken for ReadForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /account/notices`.
pub(crate) async fn read(State(app): State<App>, form: Form<ReadForm>) -> Response {
    let done = app.read_notices(&form.session.user, form.fields.until).await;
    back(&form.session, done, "/")
}

/// `POST /account/sessions/{name}/end`.
pub(crate) async fn end_one(
    State(app): State<App>,
    Path(name): Path<String>,
    form: Form<OnlyToken>,
) -> Response {
    let done = app.end_own_session(&form.session, &name).await;
    back(&form.session, done, "/account")
}

/// `POST /account/sessions/end`.
pub(crate) async fn end_all(State(app): State<App>, form: Form<OnlyToken>) -> Response {
    signed_out(app.sign_out_everywhere(&form.session).await)
}

#[derive(Deserialize)]
struct PasswordForm {
    csrf: String,
    current: String,
    new: String,
    again: String,
}

impl HasToken for PasswordForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /account/password`. It always takes the current password, so it has no page that asks for
/// it and would hold the new one.
pub(crate) async fn change_password(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let form =
        HalfForm::<PasswordForm>::from_request(Request::from_parts(parts.clone(), body), &app)
            .await;
    let HalfForm { client, fields, .. } = match form {
        Ok(form) => form,
        Err(refusal) => return refusal,
    };
    let (current, new) = (Zeroizing::new(fields.current), Zeroizing::new(fields.new));
    let again = Zeroizing::new(fields.again);
    let problem = if *new != *again {
        "The new password is not the same in both fields. Nothing was changed.".to_owned()
    } else {
        match app.change_password(&session, current, new, &client).await {
            Ok(proved) => {
                gate::offer(&parts, proved.token);
                let done = "Your password is changed. You are signed out everywhere else.";
                return match account_page(&app, &session, None, Some(done)).await {
                    Ok(page) => answers::page(&page),
                    Err(error) => answers::refuse_page(Some(&session), &error),
                };
            }
            Err(SignInError::Wrong) => {
                "The current password is not right. Nothing was changed.".to_owned()
            }
            Err(SignInError::TooMany { retry_after_s }) => {
                format!("Too many attempts. Try again in {retry_after_s} s.")
            }
            Err(SignInError::App(AppError::Invalid(what))) => {
                format!("{what}. Nothing was changed.")
            }
            Err(SignInError::App(error)) => return answers::refuse_page(Some(&session), &error),
        }
    };
    match account_page(&app, &session, Some(problem), None).await {
        Ok(page) => (StatusCode::BAD_REQUEST, answers::page(&page)).into_response(),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

/// A code of squares for this text; none where it is too long for one.
fn squares(text: &str) -> Option<Squares> {
    const QUIET: usize = 4;
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let path = code
        .to_colors()
        .iter()
        .enumerate()
        .filter(|(_, color)| **color == Color::Dark)
        .map(|(n, _)| format!("M{} {}h1v1h-1z", n % width + QUIET, n / width + QUIET))
        .collect();
    Some(Squares { size: width + 2 * QUIET, path })
}

fn second_factor_page(session: &Session, set_up: &SetUp, problem: Option<String>) -> Response {
    answers::page(&SecondFactorPage {
        layout: answers::layout("Second factor", Some(session), ""),
        csrf: session.csrf.clone(),
        must: session.stage == Stage::SetUp,
        squares: squares(&set_up.url),
        secret: set_up
            .secret
            .as_bytes()
            .chunks(4)
            .filter_map(|c| std::str::from_utf8(c).ok())
            .collect::<Vec<_>>()
            .join(" "),
        url: set_up.url.to_string(),
        problem,
    })
}

/// `GET /second-factor`: what is to be scanned. Begun by itself only where it must be.
pub(crate) async fn second_factor(State(app): State<App>, AnyStage(session): AnyStage) -> Response {
    let begun = match session.stage {
        Stage::Code => return Redirect::to("/sign-in/code").into_response(),
        Stage::SetUp => app.begin_second_factor(&session).await,
        Stage::Whole => Ok(()),
    };
    let set_up = match begun {
        Ok(()) => app.second_factor_set_up(&session).await,
        Err(error) => Err(error),
    };
    match set_up {
        Ok(Some(set_up)) => second_factor_page(&session, &set_up, None),
        Ok(None) => Redirect::to("/account").into_response(),
        Err(error) => answers::refuse_page(None, &error),
    }
}

impl Sensitive for OnlyToken {}

/// `POST /second-factor/begin`.
pub(crate) async fn begin(State(app): State<App>, form: Fresh<OnlyToken>) -> Response {
    back(&form.session, app.begin_second_factor(&form.session).await, "/second-factor")
}

/// `POST /second-factor`: the first code.
pub(crate) async fn confirm(State(app): State<App>, form: HalfForm<CodeForm>) -> Response {
    let HalfForm { session, client, fields } = form;
    if session.stage == Stage::Code {
        return Redirect::to("/sign-in/code").into_response();
    }
    match app.confirm_second_factor(&session, &fields.code, &client).await {
        Ok(confirmed) => {
            let whole = Session { stage: Stage::Whole, ..session };
            let page = codes_page(&whole, confirmed.codes);
            signed_in(&confirmed.new, page)
        }
        Err(SignInError::Wrong) => match app.second_factor_set_up(&session).await {
            Ok(Some(set_up)) => {
                let problem = "That code is not right. Is the phone's clock set by the network? Wait \
                               for the next code and try again.";
                let page = second_factor_page(&session, &set_up, Some(problem.to_owned()));
                (StatusCode::UNAUTHORIZED, page).into_response()
            }
            Ok(None) => Redirect::to("/account").into_response(),
            Err(error) => answers::refuse_page(None, &error),
        },
        Err(error) => refused(error, "", |_| Redirect::to("/account").into_response()),
    }
}

fn codes_page(session: &Session, codes: Vec<String>) -> Response {
    answers::page(&RecoveryCodesPage {
        layout: answers::layout("Recovery codes", Some(session), ""),
        codes,
    })
}

/// `POST /second-factor/remove`.
pub(crate) async fn remove(State(app): State<App>, form: Fresh<OnlyToken>) -> Response {
    back(&form.session, app.remove_second_factor(&form.session).await, "/account")
}

/// `POST /second-factor/codes`: new recovery codes.
pub(crate) async fn new_codes(State(app): State<App>, form: Fresh<OnlyToken>) -> Response {
    match app.new_recovery_codes(&form.session).await {
        Ok(codes) => codes_page(&form.session, codes),
        Err(error) => answers::refuse_page(Some(&form.session), &error),
    }
}

/// `GET /session/nonce`: what the browser signs its next requests over.
pub(crate) async fn nonce(State(app): State<App>, SignedIn(session): SignedIn) -> String {
    app.proof_nonce(&session)
}
