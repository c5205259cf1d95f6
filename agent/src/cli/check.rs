//! `temoin-agent check`

use std::{fs, io::Write as _, path::Path};

use anyhow::{Result, bail};
use temoin_hw::{
    camera_gst::GstCamera, imu_iio::ImuIio, speaker_alsa::AlsaSpeaker, supply::Supply, thermal,
    vehicle::VehicleModel, watchdog::Watchdog,
};

use super::ConfigArg;
use crate::{
    config::{CameraConfig, Config, PipelineConfig},
    encoders,
    health::State,
    identity::Identity,
    model_pack,
    net::chain,
    perception::{self, swap},
};

/// Say what is there, what is wrong and what to do. Changes nothing (where TensorRT runs the
/// models, its engines are built and kept, as a start would).
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// For machines: a JSON array of objects with `part`, `state` (`ok`, `degraded`, `failed`) and `text`
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<()> {
        let mut findings = Findings::default();
        match Config::load(&self.config.config) {
            Ok(config) => look(&config, &mut findings),
            Err(e) => findings.say(State::Failed, "configuration", &e.to_string()),
        }
        let mut out = std::io::stdout();
        if self.json {
            let all: Vec<_> = findings.0.iter().map(json).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        for (state, part, text) in findings.0.iter().filter(|_| !self.json) {
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

fn json((state, part, text): &(State, String, String)) -> serde_json::Value {
    serde_json::json!({ "part": part, "state": state.as_str(), "text": text })
}

#[derive(Default)]
struct Findings(Vec<(State, String, String)>);

impl Findings {
    fn say(&mut self, state: State, part: &str, text: &str) {
        self.0.push((state, part.to_owned(), text.to_owned()));
    }

    /// What a device says of itself, or why it cannot be used.
    fn told(&mut self, part: &str, told: Result<String, impl std::error::Error>) {
        match told {
            Ok(text) => self.say(State::Ok, part, &text),
            Err(e) => self.say(State::Failed, part, &chain(&e)),
        }
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
    match config.encoder().and_then(|encoder| Ok((encoder, config.encoder_kinds()?))) {
        Ok((encoder, wanted)) => {
            let choice = encoders::choose(&encoder, &wanted);
            findings.say(choice.state, "encoder", &choice.text);
        }
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
    for (part, camera) in [("camera.cabin", &d.cabin_camera), ("camera.road", &d.road_camera)] {
        match camera {
            None => findings.say(State::Degraded, part, "no device is configured"),
            Some(CameraConfig::Node(path)) => device(part, path, findings),
            Some(CameraConfig::Pipeline(PipelineConfig { gstreamer })) => {
                let made = GstCamera::check(gstreamer);
                findings
                    .told(part, made.map(|()| format!("the pipeline `{gstreamer}` can be made")));
            }
        }
    }
    match (&d.gnss, &d.gpsd) {
        (Some(path), _) => device("gnss", path, findings),
        (None, Some(address)) => findings.say(State::Ok, "gnss", &format!("gpsd at `{address}`")),
        (None, None) => findings.say(State::Degraded, "gnss", "no device is configured"),
    }
    match &d.imu {
        Some(imu) => findings.told("imu", ImuIio::describe(&imu.wish())),
        None => findings.say(State::Degraded, "imu", "no device is configured"),
    }
    for (part, line) in [
        ("button", &d.button),
        ("privacy_button", &d.privacy_button),
        ("lamp", &d.lamp),
        ("ignition", &d.ignition),
    ] {
        match line {
            Some(line) => findings.told(part, line.describe()),
            None => findings.say(State::Degraded, part, "no device is configured"),
        }
    }
    match d.supply.as_ref().map(|supply| Supply::open(supply).and_then(|s| s.volts())) {
        Some(volts) => findings.told("supply", volts.map(|volts| format!("{volts:.1} V"))),
        None => findings.say(State::Degraded, "supply", "no device is configured"),
    }
    match thermal::hottest() {
        Some(hottest) => {
            let text = format!("`{}` is at {:.0} °C", hottest.zone, hottest.celsius);
            findings.say(State::Ok, "heat", &text);
        }
        None => {
            findings.say(State::Degraded, "heat", "no thermal zone says how hot the machine is")
        }
    }
    match d.speaker.as_ref().map(|speaker| AlsaSpeaker::mistakes(&speaker.wish())) {
        None => findings.say(State::Degraded, "speaker", "no device is configured"),
        Some(mistakes) if mistakes.is_empty() => {
            findings.say(State::Ok, "speaker", "it can be opened, and its sounds can be played");
        }
        Some(mistakes) => {
            for mistake in mistakes {
                findings.say(State::Failed, "speaker", &chain(&mistake));
            }
        }
    }
    match &d.watchdog {
        Some(path) => findings.told("watchdog", Watchdog::describe(path)),
        None => findings.say(State::Degraded, "watchdog", "no device is configured"),
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
