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

# The main job on real parts, on one screen.
demo *ARGS:
    cargo demo {{ ARGS }}

# What a run costs, beside a shell script with curl. Builds the release binary: two minutes, once.
bench:
    cargo run --package dbt-lease-sandbox --bin bench

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
