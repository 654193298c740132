# Everyday commands; `just` lists them.

_default:
    @just --list --unsorted

# run the service on this machine, with its data in ./.lux
serve *args:
    cargo run --release -- serve {{ args }}

# the tour: recorded faults and a broken shop
demo:
    cargo run --release -- demo

# the same shop, repaired by you in a browser
hands-on:
    cargo run --release -- demo --hands-on

# all tests (installs what they need)
test *args:
    bash tests/run.sh {{ args }}

# the share of lines that tests run, by module (minutes; LLVM's tools)
coverage *args:
    bash tests/coverage.sh {{ args }}

# what a change must pass
ci:
    bash .ci/run

# format and lint as CI does
lint:
    cargo fmt
    cargo clippy --all-targets -- -D warnings

# measure the service: rates, latencies, memory (minutes)
bench *args:
    cargo build --release
    python3 benches/service.py {{ args }}

# the verdict matrix: real faults switched on and off on a real host (minutes)
matrix:
    bash tests/run.sh --no-capture -E 'test(/^matrix/)'

# what may come into the tree, with the advisories of today (needs the network)
deny:
    cargo deny --locked check

# install.sh and the unit under a systemd that runs (root, debootstrap, systemd-nspawn; minutes)
systemd:
    cargo build --release
    bash tests/systemd.sh
