//! The portal: HTML for people, made on the server, that works without script but for playing.
//!
//! | module | what |
//! |---|---|
//! | `routes` | every address, and which actions of the policies decide about it |
//! | `gate` | who is asking: session, form token, same-origin check |
//! | `answers` | pages, JSON, refusals as pages and as JSON |
//! | `headers` | what every answer carries: content policy, no caching |
//! | `assets` | style sheet, scripts and mark, under an address that changes with them |
//! | `sign_in`, `events`, `units`, `access_log`, `views` | the routes |
//! | `account` | where one is signed in, password, second factor, and asking for them again |
//! | `public_log` | the access log for everybody: head, key, tiles, consistency |
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
mod public_log;
mod requests;
mod routes;
mod sign_in;
mod traces;
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
mod right_tests;
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
};

use crate::{app::App, error::AppError, show::Home};

use gate::{Asked, SignedIn};

/// No form of the portal is longer, bytes.
const MAX_FORM: usize = 16 * 1024;

/// Everything that the portal answers.
pub fn router(app: App) -> Router {
    routes::ALL
        .iter()
        .fold(Router::new(), |router, route| {
            let handlers = (route.handlers)();
            let handlers = match route.most_bytes.first() {
                Some(most) => handlers.layer(DefaultBodyLimit::max(*most)),
                None => handlers,
            };
            router.route(route.path, handlers)
        })
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(app.clone(), gate::attach))
        .layer(middleware::from_fn(headers::add))
        .with_state(app)
}

/// The matrix of rights, and what each address asks for, for people.
pub fn rights() -> String {
    routes::rights()
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
    if !app.healthy().await {
        return (StatusCode::SERVICE_UNAVAILABLE, "not able to work: see the server's log\n")
            .into_response();
    }
    match app.witnessed() {
        Ok(()) => "ok\n".into_response(),
        Err(e) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", e.client_text())).into_response()
        }
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
