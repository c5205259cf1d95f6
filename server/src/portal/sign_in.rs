//! Signing in and out.
//!
//! INVARIANT: the page after a failure is the same for an unknown user name and a wrong password.
//! The password lives in memory that is wiped; it is never shown again and never logged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    authn::{COOKIE, SignInError},
    error::AppError,
};

use super::{
    answers,
    gate::{self, Asked, Form, HasToken},
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
}

/// `POST /sign-in`.
pub(crate) async fn submit(State(app): State<App>, request: Request) -> Response {
    // Where the listener does not say, all share one brake: safer than none.
    let from = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let (parts, body) = request.into_parts();
    if let Err(error) = gate::check_origin(&parts) {
        return answers::refuse_page(None, &error);
    }
    let request = Request::from_parts(parts, body);
    let Ok(axum::Form(fields)) = axum::Form::<Fields>::from_request(request, &app).await else {
        return answers::refuse_page(None, &gate::not_a_form());
    };
    let login = fields.login.trim().to_owned();
    match app.sign_in(&login, Zeroizing::new(fields.password), from).await {
        Ok(new) => {
            let cookie = format!(
                "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
                new.cookie.as_str()
            );
            with_cookie(&cookie)
        }
        Err(SignInError::Wrong) => {
            let problem = "User name or password is not right.".to_owned();
            let again = answers::page(&sign_in_page(login, Some(problem)));
            (StatusCode::UNAUTHORIZED, again).into_response()
        }
        Err(SignInError::TooMany { retry_after_s }) => {
            let problem = format!(
                "Too many attempts. Try again in {}.",
                words::milliseconds(retry_after_s.saturating_mul(1000))
            );
            let mut again = answers::page(&sign_in_page(login, Some(problem)));
            *again.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            again.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
            again
        }
        Err(SignInError::App(error)) => answers::refuse_page(None, &error),
    }
}

/// To the start page, with this cookie.
fn with_cookie(cookie: &str) -> Response {
    match HeaderValue::from_str(cookie) {
        Ok(mut value) => {
            value.set_sensitive(true);
            ([(header::SET_COOKIE, value)], Redirect::to("/")).into_response()
        }
        Err(_) => {
            answers::refuse_page(None, &AppError::Internal("a cookie that is no header".to_owned()))
        }
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
pub(crate) async fn sign_out(State(app): State<App>, form: Form<OnlyToken>) -> Response {
    if let Err(error) = app.sign_out(&form.session).await {
        return answers::refuse_page(Some(&form.session), &error);
    }
    with_cookie(&format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"))
}
