//! Servers that are sealed, gone, unsealed by people, or live at another time.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dbt_lease_sandbox::web::{Reply, Web};
use dbt_lease_sandbox::{OpenBao, World};

use super::Case;
use crate::support::wait_until;

#[test]
fn a_seal_that_people_open_a_sealed_server_and_one_that_is_gone_are_found_and_cured() {
    let world = World::start();
    let case = Case::new(&world, "sealed");
    let checked = case.check(&["--target", "staging"]);
    // A dev server has no other seal; one that opens by itself is in the healthy world.
    let cure = checked.found("auto_unseal", "warning")["cure"]["text"]
        .as_str()
        .expect("a cure");
    assert!(cure.contains("bao operator unseal -migrate"), "{cure}");

    world.bao().api("PUT", "sys/seal", None);
    let checked = case.check(&["--target", "staging"]);
    assert_eq!(checked.code, Some(1));
    let cure = checked.found("sealed", "failure")["cure"]["text"]
        .as_str()
        .expect("a cure");
    // The command asks for the key, which the dev server told at its start.
    let key = unseal_key(world.bao());
    let mut shell = case.home.command("bash");
    let ran = shell
        .args(["-c", &format!("{cure} {}", key)])
        .env("BAO_ADDR", world.bao().address())
        .output()
        .expect("a shell");
    assert!(ran.status.success(), "{ran:?}");
    wait_until("it is active again", || {
        world.bao().is_active() == Some(true)
    });
    case.check(&["--target", "staging"]).all_well();

    // Killed, it is not reachable.
    world.bao().kill();
    let checked = case.check(&["--target", "staging"]);
    assert_eq!(checked.code, Some(1));
    let found = checked.found("server_reachable", "failure");
    assert!(
        found["cure"]["text"]
            .as_str()
            .expect("a cure")
            .contains("vault.address"),
        "{found:#}"
    );
}

/// The key of a dev server, which tells it at its start: it may answer before it has written it down.
pub(super) fn unseal_key(bao: &OpenBao) -> String {
    let mut key = None;
    wait_until("the server has told its unseal key", || {
        let files = fs::read_dir(bao.directory()).expect("its directory");
        key = files
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
            .find_map(|text| {
                let (_, rest) = text.split_once("Unseal Key: ")?;
                Some(rest.split_once('\n')?.0.trim().to_owned())
            });
        key.is_some()
    });
    key.expect("it was waited for")
}

/// `Tue, 24 Nov 2026 17:28:14 GMT`, by the system's own `date`.
fn http_date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let output = std::process::Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("@{seconds}"),
            "+%a, %d %b %Y %H:%M:%S GMT",
        ])
        .env("LC_ALL", "C")
        .output()
        .expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_clock_that_is_wrong_is_found_in_both_directions() {
    let world = World::start();
    let mut case = Case::new(&world, "clock");
    // A real server, and its answer with another date.
    let bao = OpenBao::start();
    let ahead = Arc::new(AtomicI64::new(0));
    let by = Arc::clone(&ahead);
    let web = Web::start(move |received| {
        let path = received.path.trim_start_matches("/v1/");
        let answer = bao.request(
            &received.method,
            path,
            &[],
            serde_json::from_str(&received.body).ok(),
        );
        let by = by.load(Ordering::SeqCst);
        let by_seconds = Duration::from_secs(by.unsigned_abs());
        let now = SystemTime::now();
        let date = http_date(if by < 0 {
            now - by_seconds
        } else {
            now + by_seconds
        });
        Reply {
            status: answer.status,
            head: format!("Content-Type: application/json\r\nDate: {date}\r\n"),
            body: answer.body.to_string(),
        }
    });
    case.home.set("VAULT_ADDR", web.address());
    for (seconds, state) in [
        (90, "warning"),
        (-90, "warning"),
        (900, "failure"),
        (0, "ok"),
    ] {
        ahead.store(seconds, Ordering::SeqCst);
        let checked = case.check(&["--target", "staging"]);
        let found = checked
            .findings()
            .find(|finding| finding["id"] == "clock")
            .expect("looked at");
        assert_eq!(found["state"], state, "{seconds}: {found:#}");
        if state != "ok" {
            assert!(
                found["cure"]["text"]
                    .as_str()
                    .expect("a cure")
                    .starts_with("timedatectl set-ntp true")
            );
        }
    }
}

#[test]
fn a_signal_in_the_middle_leaves_no_token_behind() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    let world = World::start();
    let case = Case::new(&world, "signal");
    // Two requests a second: there is time between the login and the last question.
    case.edit(
        "dbt-lease.yml",
        "  staging:\n",
        "  staging:\n    rate_limit: 2:1\n",
    );
    for signal in [
        nix::sys::signal::Signal::SIGTERM,
        nix::sys::signal::Signal::SIGINT,
    ] {
        let mut command = case.home.command(crate::support::DBT_LEASE);
        command
            .args(["check", "--target", "staging"])
            .current_dir(&case.project)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut running = command.spawn().expect("the tool starts");
        wait_until("it has logged in", || !world.tokens().is_empty());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(running.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("sent");
        let status = running.wait().expect("it ends");
        assert_eq!(status.signal(), Some(signal as i32), "{status:?}");
        world.assert_nothing_left();
    }
}
