//! Takes a Kafka broker's port, gives another one in front of it that wants TLS and SASL, as clouds do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::tls::Identity;

/// The name that it takes with the password.
pub const USERNAME: &str = "$ConnectionString";
/// The password that it takes.
pub const PASSWORD: &str = "Endpoint=sb://tests/;SharedAccessKey=a+b/c=";
/// What the tokens that it takes begin with.
pub const TOKEN: &str = "token-";

const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
const FAILED: i16 = 58;

/// Who came, and how.
#[derive(Debug, Default)]
struct Seen {
    passwords: AtomicUsize,
    tokens: AtomicUsize,
    refused: AtomicUsize,
}

/// A port that asks who it is.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub port: u16,
    seen: Arc<Seen>,
    #[expect(dead_code, reason = "kept for as long as it is to serve")]
    serving: JoinSet<()>,
}

impl Front {
    /// Listens with this certificate, in front of this port.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(identity: &Identity, behind: u16) -> Result<Self> {
        let acceptor = identity.acceptor()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    let served = async {
                        let mut client = acceptor.accept(stream).await?;
                        let mut broker = TcpStream::connect(("127.0.0.1", behind)).await?;
                        admitted(&mut client, &mut broker, &seen).await?;
                        copy_bidirectional(&mut client, &mut broker).await?;
                        anyhow::Ok(())
                    };
                    // A client that is refused, or goes, is what the test wants.
                    let _ = served.await;
                });
            }
        });
        Ok(Self {
            port,
            seen,
            serving,
        })
    }

    /// Connections that showed the password.
    pub fn passwords(&self) -> usize {
        self.seen.passwords.load(Ordering::Relaxed)
    }

    /// Connections that showed a token.
    pub fn tokens(&self) -> usize {
        self.seen.tokens.load(Ordering::Relaxed)
    }

    /// Connections that showed something else.
    pub fn refused(&self) -> usize {
        self.seen.refused.load(Ordering::Relaxed)
    }
}

/// Answers until the client has shown who it is.
async fn admitted(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    broker: &mut TcpStream,
    seen: &Seen,
) -> Result<()> {
    loop {
        let request = frame(client).await?;
        let mut rest = request.as_slice();
        let (kind, version) = (i16::from_be_bytes(take(&mut rest)?), take::<2>(&mut rest)?);
        let correlation = take::<4>(&mut rest)?;
        let name = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).unwrap_or_default();
        rest = rest.get(name..).context("no body")?;
        let mut answer = correlation.to_vec();
        match kind {
            SASL_HANDSHAKE => {
                // What was asked for is what there is.
                answer.extend(0_i16.to_be_bytes());
                answer.extend(1_i32.to_be_bytes());
                answer.extend(rest);
                send(client, &answer).await?;
            }
            SASL_AUTHENTICATE => {
                let is_old = i16::from_be_bytes(version) < 2;
                ensure!(is_old, "a newer SaslAuthenticate than this reads");
                let shown = rest.get(4..).context("nothing is shown")?;
                let is_welcome = is_known(shown, seen);
                let code = if is_welcome { 0 } else { FAILED };
                answer.extend(code.to_be_bytes());
                // No message, nothing more to say, no end of the session.
                answer.extend((-1_i16).to_be_bytes());
                answer.extend(0_i32.to_be_bytes());
                answer.extend(0_i64.to_be_bytes());
                send(client, &answer).await?;
                if is_welcome {
                    return Ok(());
                }
                bail!("refused");
            }
            // Which versions there are.
            _ => {
                send(broker, &request).await?;
                let answer = frame(broker).await?;
                send(client, &answer).await?;
            }
        }
    }
}

fn is_known(shown: &[u8], seen: &Seen) -> bool {
    let shown = String::from_utf8_lossy(shown);
    let (count, is_known) = if shown == format!("\0{USERNAME}\0{PASSWORD}") {
        (&seen.passwords, true)
    } else if shown.contains(&format!("auth=Bearer {TOKEN}")) {
        (&seen.tokens, true)
    } else {
        (&seen.refused, false)
    };
    count.fetch_add(1, Ordering::Relaxed);
    is_known
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, after) = rest.split_first_chunk().context("a request ends early")?;
    *rest = after;
    Ok(*taken)
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(from.read_i32().await?)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    to.write_i32(i32::try_from(bytes.len())?).await?;
    to.write_all(bytes).await?;
    to.flush().await?;
    Ok(())
}
