//! [`resolve`](super::resolve) in small worlds: what dbt itself does is compared in tests/differential.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Context, DbtError, Need, Resolved, Selection, resolve};
use crate::variables::Variables;

const OUTPUT: &str = "{type: postgres, host: h, user: u, password: p}";

/// A home, a project and its profiles.
struct World {
    dir: tempfile::TempDir,
    variables: Variables,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let variables = Variables::from_iter([("HOME", dir.path().join("home"))]);
        let world = Self { dir, variables };
        world.write("project/dbt_project.yml", "name: shop\nprofile: shop\n");
        world.write(
            "project/profiles.yml",
            &format!("shop:\n  target: dev\n  outputs:\n    dev: {OUTPUT}\n    prod: {OUTPUT}\n"),
        );
        world.write(
            "elsewhere/profiles.yml",
            &format!("shop:\n  target: \"{{{{ env_var('T') }}}}\"\n  outputs:\n    prod: {OUTPUT}\nconfig: {{}}\n"),
        );
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir
            .path()
            .canonicalize()
            .expect("it is there")
            .join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.set(name, value);
        self
    }

    /// A dbt of this version, first on PATH.
    fn with_dbt(self, version: &str) -> Self {
        self.write(
            &format!("venv/lib/python3.11/site-packages/dbt_core-{version}.dist-info/METADATA"),
            "",
        );
        self.write("venv/pyvenv.cfg", "version = 3.11.7\n");
        self.write("venv/bin/python", "\x7fELF");
        let bin = self.path("venv/bin");
        self.write(
            "venv/bin/dbt",
            &format!("#!{}/python\nfrom dbt.cli.main import cli\n", bin.display()),
        );
        for program in ["python", "dbt"] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(bin.join(program), mode).expect("a mode");
        }
        let path = bin.display().to_string();
        self.with("PATH", &path)
    }

    fn resolve_with(&self, line: &str, selection: &Selection) -> Result<Resolved, DbtError> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let cwd = self.path("project");
        resolve(
            &command,
            selection,
            &Context {
                variables: &self.variables,
                cwd: &cwd,
            },
        )
    }

    fn resolve(&self, line: &str) -> Result<Resolved, DbtError> {
        self.resolve_with(line, &Selection::default())
    }

    fn kind(&self, line: &str) -> &'static str {
        self.resolve(line).expect_err("it is refused").kind()
    }
}

fn target(resolved: &Resolved) -> (&str, &str, bool) {
    let target = &resolved.sources.as_ref().expect("sources").target;
    (
        &resolved.profile.as_ref().expect("a profile").target,
        &target.said,
        target.named,
    )
}

#[test]
fn the_child_s_argv_loses_profiles_dir_and_nothing_else() {
    let world = World::new().with("T", "prod");
    let dir = world.path("elsewhere");
    let dir = dir.display();
    for (line, argv) in [
        (format!("dbt run --profiles-dir {dir} -x"), "dbt run -x"),
        (
            format!("dbt run --profiles-dir={dir} --profiles-dir {dir}"),
            "dbt run",
        ),
        (
            format!("uv run dbt run --profiles-dir {dir} -s --profiles-dir"),
            "uv run dbt run -s --profiles-dir",
        ),
        (
            "dbt run --vars {} -t prod".to_owned(),
            "dbt run --vars {} -t prod",
        ),
        (
            format!("dbt deps --profiles-dir {dir}"),
            &format!("dbt deps --profiles-dir {dir}"),
        ),
        (
            format!("make --profiles-dir {dir}"),
            &format!("make --profiles-dir {dir}"),
        ),
    ] {
        let found = world.resolve(&line).expect("it is resolved").argv;
        let found: Vec<_> = found.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(found.join(" "), argv);
    }
}

