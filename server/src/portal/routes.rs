//! Every address of the portal, with how it may be used and which actions of the policies decide
//! about it. An address without a right does not compile; that the right is really asked for is
//! tested for each one.

use axum::routing::MethodRouter;

use crate::app::App;

use super::{
    access_log, account, assets, drivers, events, healthz, home, public_log, requests, sign_in,
    traces, units, views,
};

/// What decides about a use of an address.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    /// These actions of the policies: rows of `policy/matrix.txt`.
    Asks(&'static [&'static str]),
    /// Nobody has to be asked, for this reason.
    Open(&'static str),
}

use Right::{Asks, Open};

/// An address.
pub(super) struct Route {
    /// As axum writes it.
    pub(super) path: &'static str,
    /// What answers.
    pub(super) handlers: fn() -> MethodRouter<App>,
    /// The longest body that it takes, bytes, where that is not a form's; else empty.
    pub(super) most_bytes: &'static [usize],
    /// Each method, and what decides about it.
    pub(super) uses: &'static [(&'static str, Right)],
}

/// The matrix of rights, and what each address asks for.
pub(super) fn rights() -> String {
    let mut text = include_str!("../../policy/matrix.txt").to_owned();
    text.push_str("\naddresses of the portal\n");
    for route in ALL {
        for (method, right) in route.uses {
            let right = match right {
                Asks(actions) => actions.join(" "),
                Open(why) => format!("({why})"),
            };
            let used = format!("{} {}", method.to_uppercase(), route.path);
            text.push_str(&format!("  {used:<42} {right}\n"));
        }
    }
    text
}

macro_rules! routes {
    ($($path:literal $(at most $most:path;)? { $($method:ident $handler:path => $right:expr,)+ })+) => {
        /// Every address.
        pub(super) const ALL: &[Route] = &[$(Route {
            path: $path,
            handlers: || MethodRouter::new()$(.$method($handler))+,
            most_bytes: &[$($most)?],
            uses: &[$((stringify!($method), $right)),+],
        },)+];
    };
}

routes! {
    "/" { get home => Open("sends on to the role's first page, which asks"), }
    "/sign-in" {
        get sign_in::page => Open("shows a form"),
        post sign_in::submit => Open("decides by the password who somebody is"),
    }
    "/sign-in/code" {
        get sign_in::ask_code => Open("shows a form"),
        post sign_in::give_code => Open("decides by the code who somebody is"),
    }
    "/second-factor" {
        get account::second_factor => Open("the own account"),
        post account::confirm => Open("the own account"),
    }
    "/second-factor/begin" { post account::begin => Open("the own account, with a step-up"), }
    "/second-factor/remove" { post account::remove => Open("the own account, with a step-up"), }
    "/second-factor/codes" { post account::new_codes => Open("the own account, with a step-up"), }
    "/session/nonce" { get account::nonce => Open("a fresh number for the own browser's proofs"), }
    "/account" { get account::page => Open("the own account"), }
    "/account/notices" { post account::read => Open("the own account"), }
    "/account/password" { post account::change_password => Open("the own account, with its password"), }
    "/account/sessions/end" { post account::end_all => Open("the own sessions"), }
    "/account/sessions/{name}/end" { post account::end_one => Open("an own session"), }
    "/sign-out" { post sign_in::sign_out => Open("ends the own session"), }
    "/events" { get events::list => Asks(&["see_event"]), }
    "/events/{event}" { get events::page => Asks(&["see_event"]), }
    "/events/{event}/views" { post views::open => Asks(&["see_event", "play_road", "play_cabin"]), }
    "/events/{event}/export" { post views::export => Asks(&["see_event", "play_road", "export"]), }
    "/events/{event}/contest" {
        post drivers::contest => Asks(&["see_event", "contest_event"]),
    }
    "/events/{event}/answer" {
        post drivers::answer_contest => Asks(&["see_event", "answer_contest"]),
    }
    "/events/{event}/limit" {
        post drivers::propose => Asks(&["see_event", "propose_limit"]),
    }
    "/my" { get events::mine => Asks(&["see_event"]), }
    "/score" { get drivers::mine => Asks(&["see_score"]), }
    "/drivers" { get drivers::list => Asks(&["see_score"]), }
    "/drivers/{driver}" { get drivers::score => Asks(&["see_score"]), }
    "/limits" { get drivers::limits => Asks(&["correct_limits"]), }
    "/limits/overrides.toml" { get drivers::overrides => Asks(&["correct_limits"]), }
    "/limits/{proposal}" { post drivers::decide => Asks(&["correct_limits"]), }
    "/requests" {
        get requests::list => Asks(&["see_ask"]),
        post requests::ask => Asks(&["see_event", "lift_blur"]),
    }
    "/requests/register" { post requests::register => Asks(&["open_request"]), }
    "/requests/diagnostics" {
        post requests::diagnostics => Open("only asks, as vendor support: `approve` decides"),
    }
    "/requests/holds" { post requests::hold => Asks(&["hold_clip"]), }
    "/requests/holds/{hold}/release" { post requests::release => Asks(&["hold_clip"]), }
    "/requests/{grant}/decide" { post requests::decide => Asks(&["see_ask", "approve"]), }
    "/requests/{grant}/end" { post requests::end => Asks(&["see_ask"]), }
    "/traces" at most traces::MAX_BODY; {
        get traces::list => Asks(&["see_ask", "trace_leak"]),
        post traces::hand_in => Asks(&["trace_leak"]),
    }
    "/traces/ask" { post traces::ask => Asks(&["trace_leak"]), }
    "/traces/{trace}" { get traces::one => Asks(&["see_ask"]), }
    "/traces/{trace}/{file}" { get traces::file => Asks(&["see_ask"]), }
    "/units" { get units::list => Asks(&["see_unit", "command_unit"]), }
    "/units/{unit}/commands" { post units::command => Asks(&["see_unit", "command_unit"]), }
    "/access-log" { get access_log::list => Asks(&["see_log_entry", "verify_log"]), }
    "/access-log/rows" { get access_log::rows => Asks(&["see_log_entry", "verify_log"]), }
    "/access-log/{index}/proof" { get access_log::proof => Asks(&["see_log_entry"]), }
    "/log/checkpoint" { get public_log::checkpoint => Open("size and root of the log, signed"), }
    "/log/key" { get public_log::key => Open("the public key that checks the log"), }
    "/log/tile/{*path}" {
        get public_log::tile => Open("entries hold opaque ids and salted hashes, of nobody"),
    }
    "/log/consistency" { get public_log::consistency => Open("hashes of the published log"), }
    "/views/{view}/{file}" {
        get views::file => Asks(&["see_event", "play_road"]),
        head views::head => Open("refused, whatever it is"),
    }
    "/static/{version}/{name}" { get assets::serve => Open("the same for everybody"), }
    "/healthz" { get healthz => Open("says whether the server works, and nothing else"), }
}
