//! An example of the variables, for those without Vault: names alone.
#![forbid(unsafe_code)]

use super::Variable;

/// Its name, beside profiles.yml.
pub const FILE: &str = "profiles.env.example";

/// By this line the file is known as ours, and may be written anew.
pub const HEAD: &str = "# The variables of profiles.yml, as `dbt-lease bridge` found them.";

/// The example: each variable once, in the file's order, under what reads it.
pub fn example(variables: &[Variable]) -> String {
    let mut text = format!(
        "{HEAD}\n# With Vault, dbt-lease sets them for each run. Without: copy this file, fill the copy in, and keep it out of Git\n\
         # (dbt 1.12 reads a file `.env` by itself; `set -a; . ./FILE` works for any).\n"
    );
    let mut done: Vec<&str> = Vec::new();
    for variable in variables {
        if done.contains(&variable.name.as_str()) {
            continue;
        }
        done.push(&variable.name);
        text.push('\n');
        for read in variables.iter().filter(|read| read.name == variable.name) {
            text.push_str(&format!("# {}\n", place(read)));
        }
        text.push_str(&format!("{}=\n", variable.name));
    }
    text
}

/// Where a variable is read, on one line.
pub fn place(variable: &Variable) -> String {
    let target = variable.target.iter().map(String::as_str);
    let parts: Vec<&str> = std::iter::once(variable.profile.as_str())
        .chain(target)
        .chain([variable.key.as_str()])
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(".").escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Variable};
    use super::example;

    #[test]
    fn each_variable_stands_once_with_all_that_read_it() {
        let variable = |name: &str, target: &str, key: &str| Variable {
            name: name.to_owned(),
            profile: "p\n".to_owned(),
            target: Some(target.to_owned()),
            key: key.to_owned(),
            adapter: None,
            origin: Origin::Made,
            is_credential: true,
        };
        let text = example(&[
            variable("A", "dev", "password"),
            variable("B", "dev", "user"),
            variable("A", "prod", "password"),
        ]);
        assert!(
            text.ends_with(
                "\n\n# p\\n.dev.password\n# p\\n.prod.password\nA=\n\n# p\\n.dev.user\nB=\n"
            ),
            "{text}"
        );
    }
}
