//! A vehicle's bus, live, by Linux SocketCAN.
//!
//! The installer sets the interface up: `ip link set can0 up type can bitrate 500000
//! listen-only on`. The controller then gives no acknowledgement either; where a model polls by
//! OBD-II, `listen-only on` is left out.
//!
//! INVARIANT: a [`Listener`] has no way to send: its socket is private, and nothing here writes to
//! it. Sending is [`Asker`], which exists only for a vehicle model whose file enables OBD-II, and
//! sends what [`Asking`] says and nothing else.
//! INVARIANT: the kernel hands over only the identifiers that the model needs.
//! INVARIANT: times are those at which the kernel received the frames, and never fall.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use socketcan::{
    CanAnyFrame, CanDataFrame, CanFdSocket, CanFilter, CanSocket, EmbeddedFrame, Frame, Socket,
    SocketOptions,
};
use temoin_proto::{samples::Signal, time::MonoTime};

use crate::{
    can_frame::{CanFrame, EXTENDED},
    clock::SystemClock,
    device::{Clock, SignalError, SignalSource},
    obd::{Asking, ObdConfig, Vin},
    pace::StopToken,
    vehicle::{VehicleDecoder, VehicleModel},
};

/// How often a waiting source looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Set in an identifier's mask: both kinds of identifier, and remote frames, are told apart.
const KIND: u32 = EXTENDED | 1 << 30;

/// What hands out frames with the time at which they were received.
pub trait Receive: Send {
    /// Waits up to `wait` for the next data frame.
    ///
    /// # Errors
    /// Where the interface is gone or down.
    fn receive(&mut self, wait: Duration) -> io::Result<Option<(CanFrame, MonoTime)>>;
}

/// What sends requests by OBD-II.
pub trait Transmit: Send {
    /// Sends one frame.
    ///
    /// # Errors
    /// Where the interface takes none.
    fn transmit(&mut self, frame: &CanFrame) -> io::Result<()>;
}

/// A socket that only hears.
#[derive(Debug)]
pub struct Listener {
    socket: CanFdSocket,
}

