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
