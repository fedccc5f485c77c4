//! The credentials of a profiles.yml, for those who only look: where each stands, and what it is. Never a value.
#![forbid(unsafe_code)]

use std::path::Path;

use super::error::BridgeError;
use super::form::{Form, mentions};
use super::{Note, notes, uses};
use crate::dbt::yaml::{Kind, Merging, Written};
use crate::render::secret_keys::Role;

/// A credential in a file: a value of an output, or one that no output reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The profile; what no profile reads stands under the outermost key of the file.
    pub profile: String,
    /// The target; none for what no output reads.
    pub target: Option<String>,
    /// The key within the output, dotted.
    pub key: String,
    /// Whether a part of it has a dot itself, so that the dotted key does not tell the way.
    pub has_dots: bool,
    /// 1-based.
    pub line: usize,
    /// Whether it is a secret; else it is the half of a credential that changes with one, such as a user's name.
    pub is_secret: bool,
    /// What stands there.
    pub what: What,
}

/// What stands under a credential's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The credential itself, or a template with it inside.
    Literal,
    /// A variable, with the credential as its default.
    Default(String),
    /// A variable and nothing else.
    Variable(String),
    /// Another template.
    Template,
    /// Nothing: an empty text, null, a truth value.
    Nothing,
}

/// What was seen in a file.
#[derive(Debug, Default)]
pub struct Look {
    /// Its credentials, those that outputs read first, each in the file's order.
    pub credentials: Vec<Seen>,
    /// The lines of comments that look like one, 1-based.
    pub comments: Vec<usize>,
}

/// Looks at a profiles.yml.
///
/// # Errors
/// It is empty, or its aliases unfold beyond all reason.
pub fn look(file: &Path, bytes: &[u8], merging: Option<Merging>) -> Result<Look, BridgeError> {
    let merging = merging.unwrap_or(Merging::FirstWins);
    let (Some(written), Ok(text)) = (Written::of(bytes, merging), std::str::from_utf8(bytes))
    else {
        return Err(BridgeError::Empty {
            file: file.to_owned(),
        });
    };
    let found = uses::find(file, &written)?;
    let read = found.uses.iter();
    let unread = found.unread.iter().map(|unread| &unread.used);
    let credentials = read
        .chain(unread)
        .filter(|used| used.role != Role::Other)
        .filter_map(|used| {
            let scalar = written.scalar(used.node)?;
            Some(Seen {
                profile: used.profile.clone(),
                target: used.target.clone(),
                key: used.path.join("."),
                has_dots: used.path.iter().any(|part| part.contains('.')),
                line: used.mark.line,
                is_secret: used.role == Role::Secret,
                what: what(scalar.kind, &scalar.text),
            })
        })
        .collect();
    let comments = notes::suspect_comments(text, &written)
        .into_iter()
        .filter_map(|note| match note {
            Note::Comment { line, .. } => Some(line),
            _ => None,
        })
        .collect();
    Ok(Look {
        credentials,
        comments,
    })
}

fn what(kind: Kind, text: &str) -> What {
    match kind {
        Kind::Number => return What::Literal,
        Kind::Text if !text.is_empty() => {}
        _ => return What::Nothing,
    }
    match Form::of(text) {
        Form::Literal | Form::Broken | Form::Native { literal: true } => What::Literal,
        Form::Lone(lone) if lone.default.is_some() && !lone.is_empty_default => {
            What::Default(lone.name)
        }
        Form::Lone(lone) => What::Variable(lone.name),
        Form::Template if mentions(text).is_empty() && !text.contains("var(") => What::Literal,
        Form::Template | Form::Native { .. } | Form::Vault(_) => What::Template,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{What, look};

    #[test]
    fn each_credential_is_seen_for_what_it_is_and_without_its_value() {
        let text = "p:\n  outputs:\n    t: {type: postgres, host: h, user: sh0wn, password: sh0wn}\n    \
                    u: {type: postgres, user: \"{{ env_var('U') }}\", password: \"{{ env_var('P', 'sh0wn') }}\"}\n    \
                    v: {type: postgres, user: u, password: \"{{ 'sh0wn' }}\"}\n    w: {type: mysql, password: 70707}\n    \
                    x: {type: mysql, password: ''}\n# password: sh0wn\n";
        let look = look(Path::new("profiles.yml"), text.as_bytes(), None).expect("a good file");
        let seen: Vec<(String, usize, &What)> = look
            .credentials
            .iter()
            .map(|seen| {
                let target = seen.target.as_deref().unwrap_or_default();
                (format!("{target}.{}", seen.key), seen.line, &seen.what)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("t.user".to_owned(), 3, &What::Literal),
                ("t.password".to_owned(), 3, &What::Literal),
                ("u.user".to_owned(), 4, &What::Variable("U".to_owned())),
                ("u.password".to_owned(), 4, &What::Default("P".to_owned())),
                ("v.user".to_owned(), 5, &What::Literal),
                ("v.password".to_owned(), 5, &What::Literal),
                ("w.password".to_owned(), 6, &What::Literal),
                ("x.password".to_owned(), 7, &What::Nothing),
            ]
        );
        assert_eq!(look.comments, [8]);
        let said = format!("{look:?}");
        assert!(!said.contains("sh0wn") && !said.contains("70707"), "{said}");
    }
}
