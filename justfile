# The steps of .ci/run by name. `just` shows them.

[private]
default:
    @just --list

# Everything that a change must pass.
ci:
    .ci/run

# Formats the sources.
fmt:
    cargo fmt

# Checks the format.
fmt-check:
    cargo fmt --check

# Checks the lints; warnings are errors.
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Runs the tests, those of the SDKs only where `just sdk` made their environment.
test *args:
    [ ! -x target/sdk/bin/python ] || export HERMUX_TEST_PYTHON="$PWD/target/sdk/bin/python"; cargo test --locked {{ args }}

# Installs the SDKs of OpenAI and Anthropic for the tests.
sdk:
    python3 -m venv target/sdk
    target/sdk/bin/pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt -r tests/readme/requirements.txt

# Builds the docs; warnings are errors.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Checks licences, sources and advisories of the dependencies.
deny:
    cargo deny check

# Measures what the proxy costs, beside nginx where it is installed.
bench *args:
    cargo bench --bench cost -- {{ args }}

# Plays the pool's promises against the simulator; takes minutes.
pool *args:
    cargo bench --bench pool -- {{ args }}

# Measures what ten million requests cost the ledger, and what reading a month of them takes.
ledger *args:
    cargo bench --bench ledger -- {{ args }}

# The tests that take minutes: twenty kills under load, ten thousand mixed requests.
slow:
    cargo test --locked --release --test books -- --ignored --test-threads 1

# Shows the main job on sample keys.
demo:
    cargo run --release -- demo
