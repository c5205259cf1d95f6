//! What is tried.

use anyhow::Result;

use crate::{cameras, power, signals, together};

/// One machine's test.
pub(crate) struct Scenario {
    /// Its name, without spaces: the kernel passes it on.
    pub(crate) name: &'static str,
    /// Drivers that are loaded first, with their parameters.
    pub(crate) drivers: &'static [&'static str],
    /// More devices of the machine, as arguments of QEMU.
    pub(crate) machine: &'static [&'static str],
    /// Where the receiver is.
    pub(crate) receiver: Option<Receiver>,
    /// The disk that it has.
    pub(crate) disk: Option<Disk>,
    /// The test, inside of the machine.
    pub(crate) run: fn() -> Result<()>,
}

/// A disk of a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// An empty one, all writes to which are logged under this name.
    Logged(&'static str),
    /// The log of this name, to read.
    Log(&'static str),
}

/// Where a receiver speaks on the machine, [`signals::sentences`] from the begin on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// On the second serial port.
    Port,
    /// On a USB adapter.
    Usb,
}

/// One camera that gives 640x360 and has controls for faults.
const VIVID: &[&str] = &["vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0"];
/// Two cameras.
const TWO_CAMERAS: &str = "vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x0";
const BUS: &[&str] = &["vcan", "can-raw"];
/// Two controllers on one bus, between which frames really travel.
const CONTROLLERS: &[&str] = &[
    "-object",
    "can-bus,id=bus",
    "-device",
    "kvaser_pci,canbus=bus",
    "-device",
    "kvaser_pci,canbus=bus",
];

const fn camera(name: &'static str, run: fn() -> Result<()>) -> Scenario {
    Scenario { name, drivers: VIVID, machine: &[], receiver: None, disk: None, run }
}

const EXT4: &[&str] = &["virtio_blk", "crc32c_generic", "ext4"];
const F2FS: &[&str] = &["virtio_blk", "crc32_generic", "f2fs"];
/// With a disk in memory.
const EXT4_CUT: &[&str] = &["virtio_blk", "crc32c_generic", "ext4", "brd rd_nr=1 rd_size=98304"];
const F2FS_CUT: &[&str] = &["virtio_blk", "crc32_generic", "f2fs", "brd rd_nr=1 rd_size=98304"];

const fn spool(
    name: &'static str,
    drivers: &'static [&'static str],
    disk: Disk,
    run: fn() -> Result<()>,
) -> Scenario {
    Scenario { name, drivers, machine: &[], receiver: None, disk: Some(disk), run }
}

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    camera("camera-gives-pictures", cameras::gives_pictures),
    Scenario { drivers: &[TWO_CAMERAS], ..camera("cameras-together", cameras::two_together) },
    camera("camera-replugged", cameras::unplugged),
    camera("camera-disconnected", cameras::disconnected),
    camera("camera-fails-streaming", cameras::fails),
    camera("camera-damaged-picture", cameras::damaged),
    camera("camera-drops-half", cameras::drops_half),
    camera("camera-stalls", cameras::stalls),
    camera("camera-refuses-start", cameras::refuses),
    Scenario {
        name: "bus-heard",
        drivers: BUS,
        machine: &[],
        receiver: None,
        disk: None,
        run: signals::bus_is_heard,
    },
    Scenario {
        name: "bus-controllers",
        drivers: &["kvaser_pci", "can-raw"],
        machine: CONTROLLERS,
        receiver: None,
        disk: None,
        run: signals::controllers,
    },
    Scenario {
        name: "receiver-serial",
        drivers: &[],
        machine: &[],
        receiver: Some(Receiver::Port),
        disk: None,
        run: signals::receiver,
    },
    Scenario {
        name: "receiver-replugged",
        drivers: &["xhci_pci", "ftdi_sio"],
        machine: &[],
        receiver: Some(Receiver::Usb),
        disk: None,
        run: signals::receiver_replugged,
    },
    Scenario {
        name: "all-together",
        drivers: &[TWO_CAMERAS, "vcan", "can-raw"],
        machine: &[],
        receiver: Some(Receiver::Port),
        disk: None,
        run: together::all,
    },
    spool("spool-ext4", EXT4, Disk::Logged("ext4"), power::fill_ext4),
    spool("spool-ext4-cut", EXT4_CUT, Disk::Log("ext4"), power::cut_ext4),
    spool("spool-f2fs", F2FS, Disk::Logged("f2fs"), power::fill_f2fs),
    spool("spool-f2fs-cut", F2FS_CUT, Disk::Log("f2fs"), power::cut_f2fs),
    spool("spool-unsynced", EXT4, Disk::Logged("unsynced"), power::fill_without_fsync),
    spool("spool-unsynced-cut", EXT4_CUT, Disk::Log("unsynced"), power::cut_without_fsync),
];
