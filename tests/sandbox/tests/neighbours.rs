//! The sandbox itself: its servers answer, and nothing of them is left.

use dbt_lease_sandbox::openbao::ClientCertificates;
use dbt_lease_sandbox::{Home, OpenBao, Postgres};
use serde_json::json;

#[test]
fn openbao_answers_and_its_audit_log_counts_the_requests() {
    let bao = OpenBao::start();
    bao.api(
        "PUT",
        "sys/policies/acl/reader",
        json!({"policy": "path \"secret/data/a\" { capabilities = [\"read\"] }"}),
    );
    bao.api(
        "POST",
        "secret/data/a",
        json!({"data": {"colour": "green"}}),
    );
    let token = bao.api("POST", "auth/token/create", json!({"policies": ["reader"]}));
    let token = token["auth"]["client_token"].as_str().expect("a token");
    let before = bao.requests();
    let read = bao.api_as(token, "GET", "secret/data/a", None);
    let refused = bao.api_as(token, "GET", "secret/data/b", None);
    assert_eq!((read.status, refused.status), (200, 403));
    assert_eq!(read.body["data"]["data"]["colour"], "green");
    assert_eq!(before, []);
    let requests: Vec<_> = bao
        .requests()
        .into_iter()
        .map(|request| (request.operation, request.path))
        .collect();
    let expected = [("read", "secret/data/a"), ("read", "secret/data/b")];
    assert_eq!(
        requests,
        expected.map(|(operation, path)| (operation.to_owned(), path.to_owned()))
    );
}

#[test]
fn postgres_answers_and_refuses_a_wrong_password() {
    let postgres = Postgres::shared();
    let rows = postgres.query(
        "postgres",
        "SELECT 1, NULL, 'a b' UNION ALL SELECT 2, '', 'ü'",
    );
    assert_eq!(rows, [["1", "", "a b"], ["2", "", "ü"]]);
    let refused = postgres.query_as("postgres", "wrong", "postgres", "SELECT 1");
    let words = refused.expect_err("a wrong password is refused");
    assert!(words.contains("password authentication failed"), "{words}");
}

#[test]
fn https_and_unix_listeners_answer() {
    let bao = OpenBao::options()
        .tls(ClientCertificates::Required)
        .unix()
        .start();
    let home = Home::new();
    let script = "import http.client, socket, ssl, sys
host, port, ca, cert, key, path = sys.argv[1:]
def ask(connection):
    connection.request('GET', '/v1/sys/health'); return connection.getresponse().status
context = ssl.create_default_context(cafile=ca)
try:
    print(ask(http.client.HTTPSConnection(host, int(port), context=context)))
except (ssl.SSLError, ConnectionError) as error:
    print('refused')
context.load_cert_chain(cert, key)
print(ask(http.client.HTTPSConnection(host, int(port), context=context)))
connection = http.client.HTTPConnection('localhost')
connection.sock = socket.socket(socket.AF_UNIX); connection.sock.connect(path)
print(ask(connection))";
    let address = bao.tls_address();
    let port = address.rsplit(':').next().expect("a port");
    let certificates = bao.certificates();
    let output = home
        .command("python")
        .args(["-c", script, "localhost", port])
        .args([
            &certificates.ca,
            &certificates.client,
            &certificates.client_key,
        ])
        .arg(bao.unix_address().trim_start_matches("unix://"))
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        "refused\n200\n200\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_command_sees_nothing_of_the_testers_environment() {
    let home = Home::new();
    let output = home.command("env").output().expect("env runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    names.sort_unstable();
    let expected = [
        "COLUMNS",
        "DBT_SEND_ANONYMOUS_USAGE_STATS",
        "HOME",
        "LC_ALL",
        "PATH",
        "TMPDIR",
        "TZ",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
    ];
    assert_eq!(names, expected);
}
