//! The access log as this person may see it, with its signed head for whoever checks it.

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;

use crate::{
    app::App,
    authn::Session,
    authz::Role,
    error::AppError,
    show::{AccessPage, AccessRow},
};

use super::{
    answers,
    gate::SignedIn,
    pages::{AccessLogPage, CheckpointCell, LogCell},
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
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let page = match asked {
        Ok(Query(asked)) => app
            .access_log(&session.user, asked.before)
            .await
            .map(|page| log_page(&session, &page, asked.before)),
        Err(_) => Err(AppError::Invalid("This address asks for no page of the log.".to_owned())),
    };
    match page {
        Ok(page) => answers::page(&page),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

fn log_page(session: &Session, page: &AccessPage, before: Option<u64>) -> AccessLogPage {
    let role = session.user.role;
    AccessLogPage {
        layout: answers::layout("Access log", Some(session), "/access-log"),
        scope: match role {
            Role::Driver => "Everyone who opened a recording of you, newest first.",
            Role::Dispatcher | Role::SafetyManager => "What you opened yourself, newest first.",
            Role::FleetAdmin => {
                "Every opened recording, without the names of drivers, newest first."
            }
            Role::PrivacyOfficer | Role::Auditor => "Every opened recording, newest first.",
        },
        checkpoint: page.checkpoint.as_deref().and_then(checkpoint),
        show_driver: page.rows.iter().any(|row| row.driver.is_some()),
        rows: page.rows.iter().map(|row| cell(row, role)).collect(),
        newest: before.map(|_| "/access-log".to_owned()),
        older: page.next_before_index.map(|index| format!("/access-log?before={index}")),
    }
}

/// The three lines of a signed note that say what the log is: origin, size, root hash.
fn checkpoint(note: &str) -> Option<CheckpointCell> {
    let mut lines = note.lines();
    Some(CheckpointCell {
        origin: lines.next()?.to_owned(),
        size: lines.next()?.to_owned(),
        root_hash: lines.next()?.to_owned(),
    })
}

fn cell(row: &AccessRow, reader: Role) -> LogCell {
    let event = row.event.to_string();
    LogCell {
        index: row.seen.log_index,
        at: words::stamp(row.seen.at_ms),
        what: "Recording opened",
        tracks: words::tracks(&row.seen.streamed),
        who: row.seen.who.clone(),
        role: (row.seen.who != row.seen.role.words()).then(|| row.seen.role.words()),
        purpose: row.seen.purpose.words(),
        driver: row.driver.clone(),
        unit: row.unit.to_string(),
        href: match reader {
            Role::Driver | Role::Dispatcher | Role::SafetyManager => {
                Some(format!("/events/{event}"))
            }
            Role::FleetAdmin | Role::PrivacyOfficer | Role::Auditor => None,
        },
        event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_from_its_note() {
        let cell = checkpoint("fleet.example/log\n42\nAAAA=\n\n— fleet.example/log sig\n").unwrap();
        assert_eq!(
            (cell.origin.as_str(), cell.size.as_str(), cell.root_hash.as_str()),
            ("fleet.example/log", "42", "AAAA=")
        );
        assert!(checkpoint("one line").is_none());
        assert!(checkpoint("").is_none());
    }
}