#[test]
fn the_source_of_the_target_is_said_and_named_only_by_the_user() {
    let world = World::new();
    assert_eq!(
        target(&world.resolve("dbt run -t prod").expect("it is resolved")),
        ("prod", "from --target", true)
    );
    assert_eq!(
        target(&world.resolve("dbt run").expect("it is resolved")),
        ("dev", "from `target:` of profiles.yml", false)
    );
    let world = World::new().with("DBT_TARGET", "prod");
    assert_eq!(
        target(&world.resolve("dbt run").expect("it is resolved")),
        ("prod", "from DBT_TARGET", true)
    );
    let world = World::new();
    world.write(".env", "DBT_ENGINE_TARGET=prod");
    let resolved = world.resolve("dbt run").expect("it is resolved");
    let (name, said, named) = target(&resolved);
    assert_eq!((name, named), ("prod", false));
    assert_eq!(
        said,
        format!(
            "from DBT_ENGINE_TARGET in `{}`",
            world.path(".env").display()
        )
    );
}

#[test]
fn a_command_needs_a_lease_a_placeholder_or_nothing() {
    let world = World::new();
    let need = |line: &str| world.resolve(line).expect("it is resolved").need;
    for line in [
        "dbt run",
        "dbt debug",
        "dbt compile",
        "dbt docs generate",
        "dbt source freshness",
        "make",
        "",
    ] {
        assert_eq!(need(line), Need::Lease, "{line}");
    }
    for line in ["dbt ls", "dbt list", "dbt parse", "dbt docs serve"] {
        assert_eq!(need(line), Need::Placeholder, "{line}");
    }
    for line in [
        "dbt deps",
        "dbt clean",
        "dbt init",
        "dbt",
        "dbt --version",
        "dbt debug --config-dir",
    ] {
        assert_eq!(need(line), Need::None, "{line}");
    }
    assert_eq!(
        world
            .resolve("dbt deps")
            .expect("it is resolved")
            .project
            .expect("a project")
            .name,
        "shop"
    );
}

/// What a dbt that was compared with its rules does not know is a usage error, which it says itself.
#[test]
fn a_word_that_no_table_knows_is_refused_where_this_dbt_may_know_it() {
    for (version, usage) in [("1.12.0", true), ("1.12.6", false), ("1.13.0b1", false)] {
        let world = World::new().with_dbt(version);
        let option = world.resolve("dbt run --snowflake-projects-otel");
        if usage {
            let said = option.expect("it is resolved").usage;
            assert_eq!(
                said.as_deref(),
                Some("no such option `--snowflake-projects-otel`")
            );
        } else {
            assert_eq!(option.expect("it is resolved").need, Need::Lease);
        }
    }
    for dbt in ["1.12.7", "1.13.0b1", ""] {
        let world = World::new();
        let world = if dbt.is_empty() {
            world
        } else {
            world.with_dbt(dbt)
        };
        for line in [
            "dbt run --nope x",
            "dbt --nope run",
            "dbt login",
            "dbt run -t prod -Z",
        ] {
            let error = world.resolve(line).expect_err(line);
            assert_eq!(error.kind(), "unknown_words", "{line}");
            let word = line
                .split(' ')
                .find(|word| ["--nope", "login", "-Z"].contains(word));
            assert!(
                error.to_string().contains(word.expect("it is there")),
                "{error}"
            );
            assert!(
                error.hint().is_some_and(|hint| hint.contains("sh -c")),
                "{line}"
            );
        }
        assert_eq!(
            world
                .resolve("dbt run -t prod")
                .expect("it is resolved")
                .need,
            Need::Lease
        );
    }
}

#[test]
fn our_selection_decides_for_other_commands_and_without_one() {
    let world = World::new();
    let selection = Selection {
        target: Some("prod".to_owned()),
        ..Selection::default()
    };
    for line in ["psql", "env A=1 dbt run", ""] {
        let resolved = world
            .resolve_with(line, &selection)
            .expect("it is resolved");
        assert_eq!(target(&resolved), ("prod", "from --target", true), "{line}");
        assert!(!resolved.is_dbt);
    }
}

