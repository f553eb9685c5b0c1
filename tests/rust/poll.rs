//! The wait and its wake-up.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pytracingx::sys::poll::{PollFd, Waker, wait};

const LONG: Duration = Duration::from_secs(30);

fn watch(waker: &Waker) -> PollFd {
    PollFd { fd: waker.fd(), readable: true, writable: false, ready: false }
}

#[test]
fn wake_stands_until_drained() {
    let waker = Waker::new().unwrap();
    let mut fds = [watch(&waker)];
    wait(&mut fds, Duration::ZERO);
    assert!(!fds[0].ready);
    waker.wake();
    waker.wake();
    for _ in 0..2 {
        wait(&mut fds, LONG);
        assert!(fds[0].ready);
    }
    waker.drain();
    wait(&mut fds, Duration::ZERO);
    assert!(!fds[0].ready);
}

#[test]
fn wake_ends_a_wait_of_another_thread() {
    let waker = Arc::new(Waker::new().unwrap());
    let theirs = Arc::clone(&waker);
    let waiting = std::thread::spawn(move || {
        let mut fds = [watch(&theirs)];
        wait(&mut fds, LONG);
        fds[0].ready
    });
    waker.wake();
    assert!(waiting.join().unwrap());
}

#[test]
fn wake_never_blocks_and_drain_takes_them_all() {
    let waker = Waker::new().unwrap();
    for _ in 0..300_000 {
        waker.wake();
    }
    waker.drain();
    let mut fds = [watch(&waker)];
    wait(&mut fds, Duration::ZERO);
    assert!(!fds[0].ready);
}

#[test]
fn a_wait_lasts_its_time_rounded_up() {
    for timeout in [Duration::from_micros(1), Duration::from_micros(5_300)] {
        let before = Instant::now();
        wait(&mut [], timeout);
        assert!(before.elapsed() >= timeout);
    }
}

#[cfg(unix)]
#[test]
fn sockets_are_ready_as_asked() {
    use std::os::fd::AsRawFd;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut theirs, _) = listener.accept().unwrap();
    let ask = |readable, writable| PollFd { fd: ours.as_raw_fd(), readable, writable, ready: false };
    let mut fds = [ask(true, false), ask(false, true), ask(true, true)];
    wait(&mut fds, LONG);
    assert_eq!([false, true, true], fds.map(|fd| fd.ready));
    theirs.write_all(b"x").unwrap();
    wait(&mut fds[..1], LONG);
    assert!(fds[0].ready);
}

#[cfg(unix)]
#[test]
fn a_closed_descriptor_is_ready_instead_of_an_endless_wait() {
    let mut fds = [PollFd { fd: 1_000_000, readable: true, writable: false, ready: false }];
    wait(&mut fds, LONG);
    assert!(fds[0].ready);
}

#[cfg(target_os = "linux")]
#[test]
fn a_wake_up_is_non_blocking_and_not_inherited() {
    assert_quiet(Waker::new().unwrap().fd());
}

/// Non-blocking and close-on-exec, as the kernel sees it.
#[cfg(target_os = "linux")]
pub(crate) fn assert_quiet(fd: pytracingx::sys::Fd) {
    const O_NONBLOCK: u32 = 0o4000;
    const O_CLOEXEC: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
    assert_eq!(O_NONBLOCK | O_CLOEXEC, flags & (O_NONBLOCK | O_CLOEXEC), "{info}");
}
