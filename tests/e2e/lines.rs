//! What lies between us and Vault, on real parts: proxies, slow and broken lines, servers that die, clusters that change their leader.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use dbt_lease_sandbox::line::{Fate, Message};
use dbt_lease_sandbox::{Line, OpenBao};
use serde_json::json;

use crate::support::{Gate, Lab, Ran, Running, wait_until};

const APPROLE: &str = "{method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}";
/// What a plain run asks of Vault.
const PLAIN: [&str; 4] = [
    "update auth/approle/login",
    "read database/creds/dbt-prod",
    "update sys/leases/revoke",
    "update auth/token/revoke-self",
];

/// A dbt-lease.yml whose production is not protected, with these settings of Vault.
fn configured(lab: &Lab, vault: &str) {
    lab.configure(&format!(
        "version: 1\nvault: {{{vault}}}\nenvironments:\n  production:\n    auth: {APPROLE}\n    targets:\n      prod: \
         database/creds/dbt-prod\n"
    ));
}

fn run(lab: &Lab, variables: &[(&str, &str)]) -> Ran {
    lab.run_with(variables, &["exec", "-t", "prod", "--", "true"])
}

fn port_of(address: &str) -> u16 {
    let port = address.rsplit(':').next();
    port.and_then(|port| port.parse().ok()).expect("a port")
}

/// A judge that stops before one message, says so, and does what it is told.
fn stopping_at(
    stops: impl Fn(Message) -> bool + Send + Sync + 'static,
) -> (
    impl Fn(Message) -> Fate + Send + Sync + 'static,
    Receiver<Message>,
    Sender<Fate>,
) {
    let (tell, told) = channel();
    let (say, said) = channel();
    let (tell, said) = (Mutex::new(tell), Mutex::new(said));
    let judge = move |message| {
        if !stops(message) {
            return Fate::Carried;
        }
        let _ = tell.lock().expect("no panic in it").send(message);
        let fate = said.lock().expect("no panic in it").recv();
        fate.unwrap_or(Fate::Carried)
    };
    (judge, told, say)
}

/// A login whose answer is lost leaves a token that nobody knows. It holds nothing, and ends by its time.
fn forget_the_unseen_login(lab: &Lab, is_there: bool) {
    let tokens = lab.world.tokens();
    assert_eq!(tokens.len(), usize::from(is_there));
    for accessor in tokens {
        let body = json!({"accessor": accessor});
        lab.world
            .bao()
            .api("POST", "auth/token/revoke-accessor", body);
    }
}

/// A login whose answer was not seen is said and on record; other runs that end well say nothing.
#[track_caller]
fn assert_unseen_login_is_told(lab: &Lab, ran: &Ran, unseen: bool) {
    let words =
        "warning: no answer was seen to a login: if Vault made a token for it, nobody can name it";
    assert_eq!(ran.stderr.contains(words), unseen, "{}", ran.stderr);
    assert!(unseen || ran.stderr.is_empty(), "{}", ran.stderr);
    let record = lab.record();
    let ended = record.last().expect("an event");
    assert_eq!(ended["unseen_token"], unseen, "{ended}");
}

#[test]
fn https_goes_through_the_machines_proxy_and_around_it_for_what_no_proxy_lists() {
    let lab = Lab::with(OpenBao::tls());
    let port = port_of(&lab.world.bao().tls_address());
    let ca = lab.world.bao().certificates().ca.display().to_string();
    // A name that only the proxy can resolve.
    let address = format!("https://vault.example:{port}");
    let proxy = Line::proxy().start();
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let here = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", &ca)];
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "BAO_HTTP_PROXY",
        "VAULT_PROXY_ADDR",
    ] {
        run(&lab, &[here[0], here[1], (name, &url)])
            .silent()
            .success();
    }
    assert_eq!(lab.requests(), [PLAIN; 4].concat());
    let asked_for = proxy.asked_for();
    assert!(
        asked_for
            .iter()
            .all(|host| *host == format!("vault.example:{port}")),
        "{asked_for:?}"
    );
    // The session's connection, and no other.
    assert_eq!(asked_for.len(), 4);
    let around = [
        here[0],
        here[1],
        ("HTTPS_PROXY", &url),
        ("no_proxy", "example"),
    ];
    let _ = run(&lab, &around)
        .code(125)
        .says(&["the host's name cannot be resolved"]);
    assert_eq!(proxy.asked_for().len(), 4);
    let plan = lab.run_with(
        &[
            here[0],
            ("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128"),
        ],
        &["plan", "-t", "prod"],
    );
    let plan = plan.success();
    assert!(
        plan.contains(&format!(
            "{address} through the proxy http://…@proxy.example:3128 (HTTPS_PROXY)"
        )),
        "{plan}"
    );
    lab.assert_nothing_left();
}

