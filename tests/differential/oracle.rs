//! The real PyYAML and dbt: one Python process that answers for all tests of this binary.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

/// Another Python with another dbt, for the recipes that compare with older versions.
const ANOTHER: &str = "DBT_LEASE_TEST_PYTHON";

/// The Python that has dbt-core: the sandbox's.
pub(crate) fn python() -> PathBuf {
    std::env::var_os(ANOTHER).map_or_else(|| dbt_lease_sandbox::venv().python(), PathBuf::from)
}

struct Oracle {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// It ends when its stdin does, which is when this process ends, however it ends.
    _process: Child,
}

static ORACLE: LazyLock<Mutex<Oracle>> = LazyLock::new(|| Mutex::new(Oracle::start()));

impl Oracle {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/oracle.py");
        let mut process = Command::new(python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        Self {
            questions: process.stdin.take().expect("its stdin is a pipe"),
            answers: BufReader::new(process.stdout.take().expect("its stdout is a pipe")),
            _process: process,
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        let mut line = request.to_string();
        line.push('\n');
        self.questions
            .write_all(line.as_bytes())
            .expect("the oracle reads");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the oracle answers");
        serde_json::from_str(&answer).expect("the oracle answers in JSON")
    }
}

/// Asks the real thing; `kind` chooses the question (see oracle.py).
pub(crate) fn ask(request: &Value) -> Value {
    ORACLE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .ask(request)
}
