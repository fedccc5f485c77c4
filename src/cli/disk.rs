//! The word about a private directory that lies on a disk: once a boot, since it is the machine that is so.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use super::say::Say;
use crate::directories::make_private;
use crate::variables::Variables;

/// Changes with each start of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Says that what is shredded there may leave copies.
pub(super) fn warn(say: &Say, variables: &Variables, directory: &Path) {
    // Without such an id it is said each time.
    let boot = fs::read_to_string(BOOT).unwrap_or_default();
    if is_news(variables, &boot) {
        say.warning(
            &format!(
                "the private profiles directory `{}` lies on a disk, where copies may outlive what is shredded",
                directory.display()
            ),
            Some("give it a place in memory: XDG_RUNTIME_DIR on a tmpfs; in Kubernetes an `emptyDir` with `medium: Memory`. Said once a boot"),
        );
    }
}

/// Whether nobody has said it since this boot; then somebody has from now on.
fn is_news(variables: &Variables, boot: &str) -> bool {
    let Some(state) = variables.state_home() else {
        return true;
    };
    let directory = state.join("dbt-lease");
    let said = directory.join("said-disk");
    if !boot.is_empty() && fs::read_to_string(&said).is_ok_and(|known| known == boot) {
        return false;
    }
    // Where it cannot be kept it is said again.
    let _ = make_private(&directory).and_then(|()| fs::write(&said, boot));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_boot() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let variables: Variables = [("HOME", home.path())].into_iter().collect();
        let news = |boot| is_news(&variables, boot);
        assert_eq!(
            [news("one"), news("one"), news("two"), news("two")],
            [true, false, true, false]
        );
        assert_eq!([news(""), news("")], [true, true]);
        assert!(is_news(&Variables::default(), "one"));
    }
}
