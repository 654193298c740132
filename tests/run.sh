#!/usr/bin/env bash
# Runs all tests. Installs by apt, pip and npm what they drive for real (PostgreSQL, nginx, gunicorn
# with Flask, journald's tools, logrotate, SDKs, Chromium, an OpenID provider), starts a PostgreSQL cluster of its own, and stops it
# at the end. Arguments go to the test runner: `bash tests/run.sh -E 'test(contract)'`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"

# file or command that must be there -> Debian package that brings it
missing=()
need() {
    local package=$1
    shift
    local found
    for found in "$@"; do
        if [[ $found == /* ]]; then
            compgen -G "$found" >/dev/null && return
        else
            command -v "$found" >/dev/null && return
        fi
    done
    missing+=("$package")
}
need postgresql '/usr/lib/postgresql/*/bin/initdb' pg_config
need nginx-light nginx
need logrotate logrotate
need systemd journalctl
need systemd-journal-remote /lib/systemd/systemd-journal-remote
need faketime '/usr/lib/*/faketime/libfaketime.so.1'
need util-linux setpriv unshare
need binutils strip
need procps ps
need polkitd pkcheck
need dbus-daemon dbus-daemon
need dbus-bin dbus-send
need openssh-client ssh-keygen
need nodejs node
need npm npm
need chromium-headless-shell chromium-headless-shell
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if ((${#missing[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "the tests need these Debian packages (or their like): ${missing[*]}" >&2
        exit 2
    fi
    echo "installing ${missing[*]}"
    as_root=()
    [[ $(id -u) == 0 ]] || as_root=(sudo)
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# The small faulty application runs on gunicorn and Flask as they are in the field; Lux's own
# interfaces are driven by the clients that people use.
target=${CARGO_TARGET_DIR:-target}
venv=$target/test-venv
requirements=(tests/shop/requirements.txt tests/clients/requirements.txt tests/sdk/requirements.txt
    tests/mail/requirements.txt tests/providers/requirements.txt deploy/release/requirements.txt)
wanted=$(cat "${requirements[@]}")
if [[ $wanted != "$(cat "$venv/installed.txt" 2>/dev/null)" ]]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]/#/--requirement=}"
    printf '%s\n' "$wanted" >"$venv/installed.txt"
fi
LUX_TEST_VENV=$(realpath "$venv")
export LUX_TEST_VENV

# The SDKs of Node and of browsers, with what they run in.
node=$target/test-node
if ! cmp -s tests/sdk/package-lock.json "$node/installed.json"; then
    mkdir -p "$node"
    cp tests/sdk/package.json tests/sdk/package-lock.json "$node/"
    # A bundler's and a browser's driver need no scripts; nothing of a registry is run here.
    npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/sdk/package-lock.json "$node/installed.json"
fi
LUX_TEST_NODE=$(realpath "$node")
export LUX_TEST_NODE

# The OpenID provider that people sign in with.
oidc=$target/test-oidc
if ! cmp -s tests/oidc/package-lock.json "$oidc/installed.json"; then
    mkdir -p "$oidc"
    cp tests/oidc/package.json tests/oidc/package-lock.json "$oidc/"
    npm ci --prefix "$oidc" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/oidc/package-lock.json "$oidc/installed.json"
fi
LUX_TEST_OIDC=$(realpath "$oidc")
export LUX_TEST_OIDC

# The browser's driver and the accessibility checker for the pages.
browser=$target/test-browser
if ! cmp -s tests/browser/package-lock.json "$browser/installed.json"; then
    mkdir -p "$browser"
    cp tests/browser/package.json tests/browser/package-lock.json "$browser/"
    npm ci --prefix "$browser" --ignore-scripts --no-audit --no-fund --loglevel=error
    cp tests/browser/package-lock.json "$browser/installed.json"
fi
LUX_TEST_BROWSER=$(realpath "$browser")
export LUX_TEST_BROWSER

# What makes the Debian package; its build takes a minute, once.
if [[ ! -x $target/test-cargo/bin/cargo-deb ]]; then
    cargo install --quiet --locked --version 3.8.0 --root "$target/test-cargo" cargo-deb
fi
LUX_TEST_CARGO_DEB=$(realpath "$target/test-cargo/bin/cargo-deb")
export LUX_TEST_CARGO_DEB

scratch=$(mktemp -d /tmp/lux-tests.XXXXXX)
chmod 755 "$scratch"
stop() {
    sh tests/postgres.sh stop "$scratch/postgres" || true
    rm -rf "$scratch"
}
trap stop EXIT
LUX_TEST_POSTGRES=$(sh tests/postgres.sh start "$scratch/postgres")
export LUX_TEST_POSTGRES

# From here on, a test that lacks something fails instead of being skipped.
export LUX_TEST_REQUIRE=1

if command -v cargo-nextest >/dev/null; then
    cargo nextest run --locked "$@"
else
    cargo test --locked "$@"
fi
