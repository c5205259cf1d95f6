//! From frames to samples.
//!
//! Speed and wheels come as often as the bus has them. A control comes when it changes and, while
//! its frames go on, again every [`REPEAT`], so that whoever counts seconds knows that it still
//! holds; engine speed at most every [`RPM_EVERY`].
//!
//! INVARIANT: numbers that no road vehicle reaches are dropped and counted, never clamped.

use std::{collections::VecDeque, time::Duration};

use temoin_proto::{
    samples::{ControlSample, ControlState, Signal, TurnSignal, VehicleSpeed, WheelSpeeds},
    time::MonoTime,
};

use super::{Brake, Quantity, States, Turn, VehicleModel};
use crate::can_frame::CanFrame;

/// How often a control that does not change is told again. Own choice: well below the second
/// that detectors count in.
const REPEAT: Duration = Duration::from_millis(500);
/// The shortest time between two engine speeds. Own choice: idling is counted in seconds.
const RPM_EVERY: Duration = Duration::from_millis(100);
/// Wheels that are older than this do not belong with the newest. Own choice: ten times the
/// period at which wheel speeds are usually sent.
const WHEELS_TOGETHER: Duration = Duration::from_millis(200);
/// Own choice: above every road vehicle, below the 'not available' of the usual 16 bits of
/// 1/100 km/h, which is 182 m/s.
const MAX_SPEED_MPS: f64 = 120.0;
/// Own choice: above every engine of a road vehicle.
const MAX_RPM: f64 = 20_000.0;

/// Turns the frames of one bus into samples.
#[derive(Clone, Debug)]
pub struct VehicleDecoder {
    model: VehicleModel,
    wheels: [Option<(MonoTime, f64)>; 4],
    /// Brake, gear, turn signal, belt, engine: what was told last, and when.
    told: [Option<(ControlState, MonoTime)>; 5],
    dropped: u64,
}

impl VehicleDecoder {
    /// A decoder that has seen nothing.
    pub fn new(model: VehicleModel) -> Self {
        Self { model, wheels: [None; 4], told: [None; 5], dropped: 0 }
    }

    /// The model.
    pub fn model(&self) -> &VehicleModel {
        &self.model
    }

    /// How many numbers were dropped because no road vehicle reaches them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a frame that was received `at`, and adds what it says to `out`. True where it
    /// carries one of the model's signals, even one that says nothing new.
    pub fn decode(&mut self, frame: &CanFrame, at: MonoTime, out: &mut VecDeque<Signal>) -> bool {
        let mut carried = false;
        if let Some(mps) = self.model.speed.as_ref().and_then(|q| q.read(frame)) {
            carried = true;
            if mps.abs() <= MAX_SPEED_MPS {
                // Backwards is a speed too.
                out.push_back(Signal::Speed(VehicleSpeed { at, mps: mps.abs() }));
            } else {
                self.dropped += 1;
            }
        }
        carried |= self.wheels(frame, at, out);
        if let Some(rpm) = self.model.engine.as_ref().and_then(|q| q.read(frame)) {
            carried = true;
            if (0.0..=MAX_RPM).contains(&rpm) {
                self.tell(4, ControlState::EngineRpm(rpm), at, out);
            } else {
                self.dropped += 1;
            }
        }
        carried | self.controls(frame, at, out)
    }

    fn wheels(&mut self, frame: &CanFrame, at: MonoTime, out: &mut VecDeque<Signal>) -> bool {
        let Some(model) = &self.model.wheels else { return false };
        let mut carried = false;
        for (wheel, quantity) in self.wheels.iter_mut().zip(model) {
            let Some(mps) = quantity.read(frame) else { continue };
            carried = true;
            *wheel = (mps.abs() <= MAX_SPEED_MPS).then_some((at, mps.abs()));
            self.dropped += u64::from(wheel.is_none());
        }
        if let [Some(a), Some(b), Some(c), Some(d)] = self.wheels
            && carried
            && [a, b, c, d].iter().all(|(then, _)| at.since(*then) <= WHEELS_TOGETHER)
        {
            out.push_back(Signal::Wheels(WheelSpeeds { at, mps: [a.1, b.1, c.1, d.1] }));
            // Each is told once: wheels in several messages give one sample a round.
            self.wheels = [None; 4];
        }
        carried
    }

    fn controls(&mut self, frame: &CanFrame, at: MonoTime, out: &mut VecDeque<Signal>) -> bool {
        let m = &self.model;
        let brake = m.brake.as_ref().and_then(|b| match b {
            Brake::Switch(states) => states.read(frame),
            Brake::Pedal(layout, above) => layout.physical(frame).map(|v| Some(v > *above)),
        });
        let gear = m.gear.as_ref().and_then(|s| s.read(frame));
        let turn = m.turn.as_ref().and_then(|t| match t {
            Turn::States(states) => states.read(frame),
            Turn::Lamps { left, right } => match (left.raw(frame), right.raw(frame)) {
                (Some(0), Some(0)) => Some(Some(TurnSignal::Off)),
                (Some(1), Some(0)) => Some(Some(TurnSignal::Left)),
                (Some(0), Some(1)) => Some(Some(TurnSignal::Right)),
                (Some(1), Some(1)) => Some(Some(TurnSignal::Both)),
                (None, None) => None,
                // One lamp of two, or a value that is neither on nor off.
                _ => Some(None),
            },
        });
        let belt = m.belt.as_ref().and_then(|s| s.read(frame));
        let states = [
            brake.map(|s| s.map(ControlState::BrakePressed)),
            gear.map(|s| s.map(ControlState::Gear)),
            turn.map(|s| s.map(ControlState::TurnSignal)),
            belt.map(|s| s.map(ControlState::BeltFastened)),
        ];
        let mut carried = false;
        for (index, state) in states.into_iter().enumerate() {
            carried |= state.is_some();
            if let Some(Some(state)) = state {
                self.tell(index, state, at, out);
            }
        }
        carried
    }

    fn tell(
        &mut self,
        index: usize,
        state: ControlState,
        at: MonoTime,
        out: &mut VecDeque<Signal>,
    ) {
        let Some(told) = self.told.get_mut(index) else { return };
        let due = match (*told, state) {
            (None, _) => true,
            (Some((_, then)), ControlState::EngineRpm(_)) => at.since(then) >= RPM_EVERY,
            (Some((before, then)), _) => before != state || at.since(then) >= REPEAT,
        };
        if due {
            *told = Some((state, at));
            out.push_back(Signal::Control(ControlSample { at, state }));
        }
    }
}

impl Quantity {
    fn read(&self, frame: &CanFrame) -> Option<f64> {
        Some(self.layout.physical(frame)? * self.to_ours).filter(|v| v.is_finite())
    }
}

impl<T: Copy> States<T> {
    /// None: the frame does not carry it. Some(None): it has a value that nobody named.
    fn read(&self, frame: &CanFrame) -> Option<Option<T>> {
        let raw = self.layout.raw(frame)?;
        Some(self.values.iter().find(|(v, _)| *v == raw).map(|(_, state)| *state))
    }
}
