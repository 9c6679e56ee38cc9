//! What the system's service manager hears of us: that we are ready, alive, stopping (sd_notify(3), systemd.service(5)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells the manager, if there is one.
pub(crate) fn tell(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").and_then(|path| path.into_string().ok()) else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager does not hear");
    }
}

/// What a service says that reads its configuration anew: since when, too, so that the manager knows which `READY=1` is the end of it.
pub(crate) fn reloading() -> String {
    let mut since = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to what it is given, and nowhere else.
    #[expect(unsafe_code, reason = "the manager's own clock, which the standard library does not show")]
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut since)
    };
    format!("RELOADING=1\nMONOTONIC_USEC={}", since.tv_sec * 1_000_000 + since.tv_nsec / 1000)
}

/// When the manager wants to hear that we are alive: twice in the time after which it would take us for dead.
pub(crate) struct Watchdog(Option<Duration>);

pub(crate) fn watchdog() -> Watchdog {
    let micros = std::env::var_os("WATCHDOG_USEC").and_then(|micros| micros.to_str()?.parse().ok());
    Watchdog(micros.map(|micros: u64| Duration::from_micros(micros / 2)))
}

impl Watchdog {
    pub(crate) async fn wait(&mut self) {
        match self.0 {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    }
}