#[test]
fn the_janitor_takes_back_through_the_proxy_too() {
    let lab = Lab::with(OpenBao::tls());
    let port = port_of(&lab.world.bao().tls_address());
    let proxy = Line::proxy().start();
    let gate = Gate::new(&lab);
    let mut command = lab.command(&gate.held("echo up"));
    command
        .env("VAULT_ADDR", format!("https://vault.example:{port}"))
        .env("VAULT_CACERT", &lab.world.bao().certificates().ca)
        .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port()));
    let mut running = Running::start(command);
    running.wait_for_line("up");
    assert_eq!(lab.world.database_users().len(), 1);
    nix::sys::signal::kill(running.pid(), nix::sys::signal::Signal::SIGKILL).expect("sent");
    let _ = running.end();
    wait_until("the session's end is on record", || lab.record().len() == 2);
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
    assert_eq!(proxy.asked_for().len(), 2);
    lab.assert_nothing_left();
}

#[test]
fn plain_http_through_a_proxy_is_for_what_is_not_protected() {
    let lab = Lab::new();
    let proxy = Line::proxy().start();
    let url = format!("http://127.0.0.1:{}", proxy.port());
    // This machine is reached directly, whatever its own variables say.
    run(&lab, &[("HTTP_PROXY", &url), ("http_proxy", &url)])
        .silent()
        .success();
    assert_eq!(proxy.connections(), 0);
    // A proxy that was said for Vault is for everything.
    let refused = run(&lab, &[("BAO_HTTP_PROXY", &url)]).code(125).says(&[
        "environment `production` is protected, and plain http to ",
        "use https://, or unset BAO_HTTP_PROXY",
    ]);
    assert_eq!(proxy.connections(), 0, "{}", refused.stderr);
    configured(&lab, &format!("http_proxy: '{url}'"));
    run(&lab, &[]).silent().success();
    assert_eq!(proxy.connections(), 1);
    configured(&lab, "http_proxy: none");
    run(&lab, &[("BAO_HTTP_PROXY", &url)]).silent().success();
    assert_eq!(proxy.connections(), 1);
    lab.assert_nothing_left();
}

#[test]
fn a_run_over_a_slow_line_is_one_connection_and_no_round_trip_too_many() {
    let lab = Lab::with(OpenBao::tls());
    let line = Line::to(port_of(&lab.world.bao().tls_address()))
        .delay(Duration::from_millis(10))
        .start();
    let address = format!("https://localhost:{}", line.port());
    let ca = lab.world.bao().certificates().ca.display().to_string();
    run(&lab, &[("VAULT_ADDR", &address), ("VAULT_CACERT", &ca)])
        .silent()
        .success();
    assert_eq!(lab.requests(), PLAIN);
    // TLS 1.3 is one, and each request is one. The session tickets that the server sends by itself, for which nobody waits, may come before the
    // first request goes out: then the line counts one turn more.
    assert_eq!(line.connections(), 1);
    assert!((5..=6).contains(&line.turns()), "{}", line.turns());
    lab.assert_nothing_left();
}

