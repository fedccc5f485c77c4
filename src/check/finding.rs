//! What is found: what it is, why it matters, and what puts it right.
#![forbid(unsafe_code)]

use serde::{Serialize, Serializer};

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be, and that was seen.
    Ok,
    /// It works, and should be better.
    Warning,
    /// It does not work, or keeps a promise that dbt-lease makes from being true.
    Failure,
    /// It could not be looked at from here. Never a kind of `ok`.
    NotProven,
}

/// What puts a thing right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Commands for a shell. Those that begin with `bao` are for whoever runs the server (Vault: `vault`).
    Command(String),
    /// Lines that a policy lacks.
    Policy {
        /// The policy's name.
        name: String,
        /// HCL.
        lines: String,
    },
    /// Keys of dbt-lease.yml or of an output.
    Config(String),
    /// What a person has to do.
    Action(String),
}

impl Cure {
    /// The word for JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Policy { .. } => "policy",
            Self::Config(_) => "config",
            Self::Action(_) => "action",
        }
    }

    /// The cure itself.
    pub fn text(&self) -> &str {
        match self {
            Self::Command(text) | Self::Config(text) | Self::Action(text) => text,
            Self::Policy { lines, .. } => lines,
        }
    }

    /// The policy that it belongs to.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Policy { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl Serialize for Cure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            kind: &'static str,
            text: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            policy: Option<&'a str>,
        }
        let view = View {
            kind: self.kind(),
            text: self.text(),
            policy: self.policy(),
        };
        view.serialize(serializer)
    }
}

/// One thing that was looked at. Its JSON is an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable word.
    pub id: &'static str,
    /// How it stands.
    pub state: State,
    /// The environment that it belongs to; none where it is the machine's or the project's.
    pub environment: Option<String>,
    /// What was seen.
    pub what: String,
    /// Why it matters; empty where all is well.
    pub why: &'static str,
    /// What puts it right.
    pub cure: Option<Cure>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            id,
            state: State::Ok,
            environment: None,
            what: what.into(),
            why: "",
            cure: None,
        }
    }

    /// Something that is not.
    pub fn new(state: State, id: &'static str, what: impl Into<String>, why: &'static str) -> Self {
        Self {
            state,
            why,
            ..Self::ok(id, what)
        }
    }

    /// The same with what puts it right.
    pub fn cured_by(self, cure: Cure) -> Self {
        Self {
            cure: Some(cure),
            ..self
        }
    }

    /// The same with what may put it right.
    pub fn with(self, cure: Option<Cure>) -> Self {
        Self { cure, ..self }
    }

    /// The same, of an environment.
    pub fn of(self, environment: &str) -> Self {
        Self {
            environment: Some(environment.to_owned()),
            ..self
        }
    }
}

/// Whether a name that a server says may stand in a command as it is.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._@/-".contains(&byte))
}

/// A text as one word of a shell's. A control character stands in no path that somebody means, and would act on the terminal.
pub fn quoted(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        let shown = text.replace(|letter: char| letter.is_control(), "?");
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}

/// A command that writes data as JSON. What a server said can stand in it: on one line, in ASCII, no line of it ends the document.
pub(super) fn write(path: &str, data: &serde_json::Value) -> Cure {
    let mut json = String::new();
    for character in data.to_string().chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            json.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                json.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cure::Command(format!("bao write {path} - <<'EOF'\n{json}\nEOF"))
}

/// A command that writes a whole policy.
pub(super) fn write_policy(name: &str, policy: &str) -> String {
    format!(
        "bao policy write {name} - <<'EOF'\n{}\nEOF",
        policy.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_words_cannot_leave_the_command_that_they_stand_in() {
        let odd = "CREATE\nEOF\nrm -rf /\n\u{1b}[2J\u{202e}\u{7f}é";
        let cure = write("database/roles/x", &serde_json::json!({"a": [odd]}));
        let lines: Vec<&str> = cure.text().split('\n').collect();
        assert_eq!(lines.len(), 3, "{cure:?}");
        assert_eq!(
            [lines[0], lines[2]],
            ["bao write database/roles/x - <<'EOF'", "EOF"]
        );
        assert!(lines[1].is_ascii() && !lines[1].contains('\u{1b}'));
        let read: serde_json::Value = serde_json::from_str(lines[1]).expect("JSON");
        assert_eq!(read["a"][0], odd);
        assert_eq!(quoted("/a b/$(id)'s\n"), r"'/a b/$(id)'\''s?'");
        assert_eq!(quoted("/etc/dbt-lease.yml"), "/etc/dbt-lease.yml");
        for name in ["a;b", "$(id)", "", "-x", "a b", "a\u{202e}"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
