//! Reads the log that QEMU keeps of a disk's writes (`blklogwrites`): the format of Linux's
//! `dm-log-writes` (Documentation/admin-guide/device-mapper/log-writes.rst), little-endian.
//!
//! ```text
//! sector 0      magic u64, version u64, entries u64, sector size u32
//! each entry    a sector: sector u64, sectors u64, flags u64, data length u64; then what was written
//! ```
//! How many entries there are is written late, so the log is read to its last whole entry.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FORCED: u64 = 2;
const DISCARD: u64 = 4;

/// What was done to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    /// A write that was on the disk before the machine was told that it was done.
    Forced,
    /// All writes before are on the disk.
    Flush,
    Discard,
}

/// One of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Where on the disk, bytes.
    pub(super) disk: u64,
    /// How much.
    pub(super) bytes: u64,
    /// Where in the log its bytes are.
    pub(super) log: u64,
}

impl Entry {
    /// Whether there are bytes for the disk.
    pub(super) fn is_written(&self) -> bool {
        match self.kind {
            Kind::Write | Kind::Forced => true,
            Kind::Flush | Kind::Discard => false,
        }
    }
}

/// Reads a whole log.
///
/// # Errors
/// For what is no such log.
pub(super) fn read(log: &mut (impl Read + Seek)) -> Result<Vec<Entry>> {
    let end = log.seek(SeekFrom::End(0))?;
    let number = |log: &mut dyn Read| -> Result<u64> {
        let mut bytes = [0; 8];
        log.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    };
    log.seek(SeekFrom::Start(0))?;
    let (magic, version) = (number(log)?, number(log)?);
    number(log)?;
    let size = number(log)? & u64::from(u32::MAX);
    ensure!(magic == MAGIC && version == 1 && size == SECTOR, "this is no log of writes");
    let (mut entries, mut at) = (Vec::new(), SECTOR);
    while at + SECTOR <= end {
        log.seek(SeekFrom::Start(at))?;
        let [sector, sectors, flags] = [number(log)?, number(log)?, number(log)?];
        if sectors == 0 && flags & FLUSH == 0 {
            break;
        }
        let of = |sectors: u64| sectors.checked_mul(SECTOR).context("a sector beyond all disks");
        let (disk, bytes) = (of(sector)?, of(sectors)?);
        let kind = match (flags & DISCARD != 0, sectors, flags & FORCED != 0) {
            (true, _, _) => Kind::Discard,
            (false, 0, _) => Kind::Flush,
            (false, _, true) => Kind::Forced,
            (false, _, false) => Kind::Write,
        };
        let log_at = at + SECTOR;
        let next = if kind == Kind::Discard { log_at } else { log_at.saturating_add(bytes) };
        if next > end {
            break;
        }
        entries.push(Entry { kind, disk, bytes, log: log_at });
        at = next;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn sector(numbers: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.resize(512, 0);
        bytes
    }

    #[test]
    fn a_log_is_read_to_its_last_whole_entry() {
        let mut log = sector(&[MAGIC, 1, 0, 512]);
        log.extend(sector(&[8, 1, 0, 0]));
        log.extend([7; 512]);
        log.extend(sector(&[0, 0, FLUSH, 0]));
        log.extend(sector(&[9, 4, DISCARD, 0]));
        log.extend(sector(&[16, 1, FORCED, 0]));
        log.extend([8; 512]);
        // The machine went off within this one.
        log.extend(sector(&[24, 2, 0, 0]));
        log.extend([9; 512]);
        let entries = read(&mut Cursor::new(log.clone())).unwrap();
        let seen: Vec<(Kind, u64, u64, u64)> =
            entries.iter().map(|e| (e.kind, e.disk, e.bytes, e.log)).collect();
        assert_eq!(
            seen,
            [
                (Kind::Write, 4096, 512, 1024),
                (Kind::Flush, 0, 0, 2048),
                (Kind::Discard, 4608, 2048, 2560),
                (Kind::Forced, 8192, 512, 3072),
            ]
        );
        // A file with a hole behind it ends there too.
        log.truncate(2048);
        log.resize(8192, 0);
        assert_eq!(read(&mut Cursor::new(log)).unwrap().len(), 2);
        assert!(read(&mut Cursor::new(sector(&[1, 1, 0, 512]))).is_err());
    }
}
