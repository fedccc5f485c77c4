//! For each credential: whether it stays, and which variable replaces it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::edit::{self, Edit};
use super::error::BridgeError;
use super::form::{Form, Lone, Mention, mentions};
use super::names::{PREFIX, names, renamed};
use super::uses::{Found, Use};
use super::{Left, Note, Options, Origin, Variable, notes};
use crate::dbt::yaml::{Content, Kind, Style, Written};
use crate::render::secret_keys::{self, Role};

const NUMBER: &str =
    "it is a number, and a secret variable's value is always text; put it in quotes";
const TRUTH: &str = "YAML reads it as true or false, and a secret variable's value is always text; put it in quotes";
const REFUSED: &str = "dbt cannot render its template";
/// Keys that hold a text or nothing, whatever the adapter.
const PASSWORDS: [&str; 5] = ["password", "pass", "pwd", "PWD", "token"];

/// A shorter text is part of many words.
const SHORTEST: usize = 4;

/// What is to be done.
pub(super) struct Decided {
    pub(super) edits: Vec<Edit>,
    /// The templates that the edits insert.
    pub(super) inserted: BTreeSet<String>,
    pub(super) variables: Vec<Variable>,
    pub(super) left: Vec<Left>,
    pub(super) notes: Vec<Note>,
}

/// Bytes that are edited as one: a scalar, for all that read it, or one alias.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Node(usize),
    /// Where `*name` begins.
    Alias(usize),
}

/// What becomes of a unit.
struct Fate {
    name: String,
    origin: Origin,
    /// The new template, where it changes.
    template: Option<String>,
}

/// Decides.
///
/// # Errors
/// A credential that cannot be replaced without changing something else, or that dbt cannot read.
pub(super) fn decide(
    file: &Path,
    written: &Written,
    found: &Found,
    options: Options,
) -> Result<Decided, BridgeError> {
    let mut decider = Decider::new(written, found, options);
    let uses: Vec<&Use> = found
        .uses
        .iter()
        .chain(found.unread.iter().map(|unread| &unread.used))
        .collect();
    let mut left = Vec::new();
    let mut lone: Vec<(Unit, &Use, Lone)> = Vec::new();
    let mut new: Vec<(Unit, &Use, Origin)> = Vec::new();
    let mut seen = HashSet::new();
    for used in uses
        .iter()
        .copied()
        .filter(|used| decider.is_credential(used))
    {
        let unit = decider.unit(used);
        let Some(scalar) = written.scalar(used.node) else {
            continue;
        };
        let is_new = seen.insert(unit);
        match scalar.kind {
            Kind::Text => {}
            Kind::Number if used.role == Role::Secret => {
                if is_new {
                    left.push(decider.left(used, NUMBER));
                }
                continue;
            }
            // A truth value is a switch, whatever its name sounds like, but where only a password can be.
            Kind::Bool
                if used
                    .path
                    .last()
                    .is_some_and(|key| PASSWORDS.contains(&key.as_str())) =>
            {
                if is_new {
                    left.push(decider.left(used, TRUTH));
                }
                continue;
            }
            _ => continue,
        }
        let form = Form::of(&scalar.text);
        if !is_new {
            continue;
        }
        if let (Unit::Node(node), Some(other)) = (unit, found.fixed.get(&used.node))
            && !matches!(form, Form::Lone(_) | Form::Native { .. })
            && node == used.node
        {
            return Err(BridgeError::SharedAnchor {
                at: used.place(file),
                path: used.dotted(),
                other,
            });
        }
        if form.refusal(&scalar.text).is_some() && !used.is_below_password() {
            left.push(decider.left(used, REFUSED));
            continue;
        }
        match form {
            Form::Literal | Form::Broken | Form::Template => new.push((unit, used, Origin::Made)),
            Form::Vault(expression) => new.push((unit, used, Origin::Vault(expression))),
            Form::Lone(form) => lone.push((unit, used, form)),
            Form::Native { literal: false } => {}
            Form::Native { literal: true } => left.push(decider.left(
                used,
                "a template that makes another type than text of a literal: give the literal by a variable",
            )),
        }
    }
    for (unit, used, form) in lone {
        if decider.keeps_name(&form, used) {
            decider.keep(unit, &form);
        } else {
            new.push((unit, used, Origin::Made));
        }
    }
    let new_units: HashSet<Unit> = new.iter().map(|(unit, _, _)| *unit).collect();
    // Where a key stands twice, the one that nobody reads gets the variable of the other.
    let (twins, new): (Vec<_>, Vec<_>) = new.into_iter().partition(|(unit, _, _)| {
        let living = decider.living(*unit);
        living.is_some_and(|living| {
            new_units.contains(&living) || decider.fates.contains_key(&living)
        })
    });
    decider.name(&new);
    for (unit, _, _) in twins {
        decider.follow(unit);
    }
    Ok(decider.decided(&uses, left))
}

