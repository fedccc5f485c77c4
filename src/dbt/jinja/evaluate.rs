//! Evaluates a parsed template over Python's values.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt, UnaryOpKind};

use super::items::{attribute_of, item_of, sliced};
use super::operators::{binary, compared, negated};
use super::value::{Marker, undefined};
use super::{
    JinjaError, LookupOwned, SECRET_PREFIX, Scope, Secrets, Value, Vars, filters, literal, source,
};

/// What a template asked for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) vault: bool,
    pub(super) variables: BTreeSet<String>,
}

/// The value of a whole template by dbt's `quoted_native_concat`: one node keeps its type, several become a str.
pub(super) fn template(text: &str, scope: &Scope<'_>) -> Result<(Value, Asked), JinjaError> {
    let text = source::prepared(text);
    if !super::is_template(&text) {
        return Ok((Value::text(text), Asked::default()));
    }
    let tree = source::parsed(&text)?;
    let mut evaluator = Evaluator {
        scope,
        names: BTreeMap::new(),
        asked: Asked::default(),
        nodes: Vec::new(),
    };
    evaluator.statement(&tree)?;
    let Evaluator {
        asked, mut nodes, ..
    } = evaluator;
    let value = match nodes.len() {
        0 => Value::text(""),
        1 => converted(nodes.remove(0))?,
        _ => {
            let mut joined = zeroize::Zeroizing::new(String::new());
            for node in &nodes {
                joined.push_str(&node.shown()?);
            }
            Value::Str(joined, Marker::Plain)
        }
    };
    Ok((value, asked))
}

/// A single node: what an `as_…` filter marked is converted now.
fn converted(node: Value) -> Result<Value, JinjaError> {
    let Value::Str(text, marker) = node else {
        return Ok(node);
    };
    let wanted = match marker {
        Marker::Plain | Marker::Text => return Ok(Value::Str(text, Marker::Plain)),
        Marker::Native => "",
        Marker::Bool => "bool",
        Marker::Number => "number",
    };
    let value = literal::evaluate(&text)?;
    let fits = match (&value, marker) {
        (Some(Value::Bool(_)), Marker::Bool)
        | (Some(Value::Int(_) | Value::Float(_)), Marker::Number) => true,
        (_, marker) => marker == Marker::Native,
    };
    if !fits {
        return Err(JinjaError::failed(format!(
            "Could not convert a value into type '{wanted}'"
        )));
    }
    Ok(value.unwrap_or(Value::Str(text, Marker::Plain)))
}

/// Names of dbt's and Jinja's context that we have no value for.
const UNKNOWN_NAMES: &[&str] = &[
    "builtins",
    "caller",
    "context",
    "cycler",
    "dbt_version",
    "debug",
    "dict",
    "diff_of_two_dicts",
    "env_var",
    "flags",
    "fromjson",
    "fromyaml",
    "invocation_id",
    "joiner",
    "kwargs",
    "lipsum",
    "local_md5",
    "log",
    "loop",
    "modules",
    "namespace",
    "print",
    "range",
    "return",
    "run_started_at",
    "self",
    "set",
    "set_strict",
    "super",
    "thread_id",
    "tojson",
    "toyaml",
    "try_or_compiler_error",
    "var",
    "varargs",
    "zip",
    "zip_strict",
];

/// How an expression is evaluated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Jinja's `as_const`, at compile time: names and calls are impossible.
    Constant,
    /// When the template runs.
    Run,
}

struct Evaluator<'s> {
    scope: &'s Scope<'s>,
    names: BTreeMap<String, Value>,
    asked: Asked,
    nodes: Vec<Value>,
}

