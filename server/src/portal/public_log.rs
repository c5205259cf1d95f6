//! The access log for everybody, as C2SP tlog-tiles: `/log/checkpoint`, `/log/tile/...`, and beside
//! them `/log/key` and `/log/consistency`. Nobody signs in: entries hold opaque ids and salted hashes,
//! and who checks the log must not have to ask the one who writes it for an account.
//!
//! INVARIANT: every answer is made from the open log as it is asked for, at most one chunk of 256
//! entries for each; so it is never behind, and nothing is stored.

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::app::App;

use super::answers;

/// Readers of the log's disk at once; others wait.
static PLACES: Semaphore = Semaphore::const_new(4);

const TEXT: &str = "text/plain; charset=utf-8";

fn no(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], text).into_response()
}

/// `GET /log/checkpoint`: the newest head that the witnesses cosigned; without witnesses, the newest.
pub(crate) async fn checkpoint(State(app): State<App>) -> Response {
    let witnesses = app.witnesses();
    let head = if witnesses.is_empty() { Some(app.log().head()) } else { witnesses.cosigned() };
    match head {
        Some(head) => ([(header::CONTENT_TYPE, TEXT)], head.note().to_owned()).into_response(),
        None => no(StatusCode::SERVICE_UNAVAILABLE, "no head of this log is cosigned\n"),
    }
}

/// `GET /log/key`.
pub(crate) async fn key(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], format!("{}\n", app.log().public_key())).into_response()
}

/// `GET /log/tile/...`
pub(crate) async fn tile(State(app): State<App>, Path(path): Path<String>) -> Response {
    let whole = !path.contains(".p/");
    let _place = PLACES.acquire().await;
    match app.log().tile(path).await {
        Ok(Some(bytes)) => {
            let mut answer =
                ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response();
            if whole {
                let forever =
                    header::HeaderValue::from_static("public, max-age=31536000, immutable");
                answer.headers_mut().insert(header::CACHE_CONTROL, forever);
            }
            answer
        }
        Ok(None) => no(StatusCode::NOT_FOUND, "the log has no such tile\n"),
        Err(error) => answers::refuse_json(&error),
    }
}

/// Two sizes of the log.
#[derive(Debug, Deserialize)]
pub(crate) struct Sizes {
    from: u64,
    to: u64,
}

/// `GET /log/consistency`: the proof that the first `from` entries are the beginning of the first `to`,
/// one hash on each line.
pub(crate) async fn consistency(
    State(app): State<App>,
    sizes: Result<Query<Sizes>, QueryRejection>,
) -> Response {
    let sizes = match sizes {
        Ok(Query(sizes)) if sizes.from <= sizes.to => sizes,
        Ok(_) | Err(_) => {
            return no(StatusCode::BAD_REQUEST, "give two sizes of the log: ?from=..&to=..\n");
        }
    };
    if sizes.to > app.log().len() {
        // Who has seen a longer log has seen that this one was cut.
        return no(StatusCode::NOT_FOUND, "the log has fewer entries\n");
    }
    let _place = PLACES.acquire().await;
    match app.log().consistency_proof(sizes.from, sizes.to).await {
        Ok(proof) => {
            let lines: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
            ([(header::CONTENT_TYPE, TEXT)], lines).into_response()
        }
        Err(error) => answers::refuse_json(&error),
    }
}