struct Decider<'a> {
    written: &'a Written,
    found: &'a Found,
    options: Options,
    /// Scalars that stand by themselves where no credential is, and are read there.
    plain: HashSet<usize>,
    /// Every `env_var(…)` of the file with the scalar that it stands in.
    mentions: Vec<(usize, Mention)>,
    /// Scalars that a credential reads.
    credentials: HashSet<usize>,
    taken: BTreeSet<String>,
    renamed: BTreeMap<String, String>,
    fates: HashMap<Unit, Fate>,
    notes: Vec<Note>,
}

impl<'a> Decider<'a> {
    fn new(written: &'a Written, found: &'a Found, options: Options) -> Self {
        let mut all = Vec::new();
        for (number, node) in written.nodes().iter().enumerate() {
            if let Content::Scalar(scalar) = &node.content {
                all.extend(
                    mentions(&scalar.text)
                        .into_iter()
                        .map(|mention| (number, mention)),
                );
            }
        }
        let mut decider = Self {
            written,
            found,
            options,
            plain: HashSet::new(),
            taken: all
                .iter()
                .map(|(_, mention)| mention.name.clone())
                .collect(),
            mentions: all,
            credentials: HashSet::new(),
            renamed: BTreeMap::new(),
            fates: HashMap::new(),
            notes: Vec::new(),
        };
        for used in &found.uses {
            let is_credential = decider.is_credential(used);
            if is_credential {
                decider.credentials.insert(used.node);
            } else if used.alias.is_none() {
                decider.plain.insert(used.node);
            }
        }
        for unread in &found.unread {
            decider.credentials.insert(unread.used.node);
        }
        decider
    }

    fn is_credential(&self, used: &Use) -> bool {
        let user = used
            .path
            .last()
            .is_some_and(|key| secret_keys::is_user(key));
        match used.role {
            Role::Secret => true,
            Role::Identity => !(self.options.keep_user && user),
            Role::Other => false,
        }
    }

    /// An alias of what is read by itself as something else is edited where it stands; anything else at its anchor, for all.
    fn unit(&self, used: &Use) -> Unit {
        match &used.alias {
            Some(alias) if self.plain.contains(&used.node) => Unit::Alias(alias.start),
            _ => Unit::Node(used.node),
        }
    }

    fn left(&self, used: &Use, why: &'static str) -> Left {
        Left {
            path: used.dotted(),
            line: used.mark.line,
            why,
            span: self.written.node(used.node).span.clone(),
        }
    }

    /// A default that goes is given by the variable from now on: its name can stay only where nothing else of the file reads the variable
    /// and would change with it.
    fn keeps_name(&self, lone: &Lone, used: &Use) -> bool {
        if lone.is_empty_default {
            return true;
        }
        // What stands in the default's expression is no lone variable any more.
        let constant = lone
            .default
            .as_deref()
            .is_some_and(|text| !text.contains('('));
        let mut others = self
            .mentions
            .iter()
            .filter(|(_, mention)| mention.name == lone.name);
        constant
            && others.all(|(node, mention)| {
                mention.default == lone.default
                    && (*node == used.node
                        || (self.credentials.contains(node) && self.is_lone(*node)))
            })
    }

