//! Signing in and out: password, then code.
//!
//! INVARIANT: the page after a failure is the same for an unknown user name and a wrong password.
//! The password lives in memory that is wiped; it is never shown again and never logged.

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    binding::public_key,
    error::AppError,
    sessions::Stage,
    sign_in::{NewSession, SignInError},
};

use super::{
    account::CodePage,
    answers,
    gate::{self, AnyStage, Asked, HalfForm, HasToken},
    pages::SignInPage,
    words,
};

fn sign_in_page(login: String, problem: Option<String>) -> SignInPage {
    SignInPage { layout: answers::layout("Sign in", None, ""), login, problem, notice: None }
}

/// `GET /sign-in`.
pub(crate) async fn page(asked: Asked) -> Response {
    if asked.session.is_some() {
        return Redirect::to("/").into_response();
    }
    answers::page(&sign_in_page(String::new(), None))
}

#[derive(Deserialize)]
struct Fields {
    login: String,
    password: String,
    /// The browser's public key, where it has one.
    #[serde(default)]
    key: String,
}

/// `POST /sign-in`.
pub(crate) async fn submit(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(error) = gate::check_origin(&parts) {
        return answers::refuse_page(None, &error);
    }
    let client = gate::client(&parts);
    let request = Request::from_parts(parts, body);
    let Ok(axum::Form(fields)) = axum::Form::<Fields>::from_request(request, &app).await else {
        return answers::refuse_page(None, &gate::not_a_form());
    };
    let login = fields.login.trim().to_owned();
    let (password, key) = (Zeroizing::new(fields.password), public_key(&fields.key));
    match app.sign_in(&login, password, key, &client).await {
        Ok(new) => signed_in(&new, Redirect::to("/").into_response()),
        Err(error) => refused(error, "User name or password is not right.", |problem| {
            answers::page(&sign_in_page(login, Some(problem)))
        }),
    }
}

/// The page again, with what was wrong.
pub(crate) fn refused(
    error: SignInError,
    wrong: &str,
    again: impl FnOnce(String) -> Response,
) -> Response {
    match error {
        SignInError::Wrong => (StatusCode::UNAUTHORIZED, again(wrong.to_owned())).into_response(),
        SignInError::TooMany { retry_after_s } => {
            let mut again = again(format!(
                "Too many attempts. Try again in {}.",
                words::milliseconds(retry_after_s.saturating_mul(1000))
            ));
            *again.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            again.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            again
        }
        SignInError::App(error) => answers::refuse_page(None, &error),
    }
}

/// The answer, with the cookies of a step that has succeeded.
pub(crate) fn signed_in(new: &NewSession, mut answer: Response) -> Response {
    let session = gate::session_cookie(&new.cookie);
    let devices = new.devices.as_deref().map(gate::device_cookie).transpose();
    match (session, devices) {
        (Ok(session), Ok(devices)) => {
            answer.headers_mut().append(header::SET_COOKIE, session);
            if let Some(devices) = devices {
                answer.headers_mut().append(header::SET_COOKIE, devices);
            }
            answer
        }
        (Err(error), _) | (_, Err(error)) => answers::refuse_page(None, &error),
    }
}

fn code_page(csrf: &str, problem: Option<String>) -> CodePage {
    CodePage { layout: answers::layout("Second factor", None, ""), csrf: csrf.to_owned(), problem }
}

/// `GET /sign-in/code`.
pub(crate) async fn ask_code(AnyStage(session): AnyStage) -> Response {
    match session.stage {
        Stage::Code => answers::page(&code_page(&session.csrf, None)),
        Stage::SetUp | Stage::Whole => Redirect::to("/").into_response(),
    }
}

/// A code.
#[derive(Deserialize)]
pub(crate) struct CodeForm {
    csrf: String,
    #[serde(default)]
    pub(crate) code: String,
}

impl HasToken for CodeForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /sign-in/code`.
pub(crate) async fn give_code(State(app): State<App>, form: HalfForm<CodeForm>) -> Response {
    let HalfForm { session, client, fields } = form;
    match session.stage {
        Stage::Code => {}
        Stage::SetUp | Stage::Whole => return Redirect::to("/").into_response(),
    }
    match app.give_code(&session, &fields.code, &client).await {
        Ok(new) => signed_in(&new, Redirect::to("/").into_response()),
        Err(error) => refused(
            error,
            "That code is not right, or it was used already. Wait for the next one.",
            |problem| answers::page(&code_page(&session.csrf, Some(problem))),
        ),
    }
}

/// A form with nothing but its token.
#[derive(Deserialize)]
pub(crate) struct OnlyToken {
    csrf: String,
}

impl HasToken for OnlyToken {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /sign-out`.
pub(crate) async fn sign_out(State(app): State<App>, form: HalfForm<OnlyToken>) -> Response {
    signed_out(app.sign_out(&form.session).await)
}

/// To the sign-in page, without the cookie.
pub(crate) fn signed_out(done: Result<(), AppError>) -> Response {
    match done.and_then(|()| gate::session_cookie("")) {
        Ok(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response(),
        Err(error) => answers::refuse_page(None, &error),
    }
}