#[test]
fn a_connection_reset_at_any_request_costs_one_more_and_leaves_nothing() {
    let lab = Lab::new();
    configured(&lab, "");
    for lost in 1..=PLAIN.len() {
        for asks in [true, false] {
            let before = lab.requests().len();
            let judge = move |message: Message| {
                if message.turn == lost && message.asks == asks {
                    Fate::Reset
                } else {
                    Fate::Carried
                }
            };
            let line = Line::to(port_of(&lab.world.bao().address()))
                .judge(judge)
                .start();
            let address = format!("http://127.0.0.1:{}", line.port());
            let ran = run(&lab, &[("VAULT_ADDR", &address)]).code(0);
            assert_unseen_login_is_told(&lab, &ran, lost == 1);
            // A request that was lost on its way never came; one whose answer was lost came twice.
            let came = lab.requests().len() - before;
            // Whether the token is gone is then asked by a lease that it could revoke.
            let proof = usize::from(!asks && lost == 4);
            let expected = PLAIN.len() + usize::from(!asks) + proof;
            assert_eq!((came, line.connections()), (expected, 2), "{lost} {asks}");
            forget_the_unseen_login(&lab, lost == 1 && !asks);
            lab.assert_nothing_left();
        }
    }
}

#[test]
fn a_server_killed_and_restarted_at_any_request_costs_one_more_and_leaves_nothing() {
    let lab = Lab::with(OpenBao::options().raft().start());
    for lost in 1..=PLAIN.len() {
        for asks in [true, false] {
            let (judge, told, say) =
                stopping_at(move |message| message.turn == lost && message.asks == asks);
            let line = Line::to(port_of(&lab.world.bao().address()))
                .judge(judge)
                .start();
            let address = format!("http://127.0.0.1:{}", line.port());
            let mut command = lab.command(&["exec", "-t", "prod", "--", "true"]);
            command.env("VAULT_ADDR", &address);
            let running = Running::start(command);
            told.recv_timeout(Duration::from_secs(60))
                .expect("it comes so far");
            lab.world.bao().kill();
            lab.world.bao().revive();
            say.send(if asks { Fate::Carried } else { Fate::Reset })
                .expect("it waits");
            let ran = running.end().code(0);
            assert_unseen_login_is_told(&lab, &ran, lost == 1);
            // One more; another where a server that has just started says that it is not ready, or for the proof of the token's end.
            let turns = line.turns();
            assert!((5..=6).contains(&turns), "{lost} {asks}: {turns}");
            forget_the_unseen_login(&lab, lost == 1 && !asks);
            lab.assert_nothing_left();
        }
    }
}

