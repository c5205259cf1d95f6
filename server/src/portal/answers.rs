//! Answers: pages, JSON, and refusals in both.
//!
//! INVARIANT: what a person reads comes from [`AppError::client_text`] and the words here; causes
//! inside the server go to its log, once, and nowhere else.

use askama::Template;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::json;

use crate::{
    authn::Session,
    authz::Role,
    error::{AppError, chain},
    sessions::Stage,
};

use super::{
    assets,
    pages::{ErrorPage, Layout, Link, NavItem, Person},
};

/// A page's frame for this person; `current` is the address of the page in the bar.
pub(crate) fn layout(title: impl Into<String>, session: Option<&Session>, current: &str) -> Layout {
    Layout {
        title: title.into(),
        assets: assets::base(),
        person: session.map(|s| Person {
            short_name: s.user.short_name.clone(),
            role: s.user.role.words(),
            csrf: s.csrf.clone(),
            whole: s.stage == Stage::Whole,
            nav: nav(s.user.role)
                .iter()
                .filter(|_| s.stage == Stage::Whole)
                .map(|&(href, label)| NavItem { href, label, current: href == current })
                .collect(),
        }),
    }
}

/// Where a role can go.
const fn nav(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Driver => {
            &[("/my", "My events"), ("/score", "My score"), ("/access-log", "Access log")]
        }
        Role::Dispatcher => &[("/events", "Events"), ("/access-log", "Access log")],
        Role::SafetyManager => &[
            ("/events", "Events"),
            ("/drivers", "Drivers"),
            ("/requests", "Requests"),
            ("/access-log", "Access log"),
        ],
        Role::FleetAdmin => &[
            ("/units", "Units"),
            ("/limits", "Limits"),
            ("/requests", "Requests"),
            ("/access-log", "Access log"),
        ],
        Role::PrivacyOfficer => &[
            ("/events", "Events"),
            ("/requests", "Requests"),
            ("/traces", "Traces"),
            ("/access-log", "Access log"),
        ],
        Role::Auditor => {
            &[("/requests", "Requests"), ("/traces", "Traces"), ("/access-log", "Access log")]
        }
        Role::Installer => &[("/units", "Units"), ("/access-log", "Access log")],
        Role::VendorSupport => {
            &[("/units", "Units"), ("/requests", "Requests"), ("/access-log", "Access log")]
        }
    }
}

/// A page, or the refusal where the template fails.
pub(crate) fn page(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "The server could not make this page.\n")
                .into_response()
        }
    }
}

fn status(error: &AppError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn note(error: &AppError) {
    if error.is_internal() {
        tracing::error!(error = chain(error), "a request failed");
    }
}

/// Seconds after which it is worth another try, where that is known.
fn retry_after(error: &AppError, mut answer: Response) -> Response {
    let seconds = match error {
        AppError::TooMany { retry_after_s } => *retry_after_s,
        AppError::Busy(_) => 30,
        AppError::NotFound
        | AppError::Refused(_)
        | AppError::Invalid(_)
        | AppError::Db(_)
        | AppError::Authz(_)
        | AppError::Log(_)
        | AppError::Key(_)
        | AppError::Object(_)
        | AppError::Picture(_)
        | AppError::Unwitnessed(_)
        | AppError::Internal(_) => return answer,
    };
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        answer.headers_mut().insert(header::RETRY_AFTER, value);
    }
    answer
}

/// The refusal as a page, in the frame of whoever asked.
pub(crate) fn refuse_page(session: Option<&Session>, error: &AppError) -> Response {
    note(error);
    let status = status(error);
    let made = page(&error_page(session, error));
    retry_after(error, (status, made).into_response())
}

/// What the page of a refusal says.
pub(crate) fn error_page(session: Option<&Session>, error: &AppError) -> ErrorPage {
    let (code, heading, advice) = match error.status() {
        400 => ("400", "That did not make sense", None),
        403 => ("403", "This is not allowed", None),
        404 => (
            "404",
            "There is nothing here that you can open",
            Some(
                "The address may be wrong, it may have expired, or your role may not allow it. \
                 To protect others, these look the same.",
            ),
        ),
        429 => (
            "429",
            "Too many attempts",
            Some("Waiting is all there is to do. Trying sooner does not help."),
        ),
        503 => (
            "503",
            "Not at this moment",
            Some("Nothing was shown and nothing was lost. Try again in a minute."),
        ),
        _ => (
            "500",
            "The server has a problem",
            Some("Nothing was shown. If it happens again, tell whoever runs Temoin in your fleet."),
        ),
    };
    let text = match error.status() {
        404 => "Nothing that you may see is at this address.".to_owned(),
        _ => error.client_text(),
    };
    let action = if session.is_some() {
        Link { href: "/".to_owned(), label: "Go to my start page" }
    } else {
        Link { href: "/sign-in".to_owned(), label: "Go to sign-in" }
    };
    ErrorPage { layout: layout(heading, session, ""), code, heading, text, advice, action }
}

/// The refusal as JSON: `{"error": "plain words"}`.
pub(crate) fn refuse_json(error: &AppError) -> Response {
    note(error);
    retry_after(error, json_error(status(error), &error.client_text()))
}

/// `{"error": text}`.
pub(crate) fn json_error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
