//! A directory of people and accounts: OpenLDAP's `slapd`, where the machine has it (`apt-get install slapd`).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::watchdog::{Program, Running, scratch_directory};

/// Where everything is.
pub const BASE: &str = "dc=example,dc=com";

/// A running directory; it ends with this handle. It knows the person `alice`, who is in the group `analytics`, and the accounts
/// `dbt-static`, `dbt-one` and `dbt-two`.
#[derive(Debug)]
pub struct Directory {
    running: Running,
    directory: PathBuf,
    port: u16,
    password: String,
}

impl Directory {
    /// A directory on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// Where the machine has no slapd, or it does not answer within 30 s.
    pub fn start() -> Self {
        let slapd = program("slapd");
        let directory = scratch_directory("ldap");
        let password = crate::random_hex(12);
        let port = crate::free_port();
        let config = directory.join("slapd.conf");
        fs::create_dir(directory.join("data")).expect("made");
        fs::write(&config, configuration(&directory, &password)).expect("written");
        let entries = directory.join("entries.ldif");
        fs::write(&entries, people(&password)).expect("written");
        let added = Command::new(program("slapadd"))
            .arg("-f")
            .arg(&config)
            .arg("-l")
            .arg(&entries)
            .output()
            .expect("slapadd runs");
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        let running = Running::start(&Program {
            arguments: vec![
                slapd.display().to_string(),
                // Any level keeps it in the foreground.
                "-d".to_owned(),
                "0".to_owned(),
                "-f".to_owned(),
                config.display().to_string(),
                "-h".to_owned(),
                format!("ldap://127.0.0.1:{port}"),
            ],
            environment: BTreeMap::from([("PATH", "/usr/bin:/bin".to_owned())]),
            directory: &directory,
            log: directory.join("slapd.log"),
            user: None,
            end_signal: Signal::SIGKILL,
        })
        .unwrap_or_else(|words| panic!("slapd does not start: {words}"));
        let started = Self {
            running,
            directory,
            port,
            password,
        };
        started.running.wait_for_port(port, Duration::from_secs(30));
        started
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// The name of its administrator.
    pub fn administrator(&self) -> String {
        format!("cn=admin,{BASE}")
    }

    /// The password of its administrator, and of everybody else until it is changed.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Whether it lets this name in with this password.
    ///
    /// # Panics
    /// Where the machine has no `ldapwhoami` (`apt-get install ldap-utils`).
    pub fn lets_in(&self, name: &str, password: &str) -> bool {
        let asked = Command::new("ldapwhoami")
            .args(["-x", "-H", &self.address(), "-D", name, "-w", password])
            .output()
            .expect("ldapwhoami runs: `apt-get install ldap-utils`");
        asked.status.success()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.running.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// `/usr/sbin` is on root's PATH alone.
fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/local/sbin", "/usr/local/libexec"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("there is no {name}: `apt-get install slapd ldap-utils`"))
}

fn configuration(directory: &Path, password: &str) -> String {
    let schemas: String = ["core", "cosine", "inetorgperson"]
        .iter()
        .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"))
        .collect();
    format!(
        "{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {0}/slapd.pid\ndatabase mdb\nmaxsize 33554432\nsuffix \"{BASE}\"\n\
         rootdn \"cn=admin,{BASE}\"\nrootpw {password}\ndirectory {0}/data\naccess to attrs=userPassword by anonymous auth by * none\n\
         access to * by * read\n",
        directory.display()
    )
}

fn people(password: &str) -> String {
    let mut ldif = format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n"
    );
    for unit in ["people", "groups"] {
        ldif.push_str(&format!(
            "dn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n\n"
        ));
    }
    for name in ["alice", "dbt-static", "dbt-one", "dbt-two"] {
        ldif.push_str(&format!(
            "dn: cn={name},ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {name}\nuid: {name}\nuserPassword: {password}\n\n"
        ));
    }
    ldif.push_str(&format!(
        "dn: cn=analytics,ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: analytics\nmember: cn=alice,ou=people,{BASE}\n"
    ));
    ldif
}
