//! The fleet administrator's units: health in plain words, and orders. No pictures.

use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use crate::{
    app::App,
    authn::Session,
    db::{commands::CommandRow, units::UnitStatus},
    error::AppError,
    show::{Order, UnitRow},
};

use super::{
    answers,
    gate::{Form, HasToken, SignedIn},
    pages::{HealthCell, OrderCell, PrivacyCell, StateCell, UnitCell, UnitsPage},
    words,
};

/// A unit's clock that is further off than this is shown as a fault: shifts and clips are matched
/// by time.
const CLOCK_FAULT_MS: u64 = 5_000;

/// What the address may say: that an order was taken.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    ordered: Option<String>,
}

/// `GET /units`.
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(session): SignedIn,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let ordered = asked.is_ok_and(|Query(asked)| asked.ordered.is_some());
    match app.units(&session.user).await {
        Ok(rows) => answers::page(&units_page(&session, &rows, ordered, app.now_ms())),
        Err(error) => answers::refuse_page(Some(&session), &error),
    }
}

fn units_page(session: &Session, rows: &[UnitRow], ordered: bool, now_ms: i64) -> UnitsPage {
    let units: Vec<_> = rows.iter().map(|row| cell(row, now_ms)).collect();
    let troubled = units.iter().filter(|u| matches!(u.state.slug, "degraded" | "failed")).count();
    let count = match units.len() {
        1 => "1 unit".to_owned(),
        n => format!("{n} units"),
    };
    let state = match troubled {
        0 => "all in order".to_owned(),
        1 => "1 needs a look".to_owned(),
        n => format!("{n} need a look"),
    };
    UnitsPage {
        layout: answers::layout("Units", Some(session), "/units"),
        csrf: session.csrf.clone(),
        summary: if units.is_empty() { String::new() } else { format!("{count}, {state}.") },
        notice: ordered
            .then_some("The order is on its way. The unit takes it at its next contact."),
        units,
    }
}

fn cell(row: &UnitRow, now_ms: i64) -> UnitCell {
    let (mut faults, fine): (Vec<_>, Vec<_>) = row
        .health
        .iter()
        .map(|h| {
            let (slug, state) = words::health_state(&h.state);
            HealthCell { slug, state, part: words::health_part(&h.part), text: h.text.clone() }
        })
        .partition(|h| h.slug != "ok");
    let off_ms = row.clock_error_ms.unwrap_or(0);
    if off_ms.unsigned_abs() > CLOCK_FAULT_MS {
        faults.push(HealthCell {
            slug: "degraded",
            state: "Limited",
            part: words::health_part("clock"),
            text: format!(
                "{} {} the server's clock",
                words::milliseconds(off_ms.unsigned_abs()),
                if off_ms > 0 { "ahead of" } else { "behind" },
            ),
        });
    }
    faults.sort_by_key(|h| h.slug != "failed");
    let state = match row.status {
        UnitStatus::Waiting => StateCell { slug: "waiting", text: "Not enrolled yet" },
        UnitStatus::Revoked => StateCell { slug: "revoked", text: "Revoked" },
        UnitStatus::Enrolled if row.silent => StateCell { slug: "failed", text: "Silent" },
        UnitStatus::Enrolled if !faults.is_empty() => {
            StateCell { slug: "degraded", text: "Needs a look" }
        }
        UnitStatus::Enrolled => StateCell { slug: "ok", text: "In touch" },
    };
    let (text, why) = words::privacy(row.privacy_state.as_deref());
    UnitCell {
        unit: row.id.to_string(),
        depot: Some(row.depot.clone()).filter(|d| !d.is_empty()),
        state,
        last_contact: row
            .last_heartbeat_ms
            .map_or_else(|| "Never".to_owned(), |at| words::ago(now_ms, at)),
        last_contact_at: row.last_heartbeat_ms.map(words::stamp),
        privacy: PrivacyCell { slug: row.privacy_state.clone().unwrap_or_default(), text, why },
        spool: words::spool(row.spool_clips, row.spool_bytes),
        agent_version: row.agent_version.clone(),
        faults,
        fine_summary: match fine.len() {
            1 => "1 part is fine".to_owned(),
            n => format!("{n} parts are fine"),
        },
        fine,
        can_order: row.may_command && row.status == UnitStatus::Enrolled,
        orders: row.commands.iter().map(|c| order_cell(c, now_ms)).collect(),
    }
}

