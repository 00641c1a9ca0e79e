# One word for each thing that CI does. `just` alone lists them; `just ci` does what CI does, in its order.

# The same place that `./test` uses, so that nothing is built twice.
export CARGO_TARGET_DIR := env("CARGO_TARGET_DIR", env("XDG_CACHE_HOME", home_directory() / ".cache") / "standstill/target")

features := "standstill/failpoints,standstill/cloud,standstill/kubernetes"

default:
    @just --list

# Everything that a change must pass
ci:
    .ci/run

# Formatting, as it should be
fmt:
    cargo fmt --all --check

# Lints, with warnings denied
clippy:
    cargo clippy --locked --workspace --all-targets --features {{features}} -- -D warnings

# The tests, with a sample of the long ones; `just test --full` for all
test *arguments:
    ./test {{arguments}}

# Licences, sources and banned crates of the dependencies
deny:
    cargo deny check bans licenses sources

# The whole story on this machine, with a live writer
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Speed, side by side with the tools that it is compared with
bench *arguments:
    cargo build --release --locked --package standstill
    cargo bench --locked --package standstill-tests --bench speed -- {{arguments}}

# What backups by pods cost beside local ones; `tests/cluster/up` first, and STANDSTILL_KUBECONFIG as it says
bench-cluster:
    cargo build --locked --release --package standstill --features kubernetes,cloud
    strip --strip-debug -o "$CARGO_TARGET_DIR/release/standstill-stripped" "$CARGO_TARGET_DIR/release/standstill"
    STANDSTILL_BIN="$CARGO_TARGET_DIR/release/standstill-stripped" \
      cargo bench --locked --package standstill-tests --bench cluster

# Every mistake in the blueprints that ship
lint:
    cargo run --quiet -- lint blueprints/*/blueprint.yaml

# Build the documentation of the crates, with broken links denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
