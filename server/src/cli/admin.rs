//! What an administrator does beside the running server: depots, accounts, units, shifts.

use std::{
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use temoin_proto::ids::{UnitId, UserId};
use zeroize::{Zeroize as _, Zeroizing};

use super::{AddUser, EnrolCode, open, say};
use crate::{
    app::system_clock,
    authn::{MAX_PASSWORD, generate_password, hash_password},
    authz::Role,
    config::Config,
    db::{
        Db,
        acts::Act,
        users::{MAX_NAME, User},
    },
    enrol::new_code,
    log::action,
    pki::Pki,
    sessions::Notice,
};

/// Longest short name: what the mark has room for.
const MAX_SHORT_NAME: usize = 20;

pub(super) async fn add_depot(config: &Path, name: &str) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    check_name("the depot's name", name, MAX_NAME)?;
    db.add_depot(name, name).await?;
    log(&db, "depot_added", None).await?;
    say(&format!("added depot {name}"))
}

/// Says in the access log what is done: the server writes it there. Before it, where somebody loses
/// something by it; behind it, where only then it is known that it can be done.
async fn log(db: &Db, word: &str, concerned: Option<UserId>) -> Result<(), anyhow::Error> {
    let act = Act::new(action(&format!("operator_{word}"))?, None, system_clock()());
    Ok(db.log_later(&Act { driver: concerned, ..act }).await?)
}

fn check_name(what: &str, name: &str, longest: usize) -> Result<(), anyhow::Error> {
    let count = name.chars().count();
    anyhow::ensure!(
        (1..=longest).contains(&count)
            && !name.chars().any(char::is_control)
            && name.trim() == name,
        "{what} `{name}` is not possible: 1 to {longest} characters, none of them invisible"
    );
    Ok(())
}

pub(super) async fn add_user(add: AddUser) -> Result<(), anyhow::Error> {
    let (_, db) = open(&add.at.config).await?;
    check_name("the login", &add.login, MAX_NAME)?;
    check_name("the name", &add.name, MAX_NAME)?;
    check_name("the short name", &add.short_name, MAX_SHORT_NAME)?;
    anyhow::ensure!(
        add.depot.is_some() || !matches!(add.role, Role::Driver | Role::Dispatcher),
        "a {} belongs to a depot: say which with --depot",
        add.role.words().to_lowercase()
    );
    let manager = with_role(&db, add.manager.as_deref(), Role::SafetyManager).await?;
    let (password, made) =
        if add.password_stdin { (read_password()?, false) } else { (generate_password()?, true) };
    let hash = hash_password(&password)?;
    let user = User {
        id: UserId::new(),
        login: add.login,
        name: add.name,
        short_name: add.short_name,
        role: add.role,
        depot: add.depot,
        manager,
        disabled: false,
    };
    db.add_user(&user, &hash, system_clock()()).await?;
    log(&db, "account_added", Some(user.id)).await?;
    say(&format!("added {} {}", user.role.as_str(), user.login))?;
    if made {
        say(&format!("password (shown only now): {}", password.as_str()))?;
    }
    Ok(())
}

fn read_password() -> Result<Zeroizing<String>, anyhow::Error> {
    let limit = u64::try_from(MAX_PASSWORD + 2).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

pub(super) async fn set_disabled(
    config: &Path,
    login: &str,
    disabled: bool,
) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    let user = account(&db, login).await?;
    log(&db, if disabled { "account_off" } else { "account_on" }, Some(user.id)).await?;
    db.set_user_disabled(login, disabled, system_clock()()).await?;
    say(&format!("{login} is switched {}", if disabled { "off" } else { "on" }))
}

async fn account(db: &Db, login: &str) -> Result<User, anyhow::Error> {
    let found = db.user_by_login(login).await?.map(|(user, _)| user);
    found.with_context(|| format!("there is no account `{login}`"))
}

/// The person of this login, who must have this role.
async fn with_role(
    db: &Db,
    login: Option<&str>,
    role: Role,
) -> Result<Option<UserId>, anyhow::Error> {
    let Some(login) = login else { return Ok(None) };
    let user = account(db, login).await?;
    anyhow::ensure!(user.role == role, "`{login}` is no {}", role.words().to_lowercase());
    Ok(Some(user.id))
}

pub(super) async fn sign_out(config: &Path, login: &str) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    let user = account(&db, login).await?;
    log(&db, "sessions_ended", Some(user.id)).await?;
    let ended = db.delete_sessions_of(user.id, None).await?;
    db.add_notice(user.id, Notice::SignedOut, system_clock()()).await?;
    say(&format!("{login} is signed out: {ended} sessions ended"))
}

