//! The access log as this person may see it, with its signed head for whoever checks it.

use askama::Template as _;
use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{Html, IntoResponse as _, Response},
};
use serde::Deserialize;
use temoin_access_log::LogPublicKey;

use crate::{
    app::App,
    authn::{Session, sha256},
    authz::Role,
    error::AppError,
    feed::{AccessPage, ActShown},
};

use super::{
    answers,
    gate::{self, SignedIn},
    pages::{AccessLogPage, CheckpointCell, LogCell, LogRows},
    words,
};

/// What the address may ask for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    before: Option<u64>,
}

/// `GET /access-log`.
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    parts: Parts,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let host = gate::host(&parts).unwrap_or("THIS-SITE").to_owned();
    let page = match asked {
        Ok(Query(asked)) => app
            .access_log(&session.user, asked.before)
            .await
            .map(|page| log_page(&session, &page, asked.before, (&host, app.log().public_key()))),
        Err(_) => Err(AppError::Invalid("This address asks for no page of the log.".to_owned())),
    };
    match page {
        Ok(page) => answers::page(&page),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

/// `GET /access-log/rows`: the newest entries, for a page that is open and asks every second. Does
/// not count as use of the session (`gate::attach`): who has gone away is signed out as before.
pub(crate) async fn rows(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    headers: HeaderMap,
) -> Response {
    let made = match app.access_log(&session.user, None).await {
        Ok(page) => log_rows(session.user.role, &page).render(),
        Err(error) => return answers::refuse_json(&error),
    };
    let text = match made {
        Ok(text) => text,
        Err(error) => {
            return answers::refuse_json(&AppError::Internal(format!("the rows: {error}")));
        }
    };
    let tag = format!("\"{}\"", hex::encode(sha256(text.as_bytes())));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|have| have == tag.as_str());
    let tag = [(header::ETAG, tag)];
    if known {
        (StatusCode::NOT_MODIFIED, tag).into_response()
    } else {
        (tag, Html(text)).into_response()
    }
}

/// `GET /access-log/{index}/proof`: the proof of one entry, as a file.
pub(crate) async fn proof(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    Path(index): Path<String>,
) -> Response {
    let proof = match index.parse() {
        Ok(index) => app.entry_proof(&session.user, index).await,
        Err(_) => Err(AppError::NotFound),
    };
    match proof {
        Ok(text) => {
            let name = format!("attachment; filename=\"entry-{index}.tlog-proof\"");
            let kind = "text/plain; charset=utf-8".to_owned();
            ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], text)
                .into_response()
        }
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

fn log_page(
    session: &Session,
    page: &AccessPage,
    before: Option<u64>,
    at: (&str, &LogPublicKey),
) -> AccessLogPage {
    let role = session.user.role;
    AccessLogPage {
        layout: answers::layout("Access log", Some(session), "/access-log"),
        scope: match role {
            Role::Driver => {
                "Everything that anybody did with recordings of you, and what you did, newest first."
            }
            Role::Dispatcher | Role::SafetyManager | Role::Installer | Role::VendorSupport => {
                "What you did yourself, and what was done to your account, newest first."
            }
            Role::FleetAdmin => "What everybody did, without the names of drivers, newest first.",
            Role::PrivacyOfficer | Role::Auditor => "What everybody did, newest first.",
        },
        checkpoint: page.checkpoint.as_deref().and_then(|note| checkpoint(note, at)),
        log: log_rows(role, page),
        newest: before.map(|_| "/access-log".to_owned()),
        older: page.next_before_index.map(|index| format!("/access-log?before={index}")),
    }
}

fn log_rows(role: Role, page: &AccessPage) -> LogRows {
    LogRows {
        // As the policies tell names; not by what is in the rows, which come and go.
        show_driver: match role {
            Role::Dispatcher | Role::SafetyManager | Role::PrivacyOfficer | Role::Auditor => true,
            Role::Driver | Role::FleetAdmin | Role::Installer | Role::VendorSupport => false,
        },
        rows: page.rows.iter().map(|row| cell(row, role)).collect(),
    }
}

/// The three lines of a signed note that say what the log is: origin, size, root hash; and how it
/// is checked at this site with this key.
fn checkpoint(note: &str, (host, key): (&str, &LogPublicKey)) -> Option<CheckpointCell> {
    let mut lines = note.lines();
    Some(CheckpointCell {
        origin: lines.next()?.to_owned(),
        size: lines.next()?.to_owned(),
        root_hash: lines.next()?.to_owned(),
        command: format!("temoin-verify https://{host}/log --key '{key}'"),
    })
}

fn cell(row: &ActShown, reader: Role) -> LogCell {
    let event = row.event.map(|id| id.to_string());
    LogCell {
        index: row.index,
        at: words::stamp(row.at_ms),
        what: words::act(row),
        tracks: words::watched(row),
        who: words::actor(row),
        // Where a name may not be told, the name already is the role.
        role: row.role.filter(|_| row.who.is_some()).map(Role::words),
        purpose: words::purpose(row),
        driver: row.driver.clone(),
        unit: row.unit.as_ref().map(ToString::to_string),
        // Without a unit the event is forgotten.
        href: match reader {
            Role::Driver | Role::Dispatcher | Role::SafetyManager | Role::PrivacyOfficer => {
                event.as_ref().zip(row.unit.as_ref()).map(|(event, _)| format!("/events/{event}"))
            }
            Role::FleetAdmin | Role::Auditor | Role::Installer | Role::VendorSupport => None,
        },
        event,
    }
}

#[cfg(test)]
mod tests {
    use temoin_access_log::LogKey;

    use super::*;

    #[test]
    fn the_head_is_read_from_its_note() {
        let (key, _) = LogKey::generate("fleet.example/log").unwrap();
        let at = ("fleet.example:8443", key.public());
        let note = "fleet.example/log\n42\nAAAA=\n\n— fleet.example/log sig\n";
        let cell = checkpoint(note, at).unwrap();
        assert!(cell.command.contains("https://fleet.example:8443/log --key 'fleet.example/log+"));
        assert_eq!(
            (cell.origin.as_str(), cell.size.as_str(), cell.root_hash.as_str()),
            ("fleet.example/log", "42", "AAAA=")
        );
        assert!(checkpoint("one line", at).is_none());
        assert!(checkpoint("", at).is_none());
    }
}
