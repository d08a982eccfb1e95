//! Takes the broker's port, gives another one whose connections can be cut, delayed and swallowed.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What the wire does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Bytes pass.
    Open,
    /// Every piece of bytes waits this long.
    Slow(Duration),
    /// Connections stand and can be made, no byte passes: a firewall that forgot a flow.
    Swallowing,
    /// Every connection is closed, a new one at once too.
    Cut,
}

/// A TCP proxy on this machine; dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    wire: watch::Sender<Wire>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Stands before `target` on this machine.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn before(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (wire, watched) = watch::channel(Wire::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, watched));
        Ok(Self {
            port,
            wire,
            _tasks: tasks,
        })
    }

    /// `nats://127.0.0.1:<port>`, for the host under test.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Changes what the wire does, for connections that stand as well.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Cuts every connection that stands; new ones are let through.
    pub async fn cut(&self) {
        self.set(Wire::Cut);
        // Every pump has to have seen it before the wire opens again.
        sleep(Duration::from_millis(50)).await;
        self.set(Wire::Open);
    }
}

async fn accept(listener: TcpListener, target: u16, wire: watch::Receiver<Wire>) {
    let mut pumps = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if *wire.borrow() == Wire::Cut {
            continue;
        }
        if let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await {
            pumps.spawn(join(client, server, wire.clone()));
        }
        while pumps.try_join_next().is_some() {}
    }
}

/// Both directions of one connection; when one ends, both sockets close.
async fn join(client: TcpStream, server: TcpStream, wire: watch::Receiver<Wire>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = wire.clone();
    tokio::select! {
        _ = cut.wait_for(|wire| *wire == Wire::Cut) => {}
        () = pump(from_client, to_server, wire.clone()) => {}
        () = pump(from_server, to_client, wire) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length) = from.read(&mut piece).await {
        let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        // A swallowed piece is held, not lost: TCP would send it again after the hole.
        if wire
            .wait_for(|wire| *wire != Wire::Swallowing)
            .await
            .is_err()
        {
            return;
        }
        let wire = *wire.borrow();
        if let Wire::Slow(delay) = wire {
            sleep(delay).await;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::within;
    use anyhow::ensure;
    use tokio::time::timeout;

    async fn echo_server() -> Result<(u16, JoinSet<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                served.spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Ok((port, tasks))
    }

    #[test]
    fn cuts_slows_and_swallows() -> Result<()> {
        within(20, async {
            let (port, _server) = echo_server().await?;
            let proxy = Proxy::before(port).await?;
            let mut socket = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
            let mut back = [0; 3];

            socket.write_all(b"one").await?;
            socket.read_exact(&mut back).await?;
            ensure!(&back == b"one");

            proxy.set(Wire::Swallowing);
            socket.write_all(b"two").await?;
            ensure!(
                timeout(Duration::from_millis(200), socket.read_exact(&mut back))
                    .await
                    .is_err()
            );
            proxy.set(Wire::Slow(Duration::from_millis(5)));
            socket.read_exact(&mut back).await?;
            ensure!(&back == b"two", "what was held in the hole comes after it");

            proxy.cut().await;
            ensure!(
                matches!(socket.read(&mut back).await, Ok(0) | Err(_)),
                "the cut closes the connection"
            );

            let mut socket = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
            socket.write_all(b"new").await?;
            socket.read_exact(&mut back).await?;
            ensure!(&back == b"new", "a new connection passes");
            Ok(())
        })
    }
}
