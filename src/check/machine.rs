//! This machine: where secrets would lie, and what could carry them off.
#![forbid(unsafe_code)]

use std::fs;

use super::finding::{Cure, Finding, State};
use crate::config::Config;
use crate::delivery::private::{self, PrivateDir, Storage};
use crate::delivery::session::base_name;
use crate::variables::Variables;

/// Looks at the place of session directories, swap and core dumps.
pub fn look(variables: &Variables, config: Option<&Config>) -> Vec<Finding> {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    vec![
        place(variables),
        swap(&swaps),
        core_pattern(&pattern, config),
    ]
}

fn place(variables: &Variables) -> Finding {
    const ID: &str = "session_directory";
    const WHY: &str = "the private profiles.yml lies there while dbt reads it: on a disk copies may outlive what is shredded";
    let cure = || {
        Cure::Action("give it a place in memory: XDG_RUNTIME_DIR on a tmpfs; in Kubernetes an `emptyDir` with `medium: Memory`".to_owned())
    };
    let places = private::places(variables);
    let name = base_name();
    let usable = places.iter().find(
        |place| match PrivateDir::open_in_shared(&place.path, &name) {
            Ok(_) => true,
            // Not there yet: it will be made.
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        },
    );
    match usable {
        None => Finding::new(
            State::Failure,
            ID,
            "no directory of this machine can hold the private profiles.yml",
            "nothing can be lent without it",
        )
        .cured_by(cure()),
        Some(place) if place.storage == Storage::Disk => Finding::new(
            State::Warning,
            ID,
            format!("`{}` lies on a disk", place.path.display()),
            WHY,
        )
        .cured_by(cure()),
        Some(place) => Finding::ok(ID, format!("`{}` lies in memory", place.path.display())),
    }
}

fn swap(swaps: &str) -> Finding {
    const ID: &str = "swap";
    let plain: Vec<&str> = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        // Compressed memory is no disk; dm-crypt's devices are mapped ones.
        .filter(|device| {
            !device.contains("/zram")
                && !device.starts_with("/dev/dm-")
                && !device.starts_with("/dev/mapper/")
        })
        .collect();
    if plain.is_empty() {
        return Finding::ok(ID, "nothing is swapped to a plain disk");
    }
    Finding::new(
        State::Warning,
        ID,
        format!("memory is swapped to {}", plain.join(", ")),
        "what lies in memory alone, tmpfs too, may be written there, and stays until it is overwritten",
    )
    .cured_by(Cure::Action(
        "encrypt the swap (`crypttab` with a random key), use zram, or turn it off: `swapoff -a`".to_owned(),
    ))
}

fn core_pattern(pattern: &str, config: Option<&Config>) -> Finding {
    const ID: &str = "core_pattern";
    let pattern = pattern.trim();
    let dumping: Vec<&str> = config
        .iter()
        .flat_map(|config| &config.environments)
        .filter(|environment| environment.child_core_dumps && environment.auth.is_some())
        .map(|environment| environment.name.as_str())
        .collect();
    // A program that gets the core keeps it whatever the limit is; an empty pattern keeps none.
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE);
    let is_limited = matches!(limit, Ok((0, _))) && !pattern.starts_with('|');
    let kept = !pattern.is_empty() && pattern != "|/bin/false" && !is_limited;
    if !kept || dumping.is_empty() {
        return Finding::ok(
            ID,
            if kept {
                "a crash of a command with credentials leaves no core file (`child_core_dumps: false`)"
            } else {
                "this machine keeps no core files"
            },
        );
    }
    Finding::new(
        State::Warning,
        ID,
        format!(
            "a crash of dbt leaves a core file (core_pattern `{}`) in {}",
            crate::trust::account::shown(pattern),
            dumping.join(", ")
        ),
        "its memory is in it, and with that what was lent",
    )
    .cured_by(Cure::Config(format!(
        "child_core_dumps: false   # under {}",
        dumping
            .iter()
            .map(|name| format!("environments.{name}"))
            .collect::<Vec<_>>()
            .join(" and ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_on_a_plain_disk_is_a_warning() {
        let head = "Filename Type Size Used Priority\n";
        for (rest, state) in [
            ("", State::Ok),
            ("/dev/zram0 partition 100 0 5\n", State::Ok),
            ("/dev/dm-1 partition 100 0 5\n", State::Ok),
            ("/swapfile file 100 0 -2\n", State::Warning),
        ] {
            assert_eq!(swap(&format!("{head}{rest}")).state, state, "{rest}");
        }
    }

    #[test]
    fn a_core_that_nobody_keeps_is_none() {
        assert_eq!(core_pattern("", None).state, State::Ok);
        assert_eq!(
            core_pattern("|/usr/lib/systemd/systemd-coredump\n", None).state,
            State::Ok
        );
    }
}
