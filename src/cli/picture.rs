//! Where an error points to, drawn as rustc draws it: file, line, column, a mark under the key. A value is never shown.
#![forbid(unsafe_code)]

use std::path::Path;

use anstyle::{AnsiColor, Style};

use crate::place::{Key, Place, Spot};

/// Draws the spots, one picture a file; empty where there is none.
///
/// ```text
///  --> profiles.yml:3:6
///   |
/// 3 |      port: …
///   |      ^^^^
/// ```
pub(super) fn drawn(spots: &[Spot]) -> String {
    let width = spots
        .iter()
        .filter_map(|spot| spot.at.line)
        .max()
        .map_or(0, |line| line.to_string().len());
    let mut text = String::new();
    let mut file: Option<&Path> = None;
    for spot in spots {
        if file == Some(spot.at.file.as_path()) {
            if spot.at.key().is_some() {
                text.push_str("...\n");
            }
        } else {
            let of_file = || spots.iter().filter(|other| other.at.file == spot.at.file);
            let main = of_file().find(|other| other.is_main);
            text.push_str(&arrow(&main.unwrap_or(spot).at, width));
            if of_file().any(|other| other.at.key().is_some()) {
                text.push_str(&format!("{:width$} {BLUE}|{BLUE:#}\n", ""));
            }
        }
        if let (Some(line), Some(key)) = (spot.at.line, spot.at.key()) {
            text.push_str(&lines(spot, line, key, width));
        }
        file = Some(&spot.at.file);
    }
    text
}

const BLUE: Style = AnsiColor::Blue.on_default().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
/// Further right than any key that a person wrote: there it is not worth drawing where it stands.
const FURTHEST: usize = 40;

/// ` --> FILE:LINE:COLUMN`
fn arrow(at: &Place, width: usize) -> String {
    let column = at
        .line
        .and(at.column())
        .map(|column| format!(":{column}"))
        .unwrap_or_default();
    format!("{:width$}{BLUE}-->{BLUE:#} {at}{column}\n", "")
}

/// The key on its line with `…` for its value, and the mark below: under the value where the error lies beyond the key.
fn lines(spot: &Spot, line: usize, key: &Key, width: usize) -> String {
    let (lead, indentation) = if key.column > FURTHEST {
        ("… ", 0)
    } else {
        ("", key.column - 1)
    };
    let beyond = spot.at.column().is_some_and(|column| column > key.column);
    let count = key.text.chars().count();
    let (skipped, marked) = if beyond { (count + 2, 1) } else { (0, count) };
    let before = " ".repeat(lead.chars().count() + indentation + skipped);
    let (style, mark) = if spot.is_main {
        (RED, "^")
    } else {
        (BLUE, "-")
    };
    let label = if spot.label.is_empty() {
        String::new()
    } else {
        format!(" {}", spot.label)
    };
    format!(
        "{BLUE}{line:width$} |{BLUE:#} {:indentation$}{lead}{}: …\n{:width$} {BLUE}|{BLUE:#} {before}{style}{}{label}{style:#}\n",
        "",
        key.text,
        "",
        mark.repeat(marked),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::drawn;
    use crate::place::{Key, Place, Spot};

    fn plain(spots: &[Spot]) -> String {
        anstream::adapter::strip_str(&drawn(spots)).to_string()
    }

    #[test]
    fn a_mark_stands_under_the_key() {
        let at = Place::of_key(Path::new("profiles.yml"), 12, 7, "port");
        let expected = "  --> profiles.yml:12:7
   |
12 |       port: …
   |       ^^^^
";
        assert_eq!(plain(&[Spot::main(at)]), expected);
    }

    #[test]
    fn a_mark_beyond_the_key_stands_under_the_hidden_value() {
        let at = Place::of_line(Path::new("profiles.yml"), Some(3))
            .within(14, Key::shown(3, "password"));
        let expected = " --> profiles.yml:3:14
  |
3 |   password: …
  |             ^
";
        assert_eq!(plain(&[Spot::main(at)]), expected);
    }

    #[test]
    fn two_places_of_one_file_make_one_picture() {
        let file = Path::new("dbt-lease.yml");
        let first = Spot {
            at: Place::of_key(file, 4, 5, "auth"),
            label: "already here",
            is_main: false,
        };
        let second = Spot::main(Place::of_key(file, 17, 5, "auth"));
        let expected = "  --> dbt-lease.yml:17:5
   |
 4 |     auth: …
   |     ---- already here
...
17 |     auth: …
   |     ^^^^
";
        assert_eq!(plain(&[first, second]), expected);
    }

    #[test]
    fn without_a_key_only_the_place_is_said() {
        let at = Place::of_line(Path::new("profiles.yml"), Some(2));
        assert_eq!(plain(&[Spot::main(at)]), " --> profiles.yml:2\n");
        assert_eq!(plain(&[]), "");
    }
}