#[test]
fn our_selection_before_dbt_is_only_compared() {
    let world = World::new();
    let selected = |target: &str| Selection {
        target: Some(target.to_owned()),
        ..Selection::default()
    };
    let resolved = world
        .resolve_with("dbt run", &selected("dev"))
        .expect("it is the same");
    assert_eq!(
        target(&resolved),
        ("dev", "from `target:` of profiles.yml", false)
    );
    let refused = world
        .resolve_with("dbt run", &selected("prod"))
        .expect_err("it differs");
    assert_eq!(refused.kind(), "selection_conflict");
    assert_eq!(
        refused.to_string(),
        "--target before `--` says `prod`, but dbt would use `dev` (from `target:` of profiles.yml)"
    );
    for selection in [
        Selection {
            profile: Some("other".to_owned()),
            ..Selection::default()
        },
        Selection {
            project_dir: Some(PathBuf::from("..")),
            ..Selection::default()
        },
        Selection {
            profiles_dir: Some(PathBuf::from("../elsewhere")),
            ..Selection::default()
        },
        Selection {
            vars: Some("{a: hunter2}".to_owned()),
            ..Selection::default()
        },
    ] {
        let refused = world
            .resolve_with("dbt run", &selection)
            .expect_err("it differs");
        assert_eq!(refused.kind(), "selection_conflict");
        assert!(!refused.to_string().contains("hunter2"));
    }
    let same = Selection {
        project_dir: Some(PathBuf::from("../project/.")),
        ..Selection::default()
    };
    assert!(world.resolve_with("dbt run", &same).is_ok());
}

#[test]
fn what_dbt_would_refuse_is_refused_with_what_to_do() {
    let world = World::new();
    let refused = world.resolve("dbt run -t prd").expect_err("there is none");
    assert_eq!(refused.kind(), "unknown_target");
    assert_eq!(
        refused.to_string(),
        format!(
            "profile `shop` in `{}`, line 5, has no target `prd` (from --target); it has `dev`, `prod`",
            world.path("project/profiles.yml").display()
        )
    );
    assert_eq!(
        refused.hint().as_deref(),
        Some("did you mean `--target prod`?")
    );
    let refused = world
        .resolve("dbt run --profile shp")
        .expect_err("there is none");
    assert_eq!(
        (refused.kind(), refused.hint().as_deref()),
        ("unknown_profile", Some("did you mean `shop`?"))
    );
    assert_eq!(world.kind("dbt run --project-dir ../home"), "no_directory");
    assert_eq!(world.kind("dbt run --project-dir .."), "no_project");
    assert_eq!(world.kind("dbt run --profiles-dir .."), "no_profiles_file");
    assert_eq!(
        world.kind("dbt run --profiles-dir ../elsewhere"),
        "env_var_missing"
    );
    assert_eq!(world.kind("timeout 9 dbt run"), "unreadable_command");
    assert_eq!(world.kind("dbt retry"), "retry_unreadable");
    world.write(
        "elsewhere/profiles.yml",
        "shop: {target: \"{{ x | bogus }}\", outputs: {}}",
    );
    let refused = world
        .resolve("dbt run --profiles-dir ../elsewhere")
        .expect_err("it is uncertain");
    assert_eq!(refused.kind(), "target_uncertain");
    assert!(
        refused.to_string().contains("the filter `bogus`"),
        "{refused}"
    );
    assert_eq!(refused.hint().as_deref(), Some("say it: pass `--target`"));
    world.write("elsewhere/profiles.yml", "shop: [");
    assert_eq!(world.kind("dbt run --profiles-dir ../elsewhere"), "yaml");
    world.write("elsewhere/profiles.yml", "shop: {}\nconfig: {x: 1}");
    world.write("project/dbt_project.yml", "profile: shop\nflags: {x: 1}");
    assert_eq!(
        world.kind("dbt run --profiles-dir ../elsewhere"),
        "config_and_flags"
    );
}