#[test]
fn a_server_that_dies_at_any_request_and_stays_away_is_an_honest_end() {
    let lab = Lab::with(OpenBao::options().raft().start());
    configured(&lab, "max_retries: 0, timeout: 5s");
    for lost in 1..=PLAIN.len() {
        for asks in [true, false] {
            let told_before = lab.record().len();
            let (judge, told, say) =
                stopping_at(move |message| message.turn == lost && message.asks == asks);
            let line = Line::to(port_of(&lab.world.bao().address()))
                .judge(judge)
                .start();
            let mut command = lab.command(&["exec", "-t", "prod", "--", "true"]);
            command.env("VAULT_ADDR", format!("http://127.0.0.1:{}", line.port()));
            let running = Running::start(command);
            told.recv_timeout(Duration::from_secs(60))
                .expect("it comes so far");
            lab.world.bao().kill();
            say.send(if asks { Fate::Carried } else { Fate::Reset })
                .expect("it waits");
            let ran = running.end();
            let events = lab.record().split_off(told_before);
            // No storm: what was lost is asked at once again, and then it is the end.
            assert!(
                line.turns() <= PLAIN.len() + 1,
                "{lost} {asks}: {}",
                line.turns()
            );
            lab.world.bao().revive();
            let what = format!("{lost} {asks}: {}\n{events:?}", ran.stderr);
            match lost {
                // The token was never seen, or is gone with what it had made: nobody can name it.
                1 => {
                    assert_eq!(ran.code, Some(125), "{what}");
                    assert_eq!(events.len(), 1, "{what}");
                    assert_unseen_login_is_told(&lab, &ran, true);
                }
                2 => {
                    assert_eq!(ran.code, Some(125), "{what}");
                    assert!(ran.stderr.contains("token"), "{what}");
                    assert_eq!(events.len(), 1, "{what}");
                    assert!(
                        events[0]["token"]
                            .as_str()
                            .is_some_and(|end| end != "revoked"),
                        "{what}"
                    );
                }
                _ => {
                    assert_eq!(ran.code, Some(0), "{what}");
                    assert_eq!(
                        (events.len(), &events[1]["event"]),
                        (2, &json!("ended")),
                        "{what}"
                    );
                    // Said only where Vault said so; else the lease's id is there, and until when it lives.
                    let lease = &events[1]["leases"][0];
                    assert_eq!(lease["result"] == "revoked", lost == 4, "{what}");
                    assert_eq!(lease["lives_until"].is_string(), lost == 3, "{what}");
                    assert_ne!(events[1]["token"], "revoked", "{what}");
                    assert!(!ran.stderr.is_empty());
                }
            }
            // Every lease that is left is on record, or its token's end is.
            for lease in lab.world.leases() {
                let on_record = events
                    .iter()
                    .any(|event| event.to_string().contains(&lease));
                assert!(on_record || lost == 2, "{what}\n{lease}");
            }
            // They end by their time; here by the test's hand.
            for accessor in lab.world.tokens() {
                lab.world.bao().api(
                    "POST",
                    "auth/token/revoke-accessor",
                    json!({"accessor": accessor}),
                );
            }
            lab.assert_nothing_left();
        }
    }
}

#[test]
#[ignore = "three nodes that must first trust each other: `just failover`"]
fn when_the_leader_dies_in_mid_run_the_next_one_takes_everything_back() {
    let lab = Lab::with(OpenBao::options().raft().start());
    let nodes = [lab.world.bao().join(), lab.world.bao().join()];
    let addresses = [&nodes[0], &nodes[1], lab.world.bao()].map(OpenBao::address);
    // A standby first: it forwards to the leader, or points there, and is asked first as long as it answers.
    configured(
        &lab,
        &format!(
            "address: ['{}', '{}', '{}'], max_retries: 20",
            addresses[2], addresses[0], addresses[1]
        ),
    );
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    assert_eq!(lab.world.database_users().len(), 1);
    lab.world.bao().kill();
    gate.open();
    let ran = running.end().silent();
    ran.success();
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
    assert_eq!(lab.record()[1]["token"], "revoked");
    let leader = nodes.iter().find(|node| node.is_active() == Some(true));
    let requests = leader.expect("one of them leads").requests();
    let mut ours: Vec<String> = requests
        .iter()
        .filter(|request| request.session.is_some())
        .map(|request| format!("{} {}", request.operation, request.path))
        .collect();
    // One that leads and is not ready yet logs what it refuses; it is asked again, after a pause each time.
    let asked = ours.len();
    ours.dedup();
    assert_eq!(ours, PLAIN[2..]);
    assert!(asked <= 6, "no storm: {asked}");
    assert!(lab.world.database_users().is_empty());
    lab.world.bao().revive_unready();
}

#[test]
fn the_next_address_is_asked_where_the_first_does_not_answer() {
    let lab = Lab::new();
    let here = lab.world.bao().address();
    configured(
        &lab,
        &format!("address: ['http://127.0.0.1:1', 'unix:///nonexistent/vault.sock', '{here}']"),
    );
    run(&lab, &[]).silent().success();
    assert_eq!(lab.requests(), PLAIN);
    assert_eq!(lab.record()[0]["address"], "http://127.0.0.1:1");
    configured(
        &lab,
        "address: ['http://127.0.0.1:1', 'unix:///nonexistent/vault.sock'], max_retries: 0",
    );
    let ran = run(&lab, &[]).code(125);
    assert!(
        ran.stderr.contains("no connection: ")
            && ran
                .stderr
                .contains("before that http://127.0.0.1:1: no connection: "),
        "{}",
        ran.stderr
    );
    lab.assert_nothing_left();
}

