//! Whether a file that decides is ours or root's alone to change.
//!
//! What a link leads to counts, and the link itself: whoever owns it chooses where it leads. The group may write (shared
//! checkouts are common, and a group is somebody's choice); the whole machine may not.
#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Uid, User, geteuid};

use super::TrustError;

/// Refuses a file of another user, or one that every user may write.
pub(super) fn check(file: &Path) -> Result<(), TrustError> {
    let gone = |error: std::io::Error| TrustError::Foreign {
        file: file.to_owned(),
        why: format!("its owner cannot be found: {error}"),
        cure: "run the command again".to_owned(),
    };
    let content = fs::metadata(file).map_err(gone)?;
    owner(file, &content)?;
    // Each link of the way; what could be followed to its end has no circle.
    let mut at = file.to_owned();
    loop {
        let itself = fs::symlink_metadata(&at).map_err(gone)?;
        owner(&at, &itself)?;
        if !itself.is_symlink() {
            break;
        }
        let leads_to = fs::read_link(&at).map_err(gone)?;
        at = at.parent().unwrap_or(Path::new("/")).join(leads_to);
    }
    if content.mode() & 0o002 != 0 {
        return Err(TrustError::Foreign {
            file: file.to_owned(),
            why: format!(
                "every user of this machine may write it (mode {:04o})",
                content.mode() & 0o7777
            ),
            cure: format!("chmod o-w {}", file.display()),
        });
    }
    Ok(())
}

fn owner(file: &Path, found: &Metadata) -> Result<(), TrustError> {
    if is_ours(found) {
        return Ok(());
    }
    let name = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let whose = match name {
        Some(user) => format!("the user `{}`", user.name),
        None => format!("user {}", found.uid()),
    };
    let what = if found.is_symlink() {
        "is a link that belongs"
    } else {
        "belongs"
    };
    Err(TrustError::Foreign {
        file: file.to_owned(),
        why: format!(
            "{what} to {whose}, neither to this user ({}) nor to root",
            geteuid()
        ),
        cure: format!("if it is yours: chown {} {}", geteuid(), file.display()),
    })
}

/// Whether it belongs to this user or to root.
pub(super) fn is_ours(found: &Metadata) -> bool {
    found.uid() == geteuid().as_raw() || found.uid() == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn why(file: &Path) -> Option<String> {
        check(file).err().map(|error| error.to_string())
    }

    #[test]
    fn what_the_group_may_write_stands_and_what_everybody_may_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("profiles.yml");
        fs::write(&file, "x").expect("a file");
        let mut link = directory.path().join("link");
        symlink(&file, &link).expect("a link");
        for (mode, stands) in [
            (0o600, true),
            (0o644, true),
            (0o664, true),
            (0o666, false),
            (0o602, false),
        ] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            assert_eq!(why(&file).is_none(), stands, "{mode:o}");
            assert_eq!(why(&link).is_none(), stands, "through a link, {mode:o}");
        }
        assert!(why(&file).is_some_and(|why| why.contains("(mode 0602)")));
        fs::remove_file(&file).expect("removed");
        assert!(
            why(&file).is_some() && why(&link).is_some(),
            "what went away meanwhile was not looked at"
        );
        link.pop();
        assert_eq!(why(&link), None);
    }

    #[test]
    fn root_s_file_stands() {
        assert_eq!(why(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn a_stranger_s_file_or_link_does_not_stand() {
        if !geteuid().is_root() {
            // Only root can give a file away; the two rules on owners are then shown by CI, which is root.
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let (file, link) = (directory.path().join(".env"), directory.path().join("link"));
        fs::write(&file, "x").expect("a file");
        symlink(&file, &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(65534), None).expect("given away");
        assert_eq!(why(&file), None);
        assert!(why(&link).is_some_and(|why| why.contains("is a link that belongs to")));
        let first = directory.path().join("first");
        symlink(&link, &first).expect("a link to the link");
        assert!(why(&first).is_some_and(|why| why.contains("is a link that belongs to")));
        std::os::unix::fs::lchown(&link, Some(0), None).expect("taken back");
        assert_eq!(why(&first), None);
        std::os::unix::fs::chown(&file, Some(65534), None).expect("given away");
        for path in [&file, &link] {
            assert!(
                why(path).is_some_and(|why| why.contains("neither to this user (0) nor to root"))
            );
        }
    }
}
