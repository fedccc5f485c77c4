//! Whether a template could read a changed key of `target`: lexically, and rather once too often.
//!
//! Counted as a use: `target.KEY`, `target['KEY']`, `target.get('KEY')`; `target` as a whole or by a name that is not written out; the same
//! through `context` and `builtins`; `adapter.config` and whatever is named `credentials`; `render(…)`, which could put any of these
//! together. Not counted is what stands outside Jinja's blocks and in its comments, and `target` in a macro that has a parameter of that
//! name (dbt's own merge macros have).
#![forbid(unsafe_code)]

use crate::dbt::jinja::DICT_ATTRIBUTES;

/// Whether a text could read one of the keys; `keys` in all their spellings.
pub(super) fn uses(text: &str, keys: &[&str]) -> bool {
    if !text.contains("{{") && !text.contains("{%") {
        return false;
    }
    let shadowed = has_parameter(text, "target");
    blocks(text).into_iter().any(|block| {
        Words {
            block,
            keys,
            shadowed,
        }
        .any()
    })
}

/// Jinja's blocks in a text, without comments. A text with `raw` is one block, since what is in it is lexed otherwise.
fn blocks(text: &str) -> Vec<&str> {
    let Some(first) = ["{{", "{%", "{#"]
        .iter()
        .filter_map(|open| text.find(open))
        .min()
    else {
        return Vec::new();
    };
    let has_raw = text[first..].split("{%").skip(1).any(|rest| {
        rest.trim_start_matches(['-', '+'])
            .trim_start()
            .starts_with("raw")
    });
    if has_raw {
        return vec![&text[first..]];
    }
    let mut found = Vec::new();
    let mut at = first;
    while let Some(open) = ["{{", "{%", "{#"]
        .iter()
        .filter_map(|open| text[at..].find(open))
        .min()
        .map(|found| at + found)
    {
        let inner = open + 2;
        if text[open..].starts_with("{#") {
            match text[inner..].find("#}") {
                Some(end) => at = inner + end + 2,
                // Jinja refuses it; whatever it is, it is looked at.
                None => {
                    found.push(&text[inner..]);
                    return found;
                }
            }
            continue;
        }
        let close = if text[open..].starts_with("{{") {
            "}}"
        } else {
            "%}"
        };
        let end = end_of(&text[inner..], close).map_or(text.len(), |end| inner + end);
        found.push(&text[inner..end]);
        at = (end + 2).min(text.len());
        if end == text.len() {
            break;
        }
    }
    found
}

/// Where a block ends: its closing mark outside texts and brackets.
fn end_of(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        if depth == 0 && bytes[at..].starts_with(close.as_bytes()) {
            return Some(at);
        }
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Whether a text is one macro (or test) with a parameter of this name.
fn has_parameter(text: &str, name: &str) -> bool {
    let head = || {
        let rest = text.trim_start().strip_prefix("{%")?;
        let rest = rest.trim_start_matches(['-', '+']).trim_start();
        let rest = rest
            .strip_prefix("macro")
            .or_else(|| rest.strip_prefix("test"))?;
        let (_, rest) = rest.split_once('(')?;
        let end = end_of(rest, ")")?;
        Some(&rest[..end])
    };
    // A second one in the same text would not have it.
    let is_one = text.matches("endmacro").count() + text.matches("endtest").count() == 1;
    is_one
        && head().is_some_and(|parameters| {
            parameters
                .split(',')
                .any(|parameter| parameter.split('=').next().unwrap_or_default().trim() == name)
        })
}

/// The words of one block.
struct Words<'t> {
    block: &'t str,
    keys: &'t [&'t str],
    shadowed: bool,
}

impl Words<'_> {
    fn any(&self) -> bool {
        let bytes = self.block.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if !is_word(bytes[at]) {
                at += 1;
                continue;
            }
            let end = at
                + bytes[at..]
                    .iter()
                    .take_while(|byte| is_word(**byte))
                    .count();
            if self.is_use(at, end) {
                return true;
            }
            at = end;
        }
        false
    }

    fn is_use(&self, start: usize, end: usize) -> bool {
        let word = &self.block[start..end];
        if word == "credentials" {
            return true;
        }
        let before = self.block[..start].trim_end();
        let after = self.block[end..].trim_start();
        // Of something else than the name itself.
        let is_attribute = before.ends_with('.');
        let is_text = |quote: char| {
            self.block[..start].ends_with(quote) && self.block[end..].starts_with(quote)
        };
        if is_attribute || is_text('\'') || is_text('"') {
            return false;
        }
        let is_named = after.starts_with('=') && !after.starts_with("==");
        match word {
            _ if is_named => false,
            "target" => !self.shadowed && is_open(after, self.keys),
            "context" | "builtins" => is_open(after, &["target", "context", "builtins"]),
            "adapter" => match after.strip_prefix('.') {
                Some(rest) => first_word(rest) == "config",
                None => true,
            },
            "render" => after.starts_with('('),
            _ => false,
        }
    }
}

