//! The port of this machine that the browser comes back to after a login.
//!
//! Only loopback, only `GET /oidc/callback` with our own `state`; everything else gets a page that says so, and is waited past: browsers ask
//! for icons and open connections in advance.
#![forbid(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// The longest head of a request, in bytes.
const LONGEST: usize = 16 * 1024;
/// How long one connection may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many connections are open at once.
const MOST: usize = 16;

const DONE: &str = "dbt-lease has what it waited for. This window can be closed.";
const REFUSED: &str = "The login was refused: dbt-lease says more on its terminal.";
const NOTHING: &str = "Nothing is here.";

/// A port that listens on this machine alone.
pub(super) struct Callback {
    v4: TcpListener,
    v6: Option<TcpListener>,
}

/// What a browser brought: the code, or why there is none.
pub(super) type Returned = Result<Secret, String>;

impl Callback {
    /// Listens on loopback; `localhost` may mean IPv6 too, where the machine has it.
    pub(super) async fn listen(port: u16) -> io::Result<Self> {
        Ok(Self {
            v4: TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?,
            v6: TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok(),
        })
    }

    /// Waits for the browser that comes back with this state. An outcome of `Err` is the provider's own word.
    pub(super) async fn wait(&self, state: &str) -> Returned {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.accept(), if connections.len() < MOST => {
                    if let Ok(stream) = accepted {
                        let state = state.to_owned();
                        connections.spawn(async move {
                            tokio::time::timeout(PATIENCE, serve(stream, &state)).await.ok().flatten()
                        });
                    }
                }
                Some(served) = connections.join_next() => {
                    if let Ok(Some(returned)) = served {
                        return returned;
                    }
                }
            }
        }
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        let v6 = async {
            match &self.v6 {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6 => accepted,
        }
        .map(|(stream, _)| stream)
    }
}

async fn serve(stream: TcpStream, state: &str) -> Option<Returned> {
    let head = head(&stream).await?;
    let outcome = returned(&head, state);
    let (status, page) = match &outcome {
        Some(Ok(_)) => ("200 OK", DONE),
        Some(Err(_)) => ("200 OK", REFUSED),
        None => ("404 Not Found", NOTHING),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The browser's page matters less than the login: what cannot be written is dropped.
    let _ = write(&stream, answer.as_bytes()).await;
    outcome
}

/// What a request brings; none where it is not the one that is waited for.
fn returned(head: &str, state: &str) -> Option<Returned> {
    let mut words = head.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    if method != "GET" {
        return None;
    }
    let url = Url::parse("http://localhost").ok()?.join(target).ok()?;
    let value = |wanted: &str| {
        url.query_pairs()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    };
    if url.path() != "/oidc/callback" || value("state")? != state {
        return None;
    }
    if let Some(error) = value("error") {
        return Some(Err(match value("error_description") {
            Some(description) => format!("{error}: {description}"),
            None => error,
        }));
    }
    value("code").map(|code| Ok(Secret::new(code)))
}

/// A request's head, up to its blank line.
async fn head(stream: &TcpStream) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut buffer = Zeroizing::new([0; 2048]);
    loop {
        stream.readable().await.ok()?;
        match stream.try_read(&mut *buffer) {
            Ok(0) => return None,
            Ok(count) if bytes.len() + count <= LONGEST => {
                bytes.extend_from_slice(&buffer[..count]);
                if bytes.windows(4).any(|window| window == b"\r\n\r\n") {
                    return std::str::from_utf8(&bytes)
                        .ok()
                        .map(|head| Zeroizing::new(head.to_owned()));
                }
            }
            Ok(_) => return None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(target: &str) -> Option<Result<String, String>> {
        returned(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), "s 1")
            .map(|outcome| outcome.map(|code| code.expose().to_owned()))
    }

    #[test]
    fn only_our_own_return_counts() {
        assert_eq!(
            code("/oidc/callback?code=a%2Bb&state=s+1&iss=x"),
            Some(Ok("a+b".to_owned()))
        );
        assert_eq!(
            code("/oidc/callback?state=s%201&error=access_denied&error_description=no%20luck"),
            Some(Err("access_denied: no luck".to_owned()))
        );
        for other in [
            "/favicon.ico",
            "/oidc/callback",
            "/oidc/callback?code=x&state=s2",
            "/oidc/callback?state=s+1",
            "/other?code=x&state=s+1",
            "//evil/oidc/callback",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
        assert!(returned("POST /oidc/callback?code=x&state=s+1 HTTP/1.1", "s 1").is_none());
        assert!(returned("", "s 1").is_none());
    }

    #[tokio::test]
    async fn connections_that_say_nothing_do_not_hold_the_login_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let callback = Callback {
            v4: listener,
            v6: None,
        };
        let browser = async {
            let silent = TcpStream::connect(address).await.expect("connected");
            let asks = TcpStream::connect(address).await.expect("connected");
            write(&asks, b"GET /favicon.ico HTTP/1.1\r\n\r\n")
                .await
                .expect("written");
            let returns = TcpStream::connect(address).await.expect("connected");
            write(
                &returns,
                b"GET /oidc/callback?code=c&state=s HTTP/1.1\r\n\r\n",
            )
            .await
            .expect("written");
            (silent, asks, returns)
        };
        let (returned, _streams) = tokio::join!(callback.wait("s"), browser);
        assert_eq!(returned.expect("a code").expose(), "c");
    }
}
