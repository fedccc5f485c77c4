//! The rules of the tree: which module may import which, what may not be in the dependency tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The way of the data (src/lib.rs): a module imports only what stands before it.
const WAY: &[&str] = &[
    "dbt",
    "plan",
    "trust",
    "vault",
    "render",
    "bridge",
    "init",
    "generate",
    "warm",
    "delivery",
    "verify",
    "check",
    "record",
    "supervise",
    "cli",
];
/// What all may import; these import nothing but each other.
const BASE: &[&str] = &[
    "config",
    "crypto",
    "directories",
    "failpoint",
    "place",
    "process",
    "secret",
    "variables",
];
/// What stands beside the way and is imported by no module.
const ASIDE: [&str; 1] = ["allocator"];

#[test]
fn modules_import_only_what_stands_before_them() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some(module) = module(&file) else {
            continue;
        };
        for imported in imports(&text) {
            let allowed = match (position(&module), position(&imported)) {
                _ if BASE.contains(&imported.as_str()) || module == imported => true,
                (Some(here), Some(there)) => there < here,
                _ => false,
            };
            if !allowed {
                wrong.push(format!(
                    "{}: `{module}` imports `{imported}`",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_module_alone_names_the_library_of_the_cryptography() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let names = [
            "ring::digest",
            "ring::hmac",
            "ring::pbkdf2",
            "crypto::ring",
            "aws_lc_rs",
        ];
        if !file.ends_with("src/crypto.rs") && names.iter().any(|name| text.contains(name)) {
            wrong.push(file.display().to_string());
        }
    }
    assert!(
        wrong.is_empty(),
        "the feature `fips` has no ring; take it from crate::crypto: {}",
        wrong.join(", ")
    );
}

#[test]
fn every_module_has_its_place() {
    let source = root().join("src");
    for entry in std::fs::read_dir(&source).expect("src/ is there") {
        let name = entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .replace(".rs", "");
        let known = WAY.contains(&name.as_str())
            || BASE.contains(&name.as_str())
            || ASIDE.contains(&name.as_str())
            || ["bin", "lib", "main"].contains(&name.as_str());
        assert!(
            known,
            "src/{name} has no place in the way of the data: give it one in src/lib.rs and in this test"
        );
    }
}

#[test]
fn only_cli_prints_and_only_vault_speaks_http() {
    for (file, text) in sources() {
        let module = module(&file).unwrap_or_default();
        for (word, owner) in [
            ("println!", "cli"),
            ("eprintln!", "cli"),
            ("reqwest", "vault"),
            ("anyhow", "cli"),
        ] {
            let used = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| line.contains(word));
            assert!(
                !used || module == owner,
                "{}: `{word}` belongs to {owner}/",
                file.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_but_where_a_system_call_needs_it() {
    // Each of these opens with the reason.
    const MAY: [&str; 6] = [
        "src/allocator.rs",
        "src/supervise/child.rs",
        "src/supervise/footprint.rs",
        "src/supervise/inherited.rs",
        "src/supervise/janitor/system.rs",
        "src/supervise/signals.rs",
    ];
    let sources = sources();
    let forbids = |file: &Path| {
        sources
            .get(file)
            .is_some_and(|text| text.contains("#![forbid(unsafe_code)]"))
    };
    for (file, text) in &sources {
        let name = file.strip_prefix(root()).expect("below the root");
        // A module's own file, or one of the modules around it.
        let around = file
            .ancestors()
            .skip(1)
            .any(|directory| forbids(&directory.join("mod.rs")));
        // These only list modules, some of which may.
        const LISTS: [&str; 3] = [
            "src/lib.rs",
            "src/supervise/mod.rs",
            "src/supervise/janitor/mod.rs",
        ];
        if LISTS.iter().any(|list| name == Path::new(list)) {
            assert!(!text.contains("unsafe {"), "{}: unsafe", name.display());
            continue;
        }
        let may = MAY.iter().any(|may| name == Path::new(may));
        assert_ne!(
            forbids(file) || around,
            may,
            "{}: `#![forbid(unsafe_code)]` and this test's list disagree",
            name.display()
        );
        assert_eq!(text.contains("unsafe {"), may, "{}: unsafe", name.display());
    }
}

#[test]
fn no_openssl_and_no_aws_lc_in_the_dependency_tree() {
    // Cargo.lock lists what the feature `fips` would bring, too.
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--package", "dbt-lease", "--edges", "normal,build"])
        .args(["--prefix", "none", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("\nrustls v"), "{tree}");
    for banned in ["openssl v", "openssl-sys", "native-tls", "aws-lc", "cmake"] {
        let found = tree.lines().find(|line| line.starts_with(banned));
        assert_eq!(found, None, "in the dependency tree");
    }
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let mut functions = String::new();
    for directory in ["src", "tests"] {
        for text in files_below(&root().join(directory), "rs").values() {
            functions.push_str(text);
        }
    }
    for document in ["dbt-rules.md", "processes.md", "security.md", "vault.md"] {
        let Ok(text) = std::fs::read_to_string(root().join("docs").join(document)) else {
            continue;
        };
        // The last column of each row.
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
        let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        for name in names.filter(|name| name.contains('_')) {
            let function = format!("fn {name}(");
            assert!(
                functions.contains(&function),
                "docs/{document} names `{name}`"
            );
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn position(module: &str) -> Option<usize> {
    WAY.iter().position(|candidate| *candidate == module)
}

/// The module that a file below src/ belongs to; none for main.rs, lib.rs and bin/.
fn module(file: &Path) -> Option<String> {
    let below = file.strip_prefix(root().join("src")).ok()?;
    let first = below
        .components()
        .next()?
        .as_os_str()
        .to_string_lossy()
        .replace(".rs", "");
    (!["main", "lib", "bin"].contains(&first.as_str())).then_some(first)
}

/// The modules of this crate that a file names: `crate::X`, also in `use crate::{X, Y::Z}`.
fn imports(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inner = group.split(";").next().unwrap_or(group);
            let mut depth = 0;
            let mut name = String::new();
            for character in inner.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(character),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(rest.to_owned());
        }
    }
    found
        .iter()
        .map(|path| {
            path.trim()
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// All source files below src/.
fn sources() -> BTreeMap<PathBuf, String> {
    files_below(&root().join("src"), "rs")
}

/// All files of one kind below a directory.
fn files_below(directory: &Path, kind: &str) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory of the tree") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                let text = std::fs::read_to_string(&path).expect("a source file");
                files.insert(path, text);
            }
        }
    }
    files
}