#[test]
fn a_refusal_shows_no_word_that_may_be_a_secret() {
    let refused = World::new()
        .resolve("env PASSWORD=hunter2 dbt run")
        .expect_err("it is refused");
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
}

#[test]
fn retry_must_choose_what_the_previous_run_chose() {
    let world = World::new();
    world.write(
        "project/target/run_results.json",
        r#"{"results": [1], "args": {"which": "run", "target": "prod"}}"#,
    );
    assert_eq!(world.kind("dbt retry"), "retry_differs");
    assert_eq!(
        target(&world.resolve("dbt retry -t prod").expect("they agree")),
        ("prod", "from --target", true)
    );
}

#[test]
fn fusion_is_refused_where_it_may_read_otherwise() {
    let world = World::new();
    assert!(world.resolve("dbtf run -t prod").is_ok());
    for line in [
        "dbtf run -t=prod",
        "dbtf --profiles-dir x run",
        "dbtf run -s -t prod",
    ] {
        assert_eq!(world.kind(line), "unreadable_command", "{line}");
    }
    world.write("project/.env", "DBT_TARGET=prod");
    assert_eq!(world.kind("dbtf run"), "settings_file");
    world.write("project/.env", "A=1");
    world.write("home/.dbt/user_settings.yml", "flags: {target: prod}");
    assert_eq!(
        target(&world.resolve("dbtf run").expect("it is resolved")).0,
        "dev"
    );
    assert_eq!(
        target(&world.resolve("dbt run").expect("it is resolved")).0,
        "prod"
    );
}

#[test]
fn older_dbts_read_neither_dotenv_nor_user_settings() {
    let world = World::new();
    world.write("project/.env", "DBT_TARGET=prod");
    world.write("home/.dbt/user_settings.yml", "flags: {profile: other}");
    for version in ["1.11.16", "1.9.0"] {
        let python = world.path("venv/bin/python");
        let script = format!("#!{}\nfrom dbt.cli.main import cli\n", python.display());
        world.write("venv/bin/dbt", &script);
        world.write("venv/bin/python", "\x7fELF");
        world.write("venv/pyvenv.cfg", "version = 3.11.7\n");
        let packages = "venv/lib/python3.11/site-packages";
        let _ = std::fs::remove_dir_all(world.path(packages));
        world.write(
            &format!("{packages}/dbt_core-{version}.dist-info/METADATA"),
            "",
        );
        let line = format!("{} run", world.path("venv/bin/dbt").display());
        let resolved = world.resolve(&line).expect("it is resolved");
        assert_eq!(resolved.engine.version.as_deref(), Some(version));
        assert_eq!(target(&resolved).0, "dev");
    }
    assert_eq!(world.kind("dbt run"), "unknown_profile");
}

#[test]
fn an_output_comes_as_it_stands_with_its_adapter_and_the_config_block() {
    let world = World::new().with("T", "prod");
    let resolved = world
        .resolve("dbt run --profiles-dir ../elsewhere")
        .expect("it is resolved");
    let profile = resolved.profile.expect("a profile");
    assert_eq!(profile.adapter.as_deref(), Some("postgres"));
    assert!(profile.config.is_some());
    assert_eq!(
        profile
            .output
            .map()
            .and_then(|output| output.get("user")?.text()),
        Some("u")
    );
    assert_eq!(
        profile.file,
        world.path("project/../elsewhere/profiles.yml")
    );
    assert_eq!(
        resolved.project.expect("a project").dir,
        world.path("project")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_command_makes_it_panic(words in prop::collection::vec("(dbt|run|uv|-t|--profile|--vars|--project-dir|\\.\\.|retry|debug|[-={a: }]{0,5}|\\PC{0,6})", 0..7)) {
        let variables = Variables::default();
        let command: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        let _ = resolve(&command, &Selection::default(), &Context { variables: &variables, cwd: Path::new("/") });
    }
}
