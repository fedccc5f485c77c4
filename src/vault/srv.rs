//! DNS SRV (`srv_lookup`, VAULT_SRV_LOOKUP): `_http._tcp.HOST` names the nodes behind an address that says no port, as Vault's own
//! client asks for them.
//!
//! One small question over UDP (TCP where the answer is cut), to the machine's name servers in order; a library for this would cost
//! more than the whole of our HTTP. The answer is nobody's word but the network's: it decides where the connection goes, never which
//! name the server's certificate must carry.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Url;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one name server may take; glibc's own bound is 5 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// resolv.conf's own bound on name servers.
const MOST_SERVERS: usize = 3;
/// The type SRV, the class IN.
const SRV: u16 = 33;
const IN: u16 = 1;

/// A node behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its host's name, without the last dot.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    priority: u16,
    weight: u16,
}

/// The nodes behind a host, the first to be asked first; none where DNS does not say.
pub(crate) async fn lookup(host: &str, servers: &[SocketAddr]) -> Vec<Target> {
    let Some(id) = getrandom::u32().ok().map(|random| random as u16) else {
        return Vec::new();
    };
    let Some(question) = question(id, &format!("_http._tcp.{host}")) else {
        return Vec::new();
    };
    for server in servers {
        let answer = timeout(PATIENCE, ask(*server, &question)).await;
        if let Ok(Some(answer)) = answer
            && let Some(mut found) = targets(&answer, &question)
        {
            // RFC 2782 wants a lottery by weight among equals; heavier first is its likeliest outcome, and stays the same.
            found.sort_by_key(|target| (target.priority, u16::MAX - target.weight));
            return found;
        }
    }
    Vec::new()
}

/// The machine's name servers.
pub(crate) fn machine_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    servers_of(&text)
}