/// Whether what follows the name of a mapping could be one of these keys of it, or all.
fn is_open(after: &str, keys: &[&str]) -> bool {
    if let Some(rest) = after.strip_prefix('[') {
        return !is_other_literal(rest, keys, &[']']);
    }
    let Some(rest) = after.strip_prefix('.') else {
        return true;
    };
    let name = first_word(rest);
    if name == "get" {
        let rest = &rest.trim_start()[name.len()..];
        return match rest.trim_start().strip_prefix('(') {
            Some(rest) => !is_other_literal(rest, keys, &[')', ',']),
            None => true,
        };
    }
    name.is_empty() || DICT_ATTRIBUTES.contains(&name) || keys.contains(&name)
}

/// Whether a text stands there, whole, and is none of the keys.
fn is_other_literal(rest: &str, keys: &[&str], ends: &[char]) -> bool {
    let rest = rest.trim_start();
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return false;
    };
    let Some((text, rest)) = rest[1..].split_once(quote) else {
        return false;
    };
    !text.contains('\\') && !keys.contains(&text) && rest.trim_start().starts_with(ends)
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.bytes().take_while(|byte| is_word(*byte)).count();
    &text[..end]
}

/// Letters beyond ASCII count: a name may hold them.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::uses;

    #[test]
    fn whatever_could_read_a_changed_key_is_found() {
        for text in [
            "{{ target.user }}",
            "{{target.user}}",
            "{{ target . user }}",
            "{{ target['user'] }}",
            "{{ target[\"user\"] }}",
            "{{ target[ 'user' ] }}",
            "{{ target['us' ~ 'er'] }}",
            "{{ target['\\x75ser'] }}",
            "{{ target[key] }}",
            "{{ target.get('user') }}",
            "{{ target.get(key, 'x') }}",
            "{{ target.get('na' if x else 'user') }}",
            "{{ (target.get)('user') }}",
            "{{ target }}",
            "{{ target | tojson }}",
            "{{ target.items() }}",
            "{% for key in target %}{% endfor %}",
            "{% set t = target %}{{ t.user }}",
            "{{ f(target) }}",
            "{{ f(x=target) }}",
            "{{ target == other }}",
            "select {{ {'a': {'b': 1}} ~ target.user }}",
            "{{ '}}' ~ target.user }}",
            "{{ \"\\\"}}\" ~ target.user }}",
            "{{ '{{ target.user }}' }}",
            "{% raw %}{#{% endraw %}{{ target.user }} #}",
            "{%- raw -%}{{ '{%- endraw -%}{{ target.user }}",
            "{# open {{ target.user }}",
            "{% if target.user == 'x' %}",
            "{{ target.user",
            "{{ context['target'].user }}",
            "{{ context.target.user }}",
            "{{ context[name] }}",
            "{{ context | attr('target') }}",
            "{{ builtins.target }}",
            "{{ builtins.get('target') }}",
            "{{ adapter.config.x }}",
            "{{ x.credentials.user }}",
            "{% set a = adapter %}",
            "{{ render('{' ~ '{ target.us' ~ 'er }}') }}",
            "{% macro f(x=target.user) %}{% endmacro %}",
            "{% macro f(target_user) %}{{ target }}{% endmacro %}",
            "{% macro f(target) %}{% endmacro %}{% macro g() %}{{ target.user }}{% endmacro %}",
        ] {
            assert!(uses(text, &["user"]), "{text}");
        }
    }

    #[test]
    fn what_reads_other_keys_alone_is_no_use() {
        for text in [
            "{{ target.schema }}",
            "{{ target.name == 'prod' }}",
            "{{ target['database'] }}",
            "{{ target.get('profile_name') }}",
            "{{ target.get('profile_name', 'x') }}",
            "{{ target.user_id }}",
            "merge into target using x {{ this }} on target.user = 1",
            "{# target.user #}{{ this }}",
            "{{ config(target='x') }}",
            "{{ source('crm', 'target') }}",
            "{{ ref('context') }}",
            "{{ config(target_schema='x') }}",
            "{{ this.target }}",
            "{{ context['model'].name }}",
            "{{ context.get('model') }}",
            "{{ adapter.dispatch('x')() }}",
            "{{ relation.render() }}",
            "{% macro merge(target, source) -%} merge into {{ target }} using {{ target.user }} {%- endmacro %}",
            "target.user",
            "",
        ] {
            assert!(!uses(text, &["user"]), "{text}");
        }
    }
}