impl Evaluator<'_> {
    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), JinjaError> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitRaw(raw) => {
                if !raw.raw.is_empty() {
                    self.nodes.push(Value::text(raw.raw));
                }
                Ok(())
            }
            Stmt::EmitExpr(emit) => {
                let node = match self.constant(&emit.expr)? {
                    Some(constant) => Value::text(constant.shown()?),
                    None => self.value(&emit.expr, Mode::Run)?,
                };
                self.nodes.push(node);
                Ok(())
            }
            Stmt::IfCond(condition) => {
                let body = if self.value(&condition.expr, Mode::Run)?.is_true() {
                    &condition.true_body
                } else {
                    &condition.false_body
                };
                self.statements(body)
            }
            Stmt::Set(set) => {
                let Expr::Var(name) = &set.target else {
                    return Err(JinjaError::uncertain("`set` of more than one name"));
                };
                if UNKNOWN_NAMES.contains(&name.id) || name.id == "vault" {
                    return Err(JinjaError::uncertain(format!("`set {}`", name.id)));
                }
                let value = self.value(&set.expr, Mode::Run)?;
                self.names.insert(name.id.to_owned(), value);
                Ok(())
            }
            _ => Err(JinjaError::uncertain(
                "a statement other than `if` and `set`",
            )),
        }
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<(), JinjaError> {
        statements
            .iter()
            .try_for_each(|statement| self.statement(statement))
    }

    /// The value of an output that Jinja folds to text when it compiles; `None` if it does not.
    fn constant(&mut self, expression: &Expr<'_>) -> Result<Option<Value>, JinjaError> {
        match self.value(expression, Mode::Constant) {
            Ok(value) => Ok(has_safe_repr(&value).then_some(value)),
            Err(uncertain @ JinjaError::Uncertain { .. }) if !is_impossible(&uncertain) => {
                Err(uncertain)
            }
            Err(_) => Ok(None),
        }
    }

    fn value(&mut self, expression: &Expr<'_>, mode: Mode) -> Result<Value, JinjaError> {
        match expression {
            Expr::Const(constant) => of_constant(&constant.value),
            Expr::Var(_) | Expr::Call(_) if mode == Mode::Constant => Err(impossible()),
            Expr::Var(name) => self.name(name.id),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => Ok(Value::List(self.values(&list.items, mode)?)),
            Expr::Tuple(tuple) => Ok(Value::Tuple(self.values(&tuple.items, mode)?)),
            Expr::Map(map) => {
                let mut entries: Vec<(Value, Value)> = Vec::new();
                for (key, value) in map.keys.iter().zip(&map.values) {
                    let key = self.value(key, mode)?;
                    let Value::Str(..) = key else {
                        return Err(JinjaError::uncertain("a mapping whose keys are not texts"));
                    };
                    let value = self.value(value, mode)?;
                    match entries.iter_mut().find(|(known, _)| *known == key) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((key, value)),
                    }
                }
                Ok(Value::Dict(entries))
            }
            Expr::UnaryOp(unary) => {
                let value = self.value(&unary.expr, mode)?;
                match unary.op {
                    UnaryOpKind::Not => Ok(Value::Bool(!value.is_true())),
                    UnaryOpKind::Neg => negated(&value),
                }
            }
            Expr::BinOp(operation) => {
                let left = self.value(&operation.left, mode)?;
                match operation.op {
                    BinOpKind::ScAnd if !left.is_true() => return Ok(left),
                    BinOpKind::ScOr if left.is_true() => return Ok(left),
                    _ => {}
                }
                let right = self.value(&operation.right, mode)?;
                binary(operation.op, left, right)
            }
            Expr::Compare(compare) => {
                let mut left = self.value(&compare.expr, mode)?;
                for step in &compare.ops {
                    let right = self.value(&step.expr, mode)?;
                    if !compared(step.op, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::IfExpr(choice) => {
                if self.value(&choice.test_expr, mode)?.is_true() {
                    return self.value(&choice.true_expr, mode);
                }
                match &choice.false_expr {
                    Some(other) => self.value(other, mode),
                    None if mode == Mode::Constant => Err(impossible()),
                    None => Ok(Value::Undefined("the inline if-expression".to_owned())),
                }
            }
            Expr::Filter(filter) => {
                let Some(inner) = &filter.expr else {
                    return Err(JinjaError::uncertain("a filter block"));
                };
                let value = self.value(inner, mode)?;
                let arguments = self.arguments(&filter.args, mode)?;
                filters::filter(filter.name, value, &arguments)
            }
            Expr::Test(test) => {
                if !test.args.is_empty() {
                    return Err(JinjaError::uncertain(format!(
                        "the test `{}` with an argument",
                        test.name
                    )));
                }
                let value = self.value(&test.expr, mode)?;
                filters::test(test.name, &value).map(Value::Bool)
            }
            Expr::GetAttr(_) | Expr::GetItem(_) if is_vault(expression) => {
                if mode == Mode::Constant {
                    Err(impossible())
                } else {
                    self.vault(expression)
                }
            }
            Expr::GetAttr(attribute) => {
                let value = self.value(&attribute.expr, mode)?;
                attribute_of(&value, attribute.name)
            }
            Expr::GetItem(item) => {
                let value = self.value(&item.expr, mode)?;
                let key = self.value(&item.subscript_expr, mode)?;
                item_of(&value, &key)
            }
            Expr::Slice(slice) => {
                if slice.step.is_some() {
                    return Err(JinjaError::uncertain("a slice with a step"));
                }
                let value = self.value(&slice.expr, mode)?;
                let mut bound = |expression: &Option<Expr<'_>>| {
                    expression
                        .as_ref()
                        .map(|expression| self.value(expression, mode))
                        .transpose()
                };
                let (start, stop) = (bound(&slice.start)?, bound(&slice.stop)?);
                sliced(&value, start.as_ref(), stop.as_ref())
            }
        }
    }

    fn values(&mut self, expressions: &[Expr<'_>], mode: Mode) -> Result<Vec<Value>, JinjaError> {
        expressions
            .iter()
            .map(|expression| self.value(expression, mode))
            .collect()
    }

    fn name(&self, name: &str) -> Result<Value, JinjaError> {
        if let Some(value) = self.names.get(name) {
            return Ok(value.clone());
        }
        if UNKNOWN_NAMES.contains(&name) || name == "vault" || name.starts_with('_') {
            return Err(JinjaError::uncertain(format!("`{name}`")));
        }
        Ok(Value::Undefined(name.to_owned()))
    }

    fn arguments(
        &mut self,
        arguments: &[CallArg<'_>],
        mode: Mode,
    ) -> Result<Vec<(Option<String>, Value)>, JinjaError> {
        arguments
            .iter()
            .map(|argument| match argument {
                CallArg::Pos(expression) => Ok((None, self.value(expression, mode)?)),
                CallArg::Kwarg(name, expression) => {
                    Ok((Some((*name).to_owned()), self.value(expression, mode)?))
                }
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    Err(JinjaError::uncertain("`*` arguments"))
                }
            })
            .collect()
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Value, JinjaError> {
        match &call.expr {
            Expr::Var(name) if self.names.contains_key(name.id) => {
                Err(JinjaError::uncertain(format!("a call of `{}`", name.id)))
            }
            Expr::Var(name) if name.id == "env_var" => {
                let arguments = self.arguments(&call.args, Mode::Run)?;
                let [name, default] = filters::bound(&arguments, ["var", "default"])?;
                self.env_var(name, default)
            }
            Expr::Var(name) if name.id == "var" => {
                let arguments = self.arguments(&call.args, Mode::Run)?;
                let [name, default] = filters::bound(&arguments, ["var_name", "default"])?;
                self.var(name, default)
            }
            Expr::Var(name) => match self.name(name.id)? {
                Value::Undefined(name) => Err(undefined(&name)),
                _ => Err(JinjaError::uncertain(format!("a call of `{}`", name.id))),
            },
            Expr::GetAttr(attribute) if !is_vault(&attribute.expr) => {
                let value = self.value(&attribute.expr, Mode::Run)?;
                let arguments = self.arguments(&call.args, Mode::Run)?;
                filters::method(&value, attribute.name, &arguments)
            }
            _ => Err(JinjaError::uncertain("a call")),
        }
    }

    /// dbt's `env_var` of profiles.yml (`SecretContext.env_var`).
    fn env_var(
        &mut self,
        name: Option<&Value>,
        default: Option<&Value>,
    ) -> Result<Value, JinjaError> {
        let name = match name {
            Some(Value::Str(name, _)) => name.as_str(),
            Some(Value::Undefined(name)) => return Err(undefined(name)),
            _ => {
                return Err(JinjaError::uncertain(
                    "`env_var` of something that is no text",
                ));
            }
        };
        let secret = name.starts_with(SECRET_PREFIX);
        if secret && self.scope.secrets == Secrets::Refused {
            return Err(JinjaError::failed(
                "Secret env vars are allowed only in profiles.yml or packages.yml",
            ));
        }
        self.asked.variables.insert(name.to_owned());
        match (self.scope.env_var)(name) {
            LookupOwned::Text(_) if secret => Ok(Value::text(super::placeholder(name))),
            LookupOwned::Text(text) => Ok(Value::text(text)),
            LookupOwned::Unknown => {
                let construct = format!("{name}, whose value is not certain");
                Err(JinjaError::uncertain(construct))
            }
            LookupOwned::Missing => match default {
                None | Some(Value::None) => Err(JinjaError::EnvVarMissing {
                    name: name.to_owned(),
                }),
                Some(default) => Ok(default.clone()),
            },
        }
    }

    /// dbt's `var` of profiles.yml: only what `--vars` gave.
    fn var(&mut self, name: Option<&Value>, default: Option<&Value>) -> Result<Value, JinjaError> {
        let Some(Value::Str(name, _)) = name else {
            return Err(JinjaError::uncertain("`var` of something that is no text"));
        };
        let Vars::Known(entries) = self.scope.vars else {
            return Err(JinjaError::uncertain(
                "`var`, whose value cannot be known here",
            ));
        };
        match entries.iter().find(|(known, _)| known == name.as_str()) {
            Some((_, Some(Value::Str(text, _)))) if has_render_marks(text) => {
                Err(JinjaError::uncertain("a template in `--vars`"))
            }
            Some((_, Some(value))) => Ok(value.clone()),
            Some((_, None)) => Err(JinjaError::uncertain(
                "a value of `--vars` that is no plain one",
            )),
            None => match default {
                Some(default) => Ok(default.clone()),
                None => Err(JinjaError::failed(format!(
                    "Required var '{}' not found in config",
                    name.as_str()
                ))),
            },
        }
    }

    /// `vault.NAME.FIELD`, and what lies deeper in the field.
    fn vault(&mut self, expression: &Expr<'_>) -> Result<Value, JinjaError> {
        let Some(lookup) = self.scope.vault else {
            return Err(JinjaError::uncertain("`vault`"));
        };
        let (outer, field) = self.step(expression)?;
        match outer {
            Expr::Var(_) => Err(JinjaError::uncertain("`vault` without a field")),
            _ if is_vault_name(outer) => {
                let (_, name) = self.step(outer)?;
                let (Some(name), Some(field)) = (name.as_text(), field.as_text()) else {
                    return Err(JinjaError::uncertain("`vault` with a name that is no text"));
                };
                self.asked.vault = true;
                lookup(name, field).ok_or_else(|| {
                    JinjaError::failed(format!("there is no `vault.{name}.{field}`"))
                })
            }
            _ => {
                let value = self.vault(outer)?;
                item_of(&value, &field)
            }
        }
    }

    /// One step of a path: what is left of it, and the key.
    fn step<'e, 'a>(
        &mut self,
        expression: &'e Expr<'a>,
    ) -> Result<(&'e Expr<'a>, Value), JinjaError> {
        match expression {
            Expr::GetAttr(attribute) => Ok((&attribute.expr, Value::text(attribute.name))),
            Expr::GetItem(item) => {
                let key = self.value(&item.subscript_expr, Mode::Run)?;
                Ok((&item.expr, key))
            }
            _ => Err(JinjaError::uncertain("`vault`")),
        }
    }
}

/// dbt's `_HAS_RENDER_CHARS_PAT`.
fn has_render_marks(text: &str) -> bool {
    ["{{", "{%", "{#", "#}", "%}", "}}"]
        .iter()
        .any(|mark| text.contains(mark))
}

/// Whether the path begins with `vault`.
fn is_vault(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::Var(name) => name.id == "vault",
        Expr::GetAttr(attribute) => is_vault(&attribute.expr),
        Expr::GetItem(item) => is_vault(&item.expr),
        _ => false,
    }
}

/// Whether it is `vault.NAME`.
fn is_vault_name(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::GetAttr(attribute) => matches!(attribute.expr, Expr::Var(_)),
        Expr::GetItem(item) => matches!(item.expr, Expr::Var(_)),
        _ => false,
    }
}

