//! Python's operators.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use minijinja::machinery::ast::{BinOpKind, CompareOpKind};

use super::value::{Number, undefined};
use super::{JinjaError, Value, texts};

/// `-value`.
pub(super) fn negated(value: &Value) -> Result<Value, JinjaError> {
    match (value, value.number()) {
        (_, Some(Number::Int(number))) => number
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| JinjaError::uncertain("a very large number")),
        (_, Some(Number::Float(number))) => Ok(Value::Float(-number)),
        (Value::Undefined(name), None) => Err(undefined(name)),
        _ => Err(JinjaError::failed(format!(
            "bad operand type for unary -: '{}'",
            value.type_name()
        ))),
    }
}

/// One step of a chained comparison.
pub(super) fn compared(op: CompareOpKind, left: &Value, right: &Value) -> Result<bool, JinjaError> {
    let kind = match op {
        CompareOpKind::Eq => BinOpKind::Eq,
        CompareOpKind::Ne => BinOpKind::Ne,
        CompareOpKind::Lt => BinOpKind::Lt,
        CompareOpKind::Lte => BinOpKind::Lte,
        CompareOpKind::Gt => BinOpKind::Gt,
        CompareOpKind::Gte => BinOpKind::Gte,
        CompareOpKind::In => return contains(right, left),
        CompareOpKind::NotIn => return Ok(!contains(right, left)?),
    };
    Ok(binary(kind, left.clone(), right.clone())?.is_true())
}

/// `left op right`; what `and` and `or` leave out is the caller's.
pub(super) fn binary(op: BinOpKind, left: Value, right: Value) -> Result<Value, JinjaError> {
    let ordered = |wanted: &[Ordering]| -> Result<Value, JinjaError> {
        Ok(Value::Bool(
            left.order(&right)?
                .is_some_and(|order| wanted.contains(&order)),
        ))
    };
    match op {
        BinOpKind::ScAnd | BinOpKind::ScOr => Ok(right),
        BinOpKind::Eq => Ok(Value::Bool(left.equals(&right)?)),
        BinOpKind::Ne => Ok(Value::Bool(!left.equals(&right)?)),
        BinOpKind::Lt => ordered(&[Ordering::Less]),
        BinOpKind::Lte => ordered(&[Ordering::Less, Ordering::Equal]),
        BinOpKind::Gt => ordered(&[Ordering::Greater]),
        BinOpKind::Gte => ordered(&[Ordering::Greater, Ordering::Equal]),
        BinOpKind::In => contains(&right, &left).map(Value::Bool),
        BinOpKind::Concat => Ok(Value::text(left.shown()? + &right.shown()?)),
        BinOpKind::Add => match (&left, &right) {
            (Value::Str(a, _), Value::Str(b, _)) => {
                Ok(Value::text(format!("{}{}", a.as_str(), b.as_str())))
            }
            (Value::List(a), Value::List(b)) => Ok(Value::List([a.as_slice(), b].concat())),
            (Value::Tuple(a), Value::Tuple(b)) => Ok(Value::Tuple([a.as_slice(), b].concat())),
            _ => arithmetic(op, &left, &right),
        },
        BinOpKind::Sub
        | BinOpKind::Mul
        | BinOpKind::Div
        | BinOpKind::FloorDiv
        | BinOpKind::Rem
        | BinOpKind::Pow => arithmetic(op, &left, &right),
    }
}

fn arithmetic(op: BinOpKind, left: &Value, right: &Value) -> Result<Value, JinjaError> {
    // Jinja writes a folded negative base without parentheses, so that Python takes `-1 ** 2` for `-(1 ** 2)`.
    if matches!(op, BinOpKind::Pow) {
        return Err(JinjaError::uncertain("`**`"));
    }
    if let Value::Undefined(name) = left {
        return Err(undefined(name));
    }
    if let (BinOpKind::Rem, Value::Str(text, _)) = (op, left) {
        return match right {
            Value::Tuple(values) => texts::percent(text, values),
            Value::Str(..) | Value::Int(_) => texts::percent(text, std::slice::from_ref(right)),
            _ => Err(JinjaError::uncertain("`%` formatting of an unusual kind")),
        };
    }
    if let Value::Undefined(name) = right {
        return Err(undefined(name));
    }
    let (Some(a), Some(b)) = (left.number(), right.number()) else {
        let sequence =
            |value: &Value| matches!(value, Value::Str(..) | Value::List(_) | Value::Tuple(_));
        if matches!(op, BinOpKind::Mul) && (sequence(left) || sequence(right)) {
            return Err(JinjaError::uncertain("a repeated text or list"));
        }
        return Err(JinjaError::failed(format!(
            "unsupported operand types: '{}' and '{}'",
            left.type_name(),
            right.type_name()
        )));
    };
    let too_large = || JinjaError::uncertain("a very large number");
    let zero = || JinjaError::failed("division by zero");
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let whole = match op {
            BinOpKind::Add => a.checked_add(b),
            BinOpKind::Sub => a.checked_sub(b),
            BinOpKind::Mul => a.checked_mul(b),
            BinOpKind::FloorDiv | BinOpKind::Rem if b == 0 => return Err(zero()),
            // Python rounds towards minus infinity, and the remainder has the divisor's sign.
            BinOpKind::FloorDiv => a
                .checked_div(b)
                .map(|quotient| quotient - i128::from(a % b != 0 && (a < 0) != (b < 0))),
            BinOpKind::Rem => a.checked_rem(b).map(|rest| {
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest + b
                } else {
                    rest
                }
            }),
            _ => {
                let (a, b) = (Number::Int(a).float()?, Number::Int(b).float()?);
                return if b == 0.0 {
                    Err(zero())
                } else {
                    Ok(Value::Float(a / b))
                };
            }
        };
        return whole.map(Value::Int).ok_or_else(too_large);
    }
    let (a, b) = (a.float()?, b.float()?);
    match op {
        BinOpKind::Add => Ok(Value::Float(a + b)),
        BinOpKind::Sub => Ok(Value::Float(a - b)),
        BinOpKind::Mul => Ok(Value::Float(a * b)),
        BinOpKind::Div if b == 0.0 => Err(zero()),
        BinOpKind::Div => Ok(Value::Float(a / b)),
        _ => Err(JinjaError::uncertain("`//`, `%` or `**` of a float")),
    }
}

/// Python's `item in container`.
fn contains(container: &Value, item: &Value) -> Result<bool, JinjaError> {
    let any = |items: &mut dyn Iterator<Item = &Value>| -> Result<bool, JinjaError> {
        for candidate in items {
            if candidate.equals(item)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match (container, item) {
        (Value::Str(text, _), Value::Str(part, _)) => Ok(text.contains(part.as_str())),
        (Value::List(items) | Value::Tuple(items), _) => any(&mut items.iter()),
        (Value::Dict(_), Value::List(_) | Value::Dict(_)) => {
            Err(JinjaError::failed("unhashable type"))
        }
        (Value::Dict(entries), _) => any(&mut entries.iter().map(|(key, _)| key)),
        (Value::Undefined(_), _) => Ok(false),
        _ => Err(JinjaError::failed(format!(
            "'in' does not work with '{}' and '{}'",
            item.type_name(),
            container.type_name()
        ))),
    }
}
