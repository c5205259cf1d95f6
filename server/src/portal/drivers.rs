//! Scores, objections and their answers, corrected limits: the routes.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use temoin_proto::ids::{EventId, UserId};

use crate::{app::App, authn::Session, driver_score::DriverScore, error::AppError};

use super::{
    answers, driver_cells,
    driver_pages::{DriverCell, DriversPage, LimitsPage},
    gate::{Form, HasToken, SignedIn},
};

fn answer<P: askama::Template>(session: &Session, made: Result<P, AppError>) -> Response {
    match made {
        Ok(made) => answers::page(&made),
        Err(error) => answers::refuse_page(Some(session), &error),
    }
}

fn done(session: &Session, made: Result<(), AppError>, to: &str) -> Response {
    match made {
        Ok(()) => Redirect::to(to).into_response(),
        Err(error) => answers::refuse_page(Some(session), &error),
    }
}

/// `GET /score`: a driver's own.
pub(crate) async fn mine(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    let shown = app.my_score(&session.user).await;
    answer(&session, shown.map(|shown| score_page(&session, "/score", &shown)))
}

/// `GET /drivers/{driver}`.
pub(crate) async fn score(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(driver): Path<String>,
) -> Response {
    let shown = match driver.parse::<UserId>() {
        Ok(driver) => app.driver_score(&session.user, driver).await,
        Err(_) => Err(AppError::NotFound),
    };
    answer(&session, shown.map(|shown| score_page(&session, "/drivers", &shown)))
}

fn score_page(
    session: &Session,
    current: &str,
    shown: &DriverScore,
) -> super::driver_pages::ScorePage {
    driver_cells::score(answers::layout("Score", Some(session), current), shown)
}

/// `GET /drivers`.
pub(crate) async fn list(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    let shown = app.drivers(&session.user).await;
    let made = shown.map(|shown| DriversPage {
        layout: answers::layout("Drivers", Some(&session), "/drivers"),
        waiting: shown.waiting.iter().map(|w| driver_cells::waiting(w, app.now_ms())).collect(),
        drivers: shown
            .drivers
            .into_iter()
            .map(|d| DriverCell { href: format!("/drivers/{}", d.driver), name: d.name })
            .collect(),
    });
    answer(&session, made)
}

/// What a driver writes about an event.
#[derive(Deserialize)]
pub(crate) struct ContestForm {
    csrf: String,
    #[serde(default)]
    words: String,
}

/// What a safety manager answers.
#[derive(Deserialize)]
pub(crate) struct AnswerForm {
    csrf: String,
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    reason: String,
}

/// Another limit.
#[derive(Deserialize)]
pub(crate) struct LimitForm {
    csrf: String,
    #[serde(default)]
    limit_kmh: String,
    #[serde(default)]
    words: String,
}

impl HasToken for ContestForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl HasToken for AnswerForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl HasToken for LimitForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

/// `POST /events/{event}/contest`.
pub(crate) async fn contest(
    State(app): State<App>,
    Path(event): Path<String>,
    form: Form<ContestForm>,
) -> Response {
    let made = match event.parse::<EventId>() {
        Ok(id) => app.contest_event(&form.session.user, id, &form.fields.words).await,
        Err(_) => Err(AppError::NotFound),
    };
    done(&form.session, made, &format!("/events/{event}"))
}

/// `POST /events/{event}/answer`.
pub(crate) async fn answer_contest(
    State(app): State<App>,
    Path(event): Path<String>,
    form: Form<AnswerForm>,
) -> Response {
    let upheld = chosen(&form.fields.verdict, "upheld", "overturned");
    let made = match (event.parse::<EventId>(), upheld) {
        (Ok(id), Ok(upheld)) => {
            app.answer_contest(&form.session.user, id, upheld, &form.fields.reason).await
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(_), _) => Err(AppError::NotFound),
    };
    done(&form.session, made, &format!("/events/{event}"))
}

/// `POST /events/{event}/limit`.
pub(crate) async fn propose(
    State(app): State<App>,
    Path(event): Path<String>,
    form: Form<LimitForm>,
) -> Response {
    let made = match (event.parse::<EventId>(), proposed(&form.fields.limit_kmh)) {
        (Ok(id), Ok(kmh)) => app.propose_limit(&form.session, id, kmh, &form.fields.words).await,
        (Ok(_), Err(error)) => Err(error),
        (Err(_), _) => Err(AppError::NotFound),
    };
    done(&form.session, made, &format!("/events/{event}"))
}

/// A limit as it was typed; empty: nobody knows it.
fn proposed(text: &str) -> Result<Option<f64>, AppError> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse::<u8>().map(|kmh| Some(f64::from(kmh))).map_err(|_| {
            AppError::Invalid(
                "The limit has to be a whole number of km/h, or empty. Go back and correct it."
                    .to_owned(),
            )
        }),
    }
}

fn chosen(given: &str, yes: &str, no: &str) -> Result<bool, AppError> {
    if given == yes {
        Ok(true)
    } else if given == no {
        Ok(false)
    } else {
        Err(AppError::Invalid("Nothing was chosen. Go back and choose.".to_owned()))
    }
}

/// `GET /limits`.
pub(crate) async fn limits(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    let shown = app.limit_proposals(&session.user).await;
    let made = shown.map(|rows| {
        let (decided, waiting): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.decision.is_some());
        LimitsPage {
            layout: answers::layout("Limits", Some(&session), "/limits"),
            csrf: session.csrf.clone(),
            accepted: decided
                .iter()
                .filter(|row| row.decision.as_ref().is_some_and(|d| d.accepted))
                .count(),
            waiting: waiting.into_iter().map(driver_cells::proposal).collect(),
            decided: decided.into_iter().map(driver_cells::proposal).collect(),
        }
    });
    answer(&session, made)
}

/// `POST /limits/{proposal}`.
pub(crate) async fn decide(
    State(app): State<App>,
    Path(proposal): Path<String>,
    form: Form<AnswerForm>,
) -> Response {
    let accepted = chosen(&form.fields.verdict, "accepted", "refused");
    let made = match (proposal.parse::<i64>(), accepted) {
        (Ok(id), Ok(accepted)) => {
            app.decide_limit(&form.session.user, id, accepted, &form.fields.reason).await
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(_), _) => Err(AppError::NotFound),
    };
    done(&form.session, made, "/limits")
}

/// `GET /limits/overrides.toml`.
pub(crate) async fn overrides(State(app): State<App>, SignedIn(session): SignedIn) -> Response {
    match app.overrides_file(&session.user).await {
        Ok(text) => {
            let mut answer = text.into_response();
            let headers = answer.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/toml; charset=utf-8"),
            );
            headers.insert(
                header::CONTENT_DISPOSITION,
                HeaderValue::from_static("attachment; filename=\"overrides.toml\""),
            );
            answer
        }
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_refused() {
        for (text, read) in [
            ("", Some(None)),
            (" ", Some(None)),
            ("50", Some(Some(50.0))),
            (" 130 ", Some(Some(130.0))),
            ("50.5", None),
            ("fast", None),
            ("-50", None),
            ("NaN", None),
        ] {
            assert_eq!(proposed(text).ok(), read, "{text}");
        }
    }
}
