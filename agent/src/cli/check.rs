//! `temoin-agent check`

use std::{fs, io::Write as _, path::Path};

use anyhow::{Result, bail};
use temoin_hw::vehicle::VehicleModel;

use super::ConfigArg;
use crate::{
    config::Config,
    health::State,
    identity::Identity,
    model_pack,
    perception::{self, swap},
};

/// Say what is there, what is wrong and what to do. Changes nothing (where TensorRT runs the
/// models, its engines are built and kept, as a start would).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let mut findings = Findings::default();
        match Config::load(&self.config.config) {
            Ok(config) => look(&config, &mut findings),
            Err(e) => findings.say(State::Failed, "configuration", &e.to_string()),
        }
        let mut out = std::io::stdout();
        for (state, part, text) in &findings.0 {
            let mark = match state {
                State::Ok => "ok      ",
                State::Degraded => "missing ",
                State::Failed => "WRONG   ",
            };
            writeln!(out, "{mark}{part}: {text}")?;
        }
        let wrong = findings.0.iter().filter(|(s, ..)| *s == State::Failed).count();
        if wrong > 0 {
            bail!("{wrong} things must be put right before this unit can drive");
        }
        Ok(())
    }
}

#[derive(Default)]
struct Findings(Vec<(State, String, String)>);

impl Findings {
    fn say(&mut self, state: State, part: &str, text: &str) {
        self.0.push((state, part.to_owned(), text.to_owned()));
    }
}

fn look(config: &Config, findings: &mut Findings) {
    findings.say(State::Ok, "configuration", "readable, every value is possible");
    match Identity::load(&config.data_dir) {
        Ok(identity) => {
            let fleet = identity.fleet();
            findings.say(State::Ok, "identity", &format!("{} of {}", fleet.unit, fleet.server));
        }
        Err(e) => findings.say(State::Failed, "identity", &e.to_string()),
    }
    match config.encoder().map(|e| e.kind.available()) {
        Ok(Ok(())) => findings.say(State::Ok, "encoder", &config.video.encoder),
        Ok(Err(e)) => findings.say(State::Failed, "encoder", &e.to_string()),
        Err(e) => findings.say(State::Failed, "encoder", &e),
    }
    let options = config.perception();
    let (state, text) = model_pack::describe(&options.models);
    findings.say(state, perception::MODELS, &text);
    // What runs the models is known once they have run.
    let mut statements = perception::open(&options).health();
    statements.insert(0, swap::provider_health(&options));
    for statement in statements {
        findings.say(statement.state, statement.part, &statement.text);
    }
    let d = &config.devices;
    for (part, path) in [("camera.cabin", &d.cabin_camera), ("camera.road", &d.road_camera)] {
        match path {
            None => findings.say(State::Degraded, part, "no device is configured"),
            Some(path) => device(part, path, findings),
        }
    }
    match (&d.gnss, &d.gpsd) {
        (Some(path), _) => device("gnss", path, findings),
        (None, Some(address)) => findings.say(State::Ok, "gnss", &format!("gpsd at `{address}`")),
        (None, None) => findings.say(State::Degraded, "gnss", "no device is configured"),
    }
    if let Some(can) = &d.can {
        device("vehicle_bus", &Path::new("/sys/class/net").join(&can.interface), findings);
        match VehicleModel::load(&can.vehicle, can.dbc.as_deref()) {
            Ok(model) => {
                let sends = if model.obd().is_some() { "asked by OBD-II" } else { "only heard" };
                findings.say(State::Ok, "vehicle", &format!("{}: {sends}", model.name()));
            }
            Err(e) => findings.say(State::Failed, "vehicle", &e.to_string()),
        }
    }
}

fn device(part: &str, path: &Path, findings: &mut Findings) {
    match fs::metadata(path) {
        Ok(_) => findings.say(State::Ok, part, &format!("`{}` is there", path.display())),
        Err(e) => findings.say(
            State::Failed,
            part,
            &format!("`{}`: {e}. Check the cable and the `devices` table", path.display()),
        ),
    }
}
