//! A relay between a unit and its server that counts what passes, and can cut the line.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::Notify,
};

/// The relay. It ends when dropped with its runtime.
pub struct WireTap {
    /// Where the unit connects to.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    up: AtomicU64,
    cut: AtomicBool,
    changed: Notify,
}

impl WireTap {
    /// Relays to `server` from a port that the system chooses.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            up: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let relay = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((unit, _)) = listener.accept().await {
                if relay.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let server = *relay.server.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (from_unit, to_unit) = unit.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pump(from_unit, to_server, Arc::clone(&relay), true));
                tokio::spawn(pump(from_server, to_unit, Arc::clone(&relay), false));
            }
        });
        Ok(Self { address, shared })
    }

    /// Bytes that the unit has sent.
    pub fn sent_by_unit(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    /// Cuts the line: open connections end, new ones are refused, until [`Self::mend`].
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.changed.notify_waiters();
    }

    /// From now on relays to another address: the server was started again.
    pub fn redirect(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

async fn pump(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    shared: Arc<Shared>,
    up: bool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = shared.changed.notified() => return,
        };
        let Ok(len @ 1..) = read else { return };
        if up {
            shared.up.fetch_add(len as u64, Ordering::SeqCst);
        }
        let Some(bytes) = buffer.get(..len) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