pub(super) async fn reset_second_factor(config: &Path, login: &str) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    let user = account(&db, login).await?;
    log(&db, "factor_removed", Some(user.id)).await?;
    // The notice first: nobody's second factor goes without their being told.
    let removed = db.second_factor(user.id).await?.is_some();
    if removed {
        db.add_notice(user.id, Notice::FactorRemoved, system_clock()()).await?;
        db.remove_second_factor(user.id).await?;
    }
    db.delete_sessions_of(user.id, None).await?;
    say(&format!(
        "{login} {}",
        if removed {
            "has no second factor any more, and is signed out"
        } else {
            "had no second factor; all sessions are ended"
        }
    ))
}

pub(super) async fn add_unit(
    config: &Path,
    unit: &UnitId,
    depot: &str,
    installer: Option<&str>,
) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    anyhow::ensure!(db.unit(unit).await?.is_none(), "there is a unit `{unit}` already");
    let installer = with_role(&db, installer, Role::Installer).await?;
    db.add_unit(unit, depot, installer).await?;
    log(&db, "unit_added", None).await?;
    say(&format!("added unit {unit}"))
}

async fn known(db: &Db, unit: &UnitId) -> Result<(), anyhow::Error> {
    anyhow::ensure!(
        db.unit(unit).await?.is_some(),
        "there is no unit `{unit}`: add it with `temoin-server unit add {unit} --depot ...`"
    );
    Ok(())
}

pub(super) async fn revoke(config: &Path, unit: &UnitId) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    known(&db, unit).await?;
    log(&db, "unit_revoked", None).await?;
    db.revoke_unit(unit).await?;
    say(&format!("revoked {unit}: its certificate is no longer accepted"))
}

pub(super) async fn set_shift(
    config: &Path,
    unit: &UnitId,
    driver: &str,
    from: Option<jiff::Timestamp>,
) -> Result<(), anyhow::Error> {
    let (_, db) = open(config).await?;
    let user = account(&db, driver).await?;
    anyhow::ensure!(user.role == Role::Driver, "`{driver}` is no driver");
    known(&db, unit).await?;
    let from_unix_ms = from.map_or_else(|| system_clock()(), |t| t.as_millisecond());
    log(&db, "shift_set", Some(user.id)).await?;
    db.set_shift(unit, user.id, from_unix_ms).await?;
    let since = from.map_or_else(|| "now on".to_owned(), |t| t.to_string());
    say(&format!("{driver} drives {unit} from {since}"))
}

/// What a unit reads to enrol.
#[derive(Serialize)]
struct Ticket<'a> {
    server: &'a str,
    unit: &'a str,
    code: &'a str,
    expires_unix_ms: i64,
    ca_pem: &'a str,
}

pub(super) async fn enrol_code(args: EnrolCode) -> Result<(), anyhow::Error> {
    let (config, db) = open(&args.at.config).await?;
    anyhow::ensure!(args.valid_s > 0, "--valid-s 0 is not possible: a code lasts at least 1 s");
    known(&db, &args.unit).await?;
    let pki = Pki::open(&config.pki())?;
    let server = server_url(&config, args.server)?;
    // The file first: a code that nobody can read would be of no use.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(|| format!("cannot make the ticket {}", args.out.display()))?;
    let expires_unix_ms = system_clock()().saturating_add(i64::from(args.valid_s) * 1000);
    log(&db, "unit_ticket", None).await?;
    let code = Zeroizing::new(new_code(&db, &args.unit, expires_unix_ms).await?);
    let ticket = Ticket {
        server: &server,
        unit: args.unit.as_str(),
        code: &code,
        expires_unix_ms,
        ca_pem: pki.ca_pem(),
    };
    let mut text = toml::to_string(&ticket).context("cannot write the ticket as TOML")?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    text.zeroize();
    written.with_context(|| format!("cannot write the ticket {}", args.out.display()))?;
    say(&format!(
        "wrote {}: bring it to the unit and run `temoin-agent enrol` there within {} s",
        args.out.display(),
        args.valid_s
    ))
}

fn server_url(config: &Config, given: Option<String>) -> Result<String, anyhow::Error> {
    let url = match (given, &config.grpc.public_url) {
        (Some(url), _) => url,
        (None, Some(url)) => url.clone(),
        (None, None) => {
            let listen = config.grpc.listen;
            anyhow::ensure!(
                listen.port() != 0 && !listen.ip().is_unspecified(),
                "units cannot connect to {listen}: say where they can with --server https://HOST:PORT, \
                 or set `grpc.public_url` in the configuration"
            );
            format!("https://{listen}")
        }
    };
    anyhow::ensure!(
        url.starts_with("https://"),
        "`{url}` is no address of a server: https://HOST:PORT"
    );
    Ok(url)
}