impl Listener {
    /// Hears the frames on `interface` with one of `ids`, and the answers to OBD-II.
    ///
    /// # Errors
    /// Where there is no such interface, or the kernel has no SocketCAN.
    pub fn open(interface: &str, ids: &[u32], obd: Option<ObdConfig>) -> io::Result<Self> {
        let socket = CanFdSocket::open(interface)?;
        let filters: Vec<CanFilter> =
            filters(ids, obd).into_iter().map(|(id, mask)| CanFilter::new(id, mask)).collect();
        socket.set_filters(&filters)?;
        socket.set_recv_timestamp(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }
}

/// Which identifiers are let through: `(id, mask)`.
fn filters(ids: &[u32], obd: Option<ObdConfig>) -> Vec<(u32, u32)> {
    let one = |id: &u32| (*id, KIND | if id & EXTENDED == 0 { 0x7ff } else { 0x1fff_ffff });
    let answers = obd.map(Asking::answers).map(|(id, mask)| (id, mask | KIND));
    ids.iter().map(one).chain(answers).collect()
}

/// The same frame in the project's own form; nothing where it carries no data.
fn data_frame(frame: &CanAnyFrame) -> Option<CanFrame> {
    match frame {
        CanAnyFrame::Normal(f) => Some(CanFrame::new(f.id_word(), f.data())),
        CanAnyFrame::Fd(f) => Some(CanFrame::new(f.id_word(), f.data())),
        CanAnyFrame::Remote(_) | CanAnyFrame::Error(_) => None,
    }
}

impl Receive for Listener {
    fn receive(&mut self, wait: Duration) -> io::Result<Option<(CanFrame, MonoTime)>> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let wait = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        match self.socket.read_frame_with_timestamps() {
            Ok((frame, stamps)) => {
                let stamp = stamps.socket.unwrap_or_else(SystemTime::now);
                let at = SystemClock::from_kernel_realtime(stamp);
                Ok(data_frame(&frame).map(|frame| (frame, at)))
            }
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

/// A socket that only sends. There is none without an [`ObdConfig`].
#[derive(Debug)]
pub struct Asker {
    socket: CanSocket,
}

impl Asker {
    /// Opens `interface` for a model that allows it.
    ///
    /// # Errors
    /// As [`Listener::open`].
    pub fn open(interface: &str, _allowed_by: ObdConfig) -> io::Result<Self> {
        let socket = CanSocket::open(interface)?;
        socket.set_filter_drop_all()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }
}

impl Transmit for Asker {
    fn transmit(&mut self, frame: &CanFrame) -> io::Result<()> {
        let number = frame.id & 0x1fff_ffff;
        let frame = CanDataFrame::from_raw_id(number, &frame.data)
            .ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
        self.socket.write_frame(&frame)
    }
}

/// A vehicle's bus as a source of samples.
pub struct VehicleBus {
    name: PathBuf,
    receive: Box<dyn Receive>,
    asking: Option<(Asking, Box<dyn Transmit>)>,
    decoder: VehicleDecoder,
    waiting: VecDeque<Signal>,
    last: MonoTime,
    stop: StopToken,
    clock: Arc<dyn Clock>,
    ended: bool,
}

impl VehicleBus {
    /// Hears `interface` (`can0`), and asks by OBD-II where the model allows it.
    ///
    /// # Errors
    /// Where the interface cannot be opened.
    pub fn open(
        interface: &str,
        model: VehicleModel,
        stop: StopToken,
    ) -> Result<Self, SignalError> {
        let failed = |source: io::Error| SignalError::Open {
            path: PathBuf::from(interface),
            source: explained(source),
        };
        let listener = Listener::open(interface, &model.ids(), model.obd()).map_err(failed)?;
        let asker: Option<Box<dyn Transmit>> = match model.obd() {
            Some(config) => Some(Box::new(Asker::open(interface, config).map_err(failed)?)),
            None => None,
        };
        Ok(Self::over(interface, Box::new(listener), asker, model, stop, Arc::new(SystemClock)))
    }

    /// The same over other sockets. Without the model's leave nothing is sent to `transmit`.
    pub fn over(
        name: &str,
        receive: Box<dyn Receive>,
        transmit: Option<Box<dyn Transmit>>,
        model: VehicleModel,
        stop: StopToken,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let allowed = model.obd().zip(transmit);
        Self {
            name: PathBuf::from(name),
            receive,
            asking: allowed.map(|(config, to)| (Asking::new(config, clock.now()), to)),
            decoder: VehicleDecoder::new(model),
            waiting: VecDeque::new(),
            last: MonoTime::ZERO,
            stop,
            clock,
            ended: false,
        }
    }

    /// The vehicle's identification number, once it was asked for and told.
    pub fn vin(&self) -> Option<&Vin> {
        self.asking.as_ref()?.0.vin()
    }

    /// Sends what is due, and says how long there is nothing more to send.
    fn ask(&mut self) -> Duration {
        let Some((asking, to)) = &mut self.asking else { return LOOK };
        let now = self.clock.now();
        if let Some(request) = asking.poll(now) {
            send(to.as_mut(), &request);
        }
        asking.next_deadline().map_or(LOOK, |d| d.since(now).clamp(Duration::from_millis(1), LOOK))
    }
}

/// A request that cannot be sent is as one that is not answered.
fn send(to: &mut dyn Transmit, frame: &CanFrame) {
    if let Err(e) = to.transmit(frame) {
        tracing::debug!(error = %e, "a request by OBD-II was not sent");
    }
}

/// What the system's shortest answers mean here.
fn explained(e: io::Error) -> io::Error {
    let what = match e.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AFNOSUPPORT) => "the kernel has no SocketCAN: load `can_raw`",
        Some(Errno::NODEV) => "there is no such CAN interface: see `ip link`",
        Some(_) | None => return e,
    };
    io::Error::new(e.kind(), format!("{what} ({e})"))
}

impl SignalSource for VehicleBus {
    fn next_signal(&mut self) -> Result<Option<Signal>, SignalError> {
        while !self.ended {
            if let Some(signal) = self.waiting.pop_front() {
                return Ok(Some(signal));
            }
            if self.stop.is_stopped() {
                break;
            }
            let wait = self.ask();
            let (frame, at) = match self.receive.receive(wait) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(e) => {
                    self.ended = true;
                    let path = self.name.clone();
                    return Err(match e.raw_os_error().map(Errno::from_raw_os_error) {
                        Some(Errno::NODEV | Errno::NXIO | Errno::NETDOWN) => {
                            SignalError::Unplugged { path }
                        }
                        Some(_) | None => SignalError::Read { path, source: e },
                    });
                }
            };
            self.last = self.last.max(at);
            self.decoder.decode(&frame, self.last, &mut self.waiting);
            if let Some((asking, to)) = &mut self.asking
                && let Some(answer) = asking.on_frame(self.last, &frame, &mut self.waiting)
            {
                send(to.as_mut(), &answer);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