    fn is_lone(&self, node: usize) -> bool {
        self.written
            .scalar(node)
            .is_some_and(|scalar| matches!(Form::of(&scalar.text), Form::Lone(_)))
    }

    fn keep(&mut self, unit: Unit, lone: &Lone) {
        let is_secret = lone.name.starts_with(PREFIX) && lone.name.len() > PREFIX.len();
        let (name, origin) = if self.options.rename && !is_secret {
            let name = match self.renamed.get(&lone.name) {
                Some(name) => name.clone(),
                None => {
                    let name = renamed(&lone.name, &self.taken);
                    self.taken.insert(name.clone());
                    self.renamed.insert(lone.name.clone(), name.clone());
                    name
                }
            };
            (name, Origin::Renamed(lone.name.clone()))
        } else {
            (lone.name.clone(), Origin::Kept)
        };
        // dbt takes `none` for no default.
        let default = lone
            .default
            .as_deref()
            .filter(|text| lone.is_empty_default && text.len() == 2);
        let changes = origin != Origin::Kept || lone.filtered || !lone.is_empty_default;
        let template = changes.then(|| match default {
            Some(_) => format!("{{{{ env_var('{name}', '') }}}}"),
            None => template(&name),
        });
        self.fates.insert(
            unit,
            Fate {
                name,
                origin,
                template,
            },
        );
    }

    /// New names by the scheme.
    fn name(&mut self, new: &[(Unit, &Use, Origin)]) {
        let places: Vec<Vec<String>> = new
            .iter()
            .map(|(unit, used, _)| self.place(*unit, used))
            .collect();
        let names = names(&places, &self.taken);
        for ((unit, _, origin), name) in new.iter().zip(names) {
            self.fates.insert(
                *unit,
                Fate {
                    template: Some(template(&name)),
                    name,
                    origin: origin.clone(),
                },
            );
        }
    }

    /// The place that names a unit: the scalar's own, unless it is an anchor whose key does not say what it is; then that of the first to
    /// read it.
    fn place(&self, unit: Unit, used: &Use) -> Vec<String> {
        let says = |own: &&Vec<String>| {
            used.alias.is_none()
                || own
                    .last()
                    .is_some_and(|key| secret_keys::role(None, key, true) != Role::Other)
        };
        let own = self.found.places.get(&used.node).filter(says);
        match own.map(Vec::as_slice) {
            Some([profile, outputs, rest @ ..])
                if unit == Unit::Node(used.node) && outputs == "outputs" =>
            {
                [std::slice::from_ref(profile), rest].concat()
            }
            Some(own) if unit == Unit::Node(used.node) => own.to_vec(),
            _ => used.parts(),
        }
    }

    /// The unit that dbt takes instead of one, where the same key stands twice.
    fn living(&self, unit: Unit) -> Option<Unit> {
        let mut unread = self.found.unread.iter();
        let unread = unread.find(|unread| Unit::Node(unread.used.node) == unit)?;
        unread.living.map(Unit::Node)
    }

    /// Gives a unit the variable of the one that dbt takes instead.
    fn follow(&mut self, unit: Unit) {
        let Some(living) = self.living(unit).and_then(|living| self.fates.get(&living)) else {
            return;
        };
        let fate = Fate {
            name: living.name.clone(),
            origin: living.origin.clone(),
            template: Some(template(&living.name)),
        };
        self.fates.insert(unit, fate);
    }