fn servers_of(resolv_conf: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .take(MOST_SERVERS)
        .collect();
    if found.is_empty() {
        // The resolver's own default.
        found.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    found
}

async fn ask(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    // Connected: what comes from elsewhere is dropped by the kernel.
    socket.connect(server).await.ok()?;
    socket.send(question).await.ok()?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.ok()?;
        let answer = &buffer[..length];
        if is_answer_to(answer, question) {
            let is_cut = answer[2] & 0b10 != 0;
            return if is_cut {
                by_tcp(server, question).await
            } else {
                Some(answer.to_vec())
            };
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let stream = TcpStream::connect(server).await.ok()?;
    let mut message = u16::try_from(question.len()).ok()?.to_be_bytes().to_vec();
    message.extend_from_slice(question);
    let mut sent = 0;
    while sent < message.len() {
        stream.writable().await.ok()?;
        match stream.try_write(&message[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    let mut answer = Vec::new();
    loop {
        if let Some((head, rest)) = answer.split_first_chunk::<2>()
            && rest.len() >= usize::from(u16::from_be_bytes(*head))
        {
            return is_answer_to(rest, question).then(|| rest.to_vec());
        }
        stream.readable().await.ok()?;
        let mut chunk = [0; 4096];
        match stream.try_read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

/// A question for SRV, by recursion; none for a name that DNS cannot have.
fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&SRV.to_be_bytes());
    bytes.extend_from_slice(&IN.to_be_bytes());
    (bytes.len() <= 12 + 255 + 4).then_some(bytes)
}

/// Whether it is an answer to that question: the same number, the response bit, the question itself.
fn is_answer_to(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= question.len()
        && answer[..2] == question[..2]
        && answer[2] & 0x80 != 0
        && answer[12..question.len()].eq_ignore_ascii_case(&question[12..])
}

/// The targets of an answer; none where the server could not tell, an empty list where there are none.
fn targets(answer: &[u8], question: &[u8]) -> Option<Vec<Target>> {
    const NO_SUCH_NAME: u8 = 3;
    match answer[3] & 0x0f {
        0 => {}
        NO_SUCH_NAME => return Some(Vec::new()),
        _ => return None,
    }
    let count = u16::from_be_bytes([answer[6], answer[7]]);
    let mut at = question.len();
    let mut found = Vec::new();
    for _ in 0..count {
        at = name(answer, at)?.1;
        let fixed = answer.get(at..at + 10)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (kind, class, length) = (word(0), word(2), usize::from(word(8)));
        let data = at + 10;
        if (kind, class) == (SRV, IN) {
            let head = answer.get(data..data + 6)?;
            let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
            let (host, _) = name(answer, data + 6)?;
            // A lone dot: the service is decidedly not there. Anything that no URL has for a host is no host.
            if is_host(&host) {
                found.push(Target {
                    host,
                    port: word(4),
                    priority: word(0),
                    weight: word(2),
                });
            }
        }
        at = data + length;
    }
    Some(found)
}

/// A name, and where it ends.
fn name(answer: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut at = start;
    let mut end = None;
    // A name has 127 labels at most; whoever points in circles has none.
    for _ in 0..255 {
        let length = usize::from(*answer.get(at)?);
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            1..64 => {
                let label = answer.get(at + 1..at + 1 + length)?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(std::str::from_utf8(label).ok()?);
                at += 1 + length;
            }
            0xc0.. => {
                end.get_or_insert(at + 2);
                at = (length & 0x3f) << 8 | usize::from(*answer.get(at + 1)?);
            }
            _ => return None,
        }
    }
    None
}

fn is_host(host: &str) -> bool {
    Url::parse(&format!("http://{host}/"))
        .is_ok_and(|url| url.host_str() == Some(&host.to_ascii_lowercase()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An answer with these records (priority, weight, port, host), by the format of RFC 1035 and RFC 2782.
    fn answer(question: &[u8], records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = records.len() as u8;
        for (priority, weight, port, host) in records {
            // The question's name, by a pointer.
            bytes.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            let mut data = Vec::new();
            for word in [priority, weight, port] {
                data.extend_from_slice(&word.to_be_bytes());
            }
            for label in host.split('.').filter(|label| !label.is_empty()) {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
            bytes.extend_from_slice(&data);
        }
        bytes
    }

    /// A name server that answers each question so.
    pub(crate) async fn server(records: &'static [(u16, u16, u16, &'static str)]) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = &buffer[..length];
                // What is not an answer to the question is not taken for one.
                let mut other = answer(question, &[(0, 0, 1, "evil.example")]);
                other[0] ^= 1;
                let _ = socket.send_to(&other, from).await;
                let _ = socket.send_to(&answer(question, records), from).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn nodes_come_by_priority_then_weight() {
        let records = &[
            (20, 0, 8202, "c.example"),
            (10, 1, 8201, "b.example"),
            (10, 5, 8200, "a.example"),
            (0, 0, 0, "."),
            (0, 0, 8203, "od d.example"),
        ];
        let server = server(records).await;
        let found: Vec<String> = lookup("vault.service.consul", &[server])
            .await
            .into_iter()
            .map(|target| format!("{}:{}", target.host, target.port))
            .collect();
        assert_eq!(
            found,
            ["a.example:8200", "b.example:8201", "c.example:8202"]
        );
    }

    #[tokio::test]
    async fn a_name_that_dns_cannot_have_is_not_asked_for() {
        assert_eq!(lookup("a..b", &[]).await, []);
        assert_eq!(question(1, &"x".repeat(64)), None);
    }

    #[test]
    fn broken_answers_are_no_answers() {
        let question = question(7, "_http._tcp.v").expect("a name");
        let good = answer(&question, &[(1, 2, 3, "host.example")]);
        assert_eq!(targets(&good, &question).map(|found| found.len()), Some(1));
        for length in 12..good.len() {
            let _ = is_answer_to(&good[..length], &question);
            if length >= question.len() {
                assert_eq!(targets(&good[..length], &question), None, "{length}");
            }
        }
        // A name that points at itself.
        let mut circle = good.clone();
        let at = question.len();
        circle[at + 1] = u8::try_from(at).expect("a short question");
        assert_eq!(targets(&circle, &question), None);
        let mut no_such_name = good;
        no_such_name[3] = 3;
        assert_eq!(targets(&no_such_name, &question), Some(Vec::new()));
    }

    #[test]
    fn name_servers_are_resolv_confs() {
        let text = "# comment\nsearch example\nnameserver 10.0.0.53\nnameserver fd00::53\nnameserver odd\n";
        let shown: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.53:53", "[fd00::53]:53"]);
        assert_eq!(servers_of("").len(), 1);
    }
}
