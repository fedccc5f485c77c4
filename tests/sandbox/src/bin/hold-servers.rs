//! For the sandbox's own tests: starts servers, says where they are, and waits until its input ends (or it is killed).
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};

use dbt_lease_sandbox::{OpenBao, Postgres, watchdog};

fn main() {
    let bao = OpenBao::start();
    let postgres = Postgres::shared();
    let mut output = std::io::stdout();
    writeln!(
        output,
        "{} {} {}",
        bao.pid(),
        postgres.pid(),
        watchdog::pid()
    )
    .expect("stdout");
    writeln!(output, "{}", watchdog::scratch().display()).expect("stdout");
    output.flush().expect("stdout");
    let mut word = String::new();
    std::io::stdin().read_to_string(&mut word).expect("stdin");
    assert!(word.trim() != "panic", "as asked");
}