    fn decided(mut self, uses: &[&Use], left: Vec<Left>) -> Decided {
        let mut edits = Vec::new();
        let mut inserted = BTreeSet::new();
        for (unit, fate) in &self.fates {
            let Some(template) = &fate.template else {
                continue;
            };
            inserted.insert(template.clone());
            // A Jinja string in the other quotes is the same to dbt, and another text to YAML.
            inserted.insert(template.replace('\'', "\""));
            match unit {
                Unit::Node(node) => {
                    let node = self.written.node(*node);
                    let style = match &node.content {
                        Content::Scalar(scalar) => scalar.style,
                        _ => Style::Plain,
                    };
                    edits.push(edit::of_scalar(node.span.clone(), style, template));
                }
                Unit::Alias(start) => {
                    let spans = uses.iter().filter_map(|used| used.alias.clone());
                    let span: Option<Range<usize>> =
                        spans.into_iter().find(|span| span.start == *start);
                    edits.extend(span.map(|span| edit::of_scalar(span, Style::Plain, template)));
                }
            }
        }
        edits.sort_by_key(|edit| edit.span.start);
        let variables = self.variables(uses);
        self.note_kept(uses);
        self.note_words(uses);
        Decided {
            edits,
            inserted,
            variables,
            left,
            notes: self.notes,
        }
    }

    fn variables(&mut self, uses: &[&Use]) -> Vec<Variable> {
        let mut variables = Vec::new();
        let twins: HashSet<usize> = self
            .found
            .unread
            .iter()
            .filter(|unread| unread.living.is_some())
            .map(|unread| unread.used.node)
            .collect();
        for used in uses {
            if twins.contains(&used.node) {
                continue;
            }
            let is_credential = self.is_credential(used);
            let unit = if is_credential {
                self.unit(used)
            } else {
                Unit::Node(used.node)
            };
            let Some(fate) = self.fates.get(&unit) else {
                continue;
            };
            if !is_credential {
                self.notes.push(Note::Shared {
                    path: used.dotted(),
                    name: fate.name.clone(),
                });
            }
            variables.push(Variable {
                name: fate.name.clone(),
                profile: used.profile.clone(),
                target: used.target.clone(),
                key: used.path.join("."),
                adapter: used.adapter.clone(),
                origin: fate.origin.clone(),
                is_credential,
            });
        }
        variables
    }

    /// Users whose names are words that stand elsewhere too: dbt hides a secret variable's value wherever its text comes in a log line.
    fn note_words(&mut self, uses: &[&Use]) {
        let words = notes::words(self.written);
        let mut told = BTreeSet::new();
        for used in uses.iter().filter(|used| used.role == Role::Identity) {
            let (Some(fate), Some(scalar)) = (
                self.fates.get(&self.unit(used)),
                self.written.scalar(used.node),
            ) else {
                continue;
            };
            let word = scalar.text.trim();
            let is_new = fate.origin == Origin::Made && Form::of(word) == Form::Literal;
            let is_word = word.len() < SHORTEST
                || "dbt postgres".contains(word)
                || words.get(word).is_some_and(|count| *count > 1);
            if is_new && !word.is_empty() && is_word && told.insert(fate.name.clone()) {
                self.notes.push(Note::Word {
                    path: used.dotted(),
                });
            }
        }
    }

    /// Names that are no secret ones, and defaults that are gone: each variable once.
    fn note_kept(&mut self, uses: &[&Use]) {
        let (mut open, mut dropped) = (BTreeSet::new(), BTreeSet::new());
        for used in uses {
            let Some(fate) = self.fates.get(&Unit::Node(used.node)) else {
                continue;
            };
            if matches!(fate.origin, Origin::Made | Origin::Vault(_)) || !self.is_credential(used) {
                continue;
            }
            let name = fate.name.clone();
            let is_secret = name.starts_with("DBT_ENV_SECRET");
            if !is_secret && used.role == Role::Secret && open.insert(name.clone()) {
                self.notes.push(Note::NotSecret {
                    name: name.clone(),
                    path: used.dotted(),
                    line: used.mark.line,
                });
            }
            let had_default = self.written.scalar(used.node).is_some_and(|scalar| {
                matches!(Form::of(&scalar.text), Form::Lone(lone) if !lone.is_empty_default)
            });
            if had_default && dropped.insert(name.clone()) {
                self.notes.push(Note::DefaultDropped {
                    name,
                    path: used.dotted(),
                });
            }
        }
    }
}

fn template(name: &str) -> String {
    format!("{{{{ env_var('{name}') }}}}")
}