#[test]
fn a_path_that_is_allowed_in_a_wrapping_alone_is_read_so() {
    let lab = Lab::new();
    configured(&lab, "");
    lab.world.bao().api(
        "PUT",
        "sys/policies/acl/dbt-production",
        json!({"policy": "path \"database/creds/dbt-prod\" { capabilities = [\"read\"] min_wrapping_ttl = \"1s\" }\npath \
            \"sys/leases/revoke\" { capabilities = [\"update\"] }\npath \"auth/token/revoke-self\" { capabilities = [\"update\"] }"}),
    );
    let _ = run(&lab, &[])
        .code(125)
        .says(&["answered 403: permission denied"]);
    configured(&lab, "wrap_ttl: 1m");
    let before = lab.requests().len();
    let stdout = lab
        .exec_script("grep -c user: $DBT_PROFILES_DIR/profiles.yml; grep -c '\"user\": \"v-approle-' $DBT_PROFILES_DIR/profiles.yml")
        .silent()
        .success();
    assert!(stdout.ends_with("1\n"), "{stdout}");
    let wrapped = [
        "update auth/approle/login",
        "read database/creds/dbt-prod",
        "update sys/wrapping/lookup",
        "update sys/wrapping/unwrap",
        "update sys/leases/revoke",
        "update auth/token/revoke-self",
    ];
    assert_eq!(lab.requests()[before..], wrapped);
    let plan = lab.run(&["plan", "-t", "prod", "--json"]).success();
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let paths: Vec<&str> = plan["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|request| request["path"].as_str())
        .collect();
    let sent: Vec<&str> = wrapped
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(paths, sent);
    let events = lab.record();
    let ended = events.last().expect("an event");
    assert_eq!(ended["leases"][0]["result"], "revoked", "{events:?}");
    lab.assert_nothing_left();
}

#[test]
fn two_sessions_through_a_caching_proxy_of_vaults_share_neither_token_nor_lease() {
    let lab = Lab::new();
    let proxy = VaultProxy::start(&lab);
    configured(&lab, "");
    let gate = Gate::new(&lab);
    let mut running: Vec<Running> = (0..2)
        .map(|_| {
            let mut command = lab.command(&gate.held("echo up"));
            command.env("VAULT_AGENT_ADDR", &proxy.address);
            Running::start(command)
        })
        .collect();
    for session in &mut running {
        session.wait_for_line("up");
    }
    assert_eq!(
        lab.world.database_users().len(),
        2,
        "one was answered from the cache"
    );
    // Either may take either line.
    gate.open();
    gate.open();
    for session in running {
        session.end().silent().success();
    }
    assert_eq!(lab.requests().len(), 2 * PLAIN.len());
    lab.assert_nothing_left();
}

/// `bao proxy` with a cache, which asks for the header that only real clients send; it ends with this handle.
struct VaultProxy {
    address: String,
    child: std::process::Child,
}

impl VaultProxy {
    fn start(lab: &Lab) -> Self {
        let port = dbt_lease_sandbox::free_port();
        let config = lab.home.directory().join("proxy.hcl");
        let text = format!(
            "vault {{ address = \"{}\" }}\ncache {{}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n  \
             require_request_header = true\n}}\n",
            lab.world.bao().address()
        );
        std::fs::write(&config, text).expect("written");
        let mut command = lab.in_its_environment("bao");
        command
            .arg("proxy")
            .arg(format!("-config={}", config.display()));
        let log = std::fs::File::create(lab.home.directory().join("proxy.log")).expect("made");
        command
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log);
        let child = command.spawn().expect("bao starts");
        wait_until("the proxy listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            address: format!("http://127.0.0.1:{port}"),
            child,
        }
    }
}

impl Drop for VaultProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
