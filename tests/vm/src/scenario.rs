//! What is tried.

use anyhow::Result;

use crate::{cab, cameras, imu, power, service, signals, together, vehicle};

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
    /// Whether the machine is reset at the end, which it says before.
    pub(crate) is_reset: bool,
    /// What Debian's own first program then starts, which says how it went.
    pub(crate) target: Option<&'static str>,
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

impl Disk {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Logged(name) | Self::Log(name) => name,
        }
    }
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

const fn plain(name: &'static str, run: fn() -> Result<()>) -> Scenario {
    Scenario {
        name,
        drivers: &[],
        machine: &[],
        receiver: None,
        disk: None,
        is_reset: false,
        target: None,
        run,
    }
}

const fn camera(name: &'static str, run: fn() -> Result<()>) -> Scenario {
    Scenario { drivers: VIVID, ..plain(name, run) }
}

const fn small(
    name: &'static str,
    drivers: &'static [&'static str],
    run: fn() -> Result<()>,
) -> Scenario {
    Scenario { drivers, ..plain(name, run) }
}

const EXT4: &[&str] = &["virtio_blk", "crc32c_generic", "ext4"];
const F2FS: &[&str] = &["virtio_blk", "crc32_generic", "f2fs"];
/// With a disk in memory.
const EXT4_CUT: &[&str] = &["virtio_blk", "crc32c_generic", "ext4", "brd rd_nr=1 rd_size=98304"];
const F2FS_CUT: &[&str] = &["virtio_blk", "crc32_generic", "f2fs", "brd rd_nr=1 rd_size=98304"];

/// A disk in memory, with what can go wrong before it.
const DISK_FAULTS: &[&str] =
    &["crc32c_generic", "ext4", "brd rd_nr=1 rd_size=65536", "dm-mod", "dm-flakey"];

const fn spool(
    name: &'static str,
    drivers: &'static [&'static str],
    disk: Disk,
    run: fn() -> Result<()>,
) -> Scenario {
    Scenario { drivers, disk: Some(disk), ..plain(name, run) }
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
    small("camera-jpegs", &["v4l2loopback"], cameras::jpegs),
    small("bus-heard", BUS, signals::bus_is_heard),
    Scenario {
        drivers: &["kvaser_pci", "can-raw"],
        machine: CONTROLLERS,
        ..plain("bus-controllers", signals::controllers)
    },
    Scenario { receiver: Some(Receiver::Port), ..plain("receiver-serial", signals::receiver) },
    Scenario {
        drivers: &["xhci_pci", "ftdi_sio"],
        receiver: Some(Receiver::Usb),
        ..plain("receiver-replugged", signals::receiver_replugged)
    },
    small(
        "imu",
        &["i2c-dev", "i2c-stub chip_addr=0x68", "bmi160_i2c", "iio-trig-hrtimer"],
        imu::with_gyroscope,
    ),
    small(
        "imu-accelerometer",
        &["i2c-dev", "i2c-stub chip_addr=0x0f", "kxcjk-1013", "iio-trig-hrtimer"],
        imu::accelerometer,
    ),
    small("button", &["gpio-sim"], cab::button),
    small("lamp", &["gpio-sim"], cab::lamp),
    small("ignition", &["gpio-sim"], vehicle::ignition),
    small("supply", &["i2c-dev", "i2c-stub chip_addr=0x6f", "ltc4151"], vehicle::supply),
    small("speaker", &["snd-aloop"], cab::speaker),
    Scenario {
        drivers: &["i6300esb heartbeat=4"],
        machine: &["-device", "i6300esb"],
        is_reset: true,
        ..plain("watchdog", cab::watchdog)
    },
    Scenario {
        drivers: &[TWO_CAMERAS, "vcan", "can-raw"],
        receiver: Some(Receiver::Port),
        ..plain("all-together", together::all)
    },
    Scenario {
        drivers: &[
            "vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0",
            "i2c-dev",
            "i2c-stub chip_addr=0x68",
            "bmi160_i2c",
            "iio-trig-hrtimer",
            "gpio-sim",
            "snd-aloop",
            "vcan",
            "can-raw",
            "i6300esb heartbeat=60",
        ],
        machine: &["-device", "i6300esb"],
        receiver: Some(Receiver::Port),
        target: Some(service::TARGET),
        ..plain("service", service::prepare)
    },
    small("spool-disk-faults", DISK_FAULTS, power::disk_faults),
    spool("spool-ext4", EXT4, Disk::Logged("ext4"), power::fill_ext4),
    spool("spool-ext4-cut", EXT4_CUT, Disk::Log("ext4"), power::cut_ext4),
    spool("spool-f2fs", F2FS, Disk::Logged("f2fs"), power::fill_f2fs),
    spool("spool-f2fs-cut", F2FS_CUT, Disk::Log("f2fs"), power::cut_f2fs),
    spool("spool-unsynced", EXT4, Disk::Logged("unsynced"), power::fill_without_fsync),
    spool("spool-unsynced-cut", EXT4_CUT, Disk::Log("unsynced"), power::cut_without_fsync),
];
