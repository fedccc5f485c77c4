//! README.md says only what is true: its commands run and print what it shows, its configurations load.

use std::path::Path;

use crate::support::{DBT_LEASE, Lab};

/// The blocks of one language in a Markdown file.
pub(crate) fn blocks(file: &str, language: &str) -> Vec<String> {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
    let mut found = Vec::new();
    let mut rest = text.as_str();
    let opening = format!("\n```{language}\n");
    while let Some((_, after)) = rest.split_once(&opening) {
        let (block, after) = after.split_once("\n```").expect("a block ends");
        found.push(block.to_owned());
        rest = after;
    }
    found
}

/// Whether a text is what a block shows: `…` stands for anything in a line, and alone on a line for any lines.
fn shows(block: &[&str], text: &[&str]) -> bool {
    match block.split_first() {
        None => text.is_empty(),
        Some((&"…", rest)) => (0..=text.len()).any(|skipped| shows(rest, &text[skipped..])),
        Some((line, rest)) => text
            .split_first()
            .is_some_and(|(first, others)| matches(line, first) && shows(rest, others)),
    }
}

fn matches(pattern: &str, line: &str) -> bool {
    let Some((before, after)) = pattern.split_once('…') else {
        return pattern.trim_end() == line.trim_end();
    };
    line.strip_prefix(before).is_some_and(|rest| {
        rest.char_indices()
            .map(|(at, _)| at)
            .chain([rest.len()])
            .any(|at| matches(after, &rest[at..]))
    })
}

#[test]
fn the_readme_s_commands_print_what_it_shows() {
    let lab = Lab::new();
    let blocks = blocks("README.md", "console");
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        let lines: Vec<&str> = block.lines().collect();
        let command = lines[0]
            .strip_prefix("$ dbt-lease ")
            .expect("a command of ours");
        let script = format!("{DBT_LEASE} {command} 2>&1");
        let output = lab
            .in_its_environment("bash")
            .args(["-c", &script])
            .output()
            .expect("started");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        // dbt's own colours.
        let printed: Vec<String> = printed.lines().map(without_escapes).collect();
        let printed: Vec<&str> = printed.iter().map(String::as_str).collect();
        assert!(
            shows(&lines[1..], &printed),
            "README shows:\n{block}\n\nthe tool prints:\n{}",
            printed.join("\n")
        );
    }
    lab.assert_nothing_left();
}

/// A line without its escape sequences.
fn without_escapes(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let lab = Lab::new();
    // What one of them extends.
    let own = lab.project.join("dbt-lease.yml");
    let shared = lab
        .project
        .parent()
        .expect("a parent")
        .join("dbt-lease.yml");
    std::fs::copy(own, shared).expect("copied");
    for file in ["README.md", "docs/configuration.md", "docs/engines.md"] {
        for block in blocks(file, "yaml") {
            lab.configure(&block);
            let ran = lab.run(&["plan", "--json", "--target", "prod"]);
            assert_eq!(
                ran.code,
                Some(0),
                "{file}:\n{block}\n{}{}",
                ran.stdout,
                ran.stderr
            );
            let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(plan["environment"], "production", "{file}");
        }
    }
}

#[test]
fn every_document_that_is_linked_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let links: Vec<&str> = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() >= 4);
    for link in links.iter().filter(|link| !link.contains("://")) {
        assert!(root.join(link).is_file(), "{link}");
    }
}
