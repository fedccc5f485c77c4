//! What others leave in our way: directories and links under our names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::support::{Lab, files_below};

const KEPT: &str = "keep me\n";

/// Puts something under the name of our directory of sessions in the first place that we try; the file in it that must stay.
fn plant(lab: &Lab, make: &dyn Fn(&Path)) -> PathBuf {
    let name = format!("dbt-lease-{}", nix::unistd::geteuid());
    let planted = lab.home.runtime().join(name);
    make(&planted);
    let session = planted.join("20261124T101530Z-9f86d081");
    fs::create_dir_all(&session).expect("made");
    let kept = session.join("profiles.yml");
    fs::write(&kept, KEPT).expect("written");
    kept
}

/// A run and a sweep do as if nothing were there.
#[track_caller]
fn assert_passed_over(lab: &Lab, kept: &Path) {
    let before = files_below(lab.home.runtime());
    let script = "echo $DBT_PROFILES_DIR; grep -c password $DBT_PROFILES_DIR/profiles.yml";
    let stdout = lab.exec_script(script).success();
    let (directory, count) = stdout.split_once('\n').expect("two lines");
    assert_eq!(count, "1\n");
    assert!(
        !Path::new(directory).starts_with(lab.home.runtime()),
        "{directory}"
    );
    assert!(!Path::new(directory).exists(), "{directory} is left");
    let _ = lab.run(&["sweep"]);
    assert_eq!(fs::read_to_string(kept).expect("still there"), KEPT);
    assert_eq!(files_below(lab.home.runtime()), before);
    lab.world.assert_nothing_left();
}

#[test]
fn a_planted_link_in_the_place_of_our_directory_is_not_followed() {
    let lab = Lab::new();
    let victim = lab.home.directory().join("victim");
    fs::create_dir(&victim).expect("made");
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o700)).expect("set");
    let kept = plant(&lab, &|planted| symlink(&victim, planted).expect("linked"));
    assert_passed_over(&lab, &kept);
    assert_eq!(files_below(&victim).len(), 2);
}

#[test]
fn a_directory_that_others_may_enter_is_not_used() {
    let lab = Lab::new();
    let kept = plant(&lab, &|planted| {
        fs::create_dir(planted).expect("made");
        fs::set_permissions(planted, PermissionsExt::from_mode(0o777)).expect("set");
    });
    assert_passed_over(&lab, &kept);
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn another_user_s_directory_under_our_name_is_not_used() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can make a directory another user's");
        return;
    }
    let lab = Lab::new();
    let kept = plant(&lab, &|planted| {
        fs::create_dir(planted).expect("made");
        fs::set_permissions(planted, PermissionsExt::from_mode(0o700)).expect("set");
        chown(planted, Some(64_321), Some(64_321)).expect("given away");
    });
    assert_passed_over(&lab, &kept);
}