const IMPOSSIBLE: &str = "\0impossible";

/// Jinja's `nodes.Impossible`: not a constant.
fn impossible() -> JinjaError {
    JinjaError::uncertain(IMPOSSIBLE)
}

fn is_impossible(error: &JinjaError) -> bool {
    matches!(error, JinjaError::Uncertain { construct } if construct == IMPOSSIBLE)
}

/// Jinja's `has_safe_repr`: what it folds. A marked str is a subclass, which it does not.
fn has_safe_repr(value: &Value) -> bool {
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => true,
        Value::Str(_, marker) => *marker == Marker::Plain,
        Value::List(items) | Value::Tuple(items) => items.iter().all(has_safe_repr),
        Value::Dict(entries) => entries
            .iter()
            .all(|(key, value)| has_safe_repr(key) && has_safe_repr(value)),
        Value::Undefined(_) => false,
    }
}

/// A literal of the parser's.
fn of_constant(value: &minijinja::Value) -> Result<Value, JinjaError> {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::None => Ok(Value::None),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::String => value
            .as_str()
            .map(Value::text)
            .ok_or_else(|| JinjaError::uncertain("a string")),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone())
            .map(Value::Int)
            .map_err(|_| JinjaError::uncertain("a very large number")),
        ValueKind::Number => f64::try_from(value.clone())
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::Float)
            .ok_or_else(|| JinjaError::uncertain("a very large number")),
        _ => Err(JinjaError::uncertain("a literal")),
    }
}
