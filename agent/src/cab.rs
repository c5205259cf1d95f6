//! What speaks to the people in the cab: the lamp and the speaker of a live unit.

use std::{io, sync::Arc};

use temoin_hw::{Lamp, Speaker, device::Logged, lamp_gpio::GpioLamp, speaker_alsa::AlsaSpeaker};

use crate::{
    config::{DeviceConfig, SpeakerConfig},
    health::{HealthBoard, State},
    net::chain,
};

/// The lamp; where none is configured, one that only the log knows.
///
/// # Errors
/// Where its thread cannot be started.
pub fn lamp(devices: &DeviceConfig, health: &Arc<HealthBoard>) -> io::Result<Box<dyn Lamp>> {
    let Some(line) = devices.lamp.clone() else {
        health.set(
            "lamp",
            State::Degraded,
            "no device is configured: nobody in the cab sees whether pictures are kept",
        );
        return Ok(Box::new(Logged::default()));
    };
    let health = Arc::clone(health);
    Ok(Box::new(GpioLamp::start(line, move |said| match said {
        Ok(()) => health.set("lamp", State::Ok, "the lamp is connected"),
        Err(e) => health.set("lamp", State::Failed, chain(e)),
    })?))
}

/// The speaker; where none is configured, one that only the log knows.
///
/// # Errors
/// Where its thread cannot be started.
pub fn speaker(devices: &DeviceConfig, health: &Arc<HealthBoard>) -> io::Result<Box<dyn Speaker>> {
    let Some(speaker) = devices.speaker.as_ref().map(SpeakerConfig::wish) else {
        health.set(
            "speaker",
            State::Degraded,
            "no device is configured: the driver hears no alert",
        );
        return Ok(Box::new(Logged::default()));
    };
    let health = Arc::clone(health);
    Ok(Box::new(AlsaSpeaker::start(&speaker, move |said| match said {
        Ok(()) => health.set("speaker", State::Ok, "the speaker is connected"),
        Err(e) => health.set("speaker", State::Failed, chain(e)),
    })?))
}