fn order_cell(row: &CommandRow, now_ms: i64) -> OrderCell {
    let state = match (row.done_ms, row.done) {
        (Some(at), Some(true)) => format!("done {}", words::ago(now_ms, at)),
        (Some(at), Some(false) | None) => {
            let why = row.result.as_deref().filter(|r| !r.is_empty()).unwrap_or("no reason given");
            format!("not done, {}: {why}", words::ago(now_ms, at))
        }
        (None, _) => format!("given {}, waiting for the unit", words::ago(now_ms, row.created_ms)),
    };
    OrderCell { what: format!("{}:", row.words), state }
}

/// An order as the form has it.
#[derive(Deserialize)]
pub(crate) struct OrderForm {
    csrf: String,
    order: String,
    #[serde(default)]
    privacy: String,
    #[serde(default)]
    limit_kmh: String,
}

impl HasToken for OrderForm {
    fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl OrderForm {
    fn order(&self) -> Result<Order, AppError> {
        let invalid = |text: &str| AppError::Invalid(text.to_owned());
        match (self.order.as_str(), self.privacy.as_str()) {
            ("identify", _) => Ok(Order::Identify),
            ("set-privacy", "recording") => Ok(Order::SetPrivacy { recording: true }),
            ("set-privacy", "ai_without_recording") => Ok(Order::SetPrivacy { recording: false }),
            ("set-privacy", _) => Err(invalid("Choose whether the unit records flagged events.")),
            ("set-speed-limit", _) => match self.limit_kmh.trim() {
                "" => Ok(Order::SetSpeedLimit { limit_kmh: None }),
                text => text
                    .parse::<f64>()
                    .ok()
                    .filter(|v| v.is_finite())
                    .map(|v| Order::SetSpeedLimit { limit_kmh: Some(v) })
                    .ok_or_else(|| {
                        invalid("The speed limit has to be a number of km/h, or empty.")
                    }),
            },
            (_, _) => Err(invalid("There is no such order.")),
        }
    }
}

/// `POST /units/{unit}/commands`.
pub(crate) async fn command(
    State(app): State<App>,
    Path(unit): Path<String>,
    form: Form<OrderForm>,
) -> Response {
    let given = match form.fields.order() {
        Ok(order) => app.command_unit(&form.session.user, &unit, order).await,
        Err(error) => Err(error),
    };
    match given {
        Ok(_) => Redirect::to("/units?ordered=1").into_response(),
        Err(error) => answers::refuse_page(Some(&form.session), &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(order: &str, privacy: &str, limit: &str) -> OrderForm {
        OrderForm {
            csrf: String::new(),
            order: order.to_owned(),
            privacy: privacy.to_owned(),
            limit_kmh: limit.to_owned(),
        }
    }

    #[test]
    fn orders_are_read_or_refused() {
        let limit = |limit_kmh| Some(Order::SetSpeedLimit { limit_kmh });
        for (order, privacy, kmh, read) in [
            ("identify", "", "", Some(Order::Identify)),
            ("set-privacy", "recording", "", Some(Order::SetPrivacy { recording: true })),
            (
                "set-privacy",
                "ai_without_recording",
                "",
                Some(Order::SetPrivacy { recording: false }),
            ),
            ("set-privacy", "off", "", None),
            ("set-speed-limit", "", "", limit(None)),
            ("set-speed-limit", "", " 80 ", limit(Some(80.0))),
            ("set-speed-limit", "", "NaN", None),
            ("set-speed-limit", "", "fast", None),
            ("reboot", "", "", None),
        ] {
            assert_eq!(form(order, privacy, kmh).order().ok(), read, "{order} {privacy} {kmh}");
        }
    }
}
