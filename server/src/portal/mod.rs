//! The portal: HTML for people, made on the server, that works without script but for playing.
//!
//! | module | what |
//! |---|---|
//! | `gate` | who is asking: session, form token, same-origin check |
//! | `answers` | pages, JSON, refusals as pages and as JSON |
//! | `headers` | what every answer carries: content policy, no caching |
//! | `assets` | style sheet, scripts and mark, under an address that changes with them |
//! | `sign_in`, `events`, `units`, `access_log`, `views` | the routes |
//! | `account` | where one is signed in, password, second factor, and asking for them again |
//! | `requests` | what takes a second person, and requests with a number |
//! | `drivers` | scores, objections, corrected limits: the routes |
//! | `pages`, `cells`, `words` | what the templates get, and the words in it |
//! | `driver_pages`, `driver_cells` | the same for scores, objections and limits |
//!
//! INVARIANT: the portal decides nothing and queries nothing. It shows what [`crate::show`] and
//! [`crate::view`] answer, which have been through the policies. No route takes an action without
//! a session, a same-origin request and that session's form token; signing in needs the second. What
//! is sensitive takes password or code of the last minutes as well (`gate::Fresh`).
//!
//! Nothing is stored here: a crash leaves nothing behind.

mod access_log;
mod account;
mod answers;
mod assets;
mod cells;
mod driver_cells;
mod driver_pages;
mod drivers;
mod events;
mod gate;
mod headers;
mod pages;
mod requests;
mod sign_in;
mod units;
mod views;
mod words;

#[cfg(test)]
mod account_samples;
#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod driver_samples;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod template_tests;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};

use crate::{app::App, error::AppError, show::Home};

use gate::{Asked, SignedIn};

/// No form of the portal is longer, bytes.
const MAX_FORM: usize = 16 * 1024;

/// Everything that the portal answers.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-in/code", get(sign_in::ask_code).post(sign_in::give_code))
        .route("/second-factor", get(account::second_factor).post(account::confirm))
        .route("/second-factor/begin", post(account::begin))
        .route("/second-factor/remove", post(account::remove))
        .route("/second-factor/codes", post(account::new_codes))
        .route("/session/nonce", get(account::nonce))
        .route("/account", get(account::page))
        .route("/account/notices", post(account::read))
        .route("/account/password", post(account::change_password))
        .route("/account/sessions/end", post(account::end_all))
        .route("/account/sessions/{name}/end", post(account::end_one))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/events", get(events::list))
        .route("/events/{event}", get(events::page))
        .route("/events/{event}/views", post(views::open))
        .route("/events/{event}/export", post(views::export))
        .route("/events/{event}/contest", post(drivers::contest))
        .route("/events/{event}/answer", post(drivers::answer_contest))
        .route("/events/{event}/limit", post(drivers::propose))
        .route("/my", get(events::mine))
        .route("/score", get(drivers::mine))
        .route("/drivers", get(drivers::list))
        .route("/drivers/{driver}", get(drivers::score))
        .route("/limits", get(drivers::limits))
        .route("/limits/overrides.toml", get(drivers::overrides))
        .route("/limits/{proposal}", post(drivers::decide))
        .route("/requests", get(requests::list).post(requests::ask))
        .route("/requests/register", post(requests::register))
        .route("/requests/diagnostics", post(requests::diagnostics))
        .route("/requests/{grant}/decide", post(requests::decide))
        .route("/requests/{grant}/end", post(requests::end))
        .route("/units", get(units::list))
        .route("/units/{unit}/commands", post(units::command))
        .route("/access-log", get(access_log::list))
        .route("/views/{view}/{file}", get(views::file).head(views::head))
        .route("/static/{version}/{name}", get(assets::serve))
        .route("/healthz", get(healthz))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(app.clone(), gate::attach))
        .layer(middleware::from_fn(headers::add))
        .with_state(app)
}

const fn home_path(home: Home) -> &'static str {
    match home {
        Home::MyEvents => "/my",
        Home::Events => "/events",
        Home::Units => "/units",
        Home::AccessLog => "/access-log",
    }
}

async fn home(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    match app.notices(&session.user).await {
        // What happened to the account comes before anything else, until it is read.
        Ok(notices) if !notices.is_empty() => Redirect::to("/account").into_response(),
        Ok(_) => Redirect::to(home_path(session.user.role.home())).into_response(),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

async fn healthz(State(app): State<App>) -> Response {
    if app.healthy().await {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not able to work: see the server's log\n")
            .into_response()
    }
}

async fn unknown(asked: Asked) -> Response {
    answers::refuse_page(asked.session.as_ref(), &AppError::NotFound)
}

async fn wrong_method(asked: Asked) -> Response {
    let mut answer = answers::refuse_page(
        asked.session.as_ref(),
        &AppError::Invalid("This address cannot be used in this way.".to_owned()),
    );
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer
}
