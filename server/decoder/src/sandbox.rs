//! What the process can still do once it looks at the file: compute, take memory up to a limit, start
//! threads, read what is open and write to what is open. It can open no file, make no connection,
//! start no program and signal nobody: each of these calls fails as if it were forbidden.
//!
//! INVARIANT: a list of what is allowed, not of what is forbidden: what a future kernel adds is
//! forbidden too.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads};

/// Memory, bytes: pictures of 8192x4320 in a dozen buffers, and the libraries.
const MEMORY: u64 = 4 << 30;
/// Processor time, seconds. A minute of 8K takes about 100 on one slow core (own choice).
const PROCESSOR_S: u64 = 300;
/// Files that may be open: what is, and the pipes between threads.
const OPEN_FILES: u64 = 256;

/// System calls that decoding needs, the same on x86-64 and arm64.
const ALLOWED: [i64; 58] = [
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_pread64,
    libc::SYS_pselect6,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // Two ends within the process, by which GStreamer wakes its threads; no address can be named.
    libc::SYS_socketpair,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls that x86-64 has beside them.
#[cfg(target_arch = "x86_64")]
const ALSO: [i64; 5] =
    [libc::SYS_arch_prctl, libc::SYS_epoll_wait, libc::SYS_pipe, libc::SYS_poll, libc::SYS_select];
#[cfg(not(target_arch = "x86_64"))]
const ALSO: [i64; 0] = [];

/// Gives up everything else, for all threads and for good.
pub(crate) fn enter() -> anyhow::Result<()> {
    for (resource, most) in [
        (Resource::As, MEMORY),
        (Resource::Cpu, PROCESSOR_S),
        (Resource::Nofile, OPEN_FILES),
        // No crash leaves pictures in a core dump.
        (Resource::Core, 0),
    ] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).with_context(|| format!("cannot limit {resource:?}"))?;
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let rules: BTreeMap<i64, Vec<_>> =
        ALLOWED.iter().chain(&ALSO).map(|call| (*call, Vec::new())).collect();
    let forbidden = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, forbidden, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter_all_threads(&program).context("the kernel takes no filter of system calls")
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write as _,
        net::{TcpStream, UdpSocket},
        os::unix::net::UnixStream,
        process::{Command, Stdio},
    };

    use super::*;

    /// Runs [`inside`] in a process of its own, since nobody comes out again.
    #[test]
    fn inside_nothing_can_be_reached_and_work_goes_on() {
        let program = std::env::current_exe().unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "sandbox::tests::inside", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"given").unwrap();
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
        assert!(said.contains("all of it held"), "{said}");
    }

    #[test]
    #[ignore = "a child process of the test above"]
    fn inside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "secret").unwrap();
        enter().unwrap();
        let refused = |what: &str, done: std::io::Result<()>| {
            let error = done.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{what}: {error}");
        };
        refused("open a file", File::open(&file).map(drop));
        refused("make a file", File::create(folder.path().join("new")).map(drop));
        refused("remove a file", fs::remove_file(&file));
        refused("look into a folder", fs::read_dir(folder.path()).map(drop));
        refused("connect", TcpStream::connect(("127.0.0.1", 1)).map(drop));
        refused("send", UdpSocket::bind(("127.0.0.1", 0)).map(drop));
        refused("reach a service", UnixStream::connect("/run/temoin-keys/socket").map(drop));
        let shell = Command::new("/bin/sh").arg("-c").arg("true").status();
        assert!(shell.is_err(), "start a program");
        // What decoding needs still works.
        let given = std::io::read_to_string(std::io::stdin()).unwrap();
        let sum = std::thread::spawn(move || given.len() + vec![1_u8; 1 << 20].len());
        assert_eq!(sum.join().unwrap(), 5 + (1 << 20));
        println!("all of it held");
        // The folder cannot be removed from here.
        std::mem::forget(folder);
    }
}
