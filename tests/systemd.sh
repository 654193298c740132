#!/usr/bin/env bash
# Installs Lux on a Debian with a running systemd of its own, and sees that the unit works there: started,
# killed, journal read, units restarted through polkit, stopped. Needs root, debootstrap, systemd-nspawn and a
# network; takes minutes, most of them for the tree, which is kept: `bash tests/systemd.sh PROGRAM FOLDER`.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "${1:-target/release/lux}")
folder=${2:-/var/tmp/lux-systemd}
tree=$folder/tree

if [[ ! -e $folder/made ]]; then
    mkdir -p "$folder"
    rm -rf "$tree"
    # polkitd's dependencies are more than debootstrap can resolve.
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,curl bookworm "$tree"
    chroot "$tree" sh -c 'apt-get update -qq && apt-get install -y --no-install-recommends polkitd'
    touch "$folder/made"
fi
install -m 755 "$program" "$tree/usr/local/bin/lux"
rm -rf "$tree"/{opt/lux,etc/lux,var/lib/lux,etc/polkit-1/rules.d/50-lux.rules}
mkdir -p "$tree/opt/lux"
cp -r deploy "$tree/opt/lux/"
: >"$tree/etc/machine-id"

# Neither the host's first process nor its cgroups need be systemd's.
systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$tree" --boot \
    >"$folder/console.log" 2>&1 </dev/null &
nspawn=$!
# shellcheck disable=SC2317 # called by the trap
stop() {
    [[ -z ${init:-} ]] || kill -s RTMIN+4 "$init" || true
    wait "$nspawn" || true
}
trap stop EXIT
await() { # what, command …
    local what=$1 try
    shift
    for ((try = 0; try < 300; try++)); do
        if "$@"; then return; fi
        sleep 0.1
    done
    echo "waited too long until $what; see $folder/console.log" >&2
    exit 1
}
# shellcheck disable=SC2317 # called by await
booted() { init=$(pgrep --parent "$nspawn" | head -n 1) && [[ -n $init ]]; }
await "it boots" booted
inside() { nsenter --target "$init" --all sh -c "$1"; }
await "systemd is up" inside 'systemctl is-system-running 2>/dev/null | grep -Eq "running|degraded"'

failed=0
check() { # what, command inside
    if inside "$2" >"$folder/said" 2>&1; then
        echo "ok     $1"
    else
        echo "FAILED $1"
        sed 's/^/       /' "$folder/said"
        failed=1
    fi
}
ask() { # path and curl's options
    echo "curl -sf -m 20 -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' http://127.0.0.1:5000$1"
}

check "install.sh" 'sh /opt/lux/deploy/install.sh'
check "the unit is sound" 'systemd-analyze verify lux.service'
check "doctor finds no fault" 'runuser -u lux -- lux doctor --config /etc/lux/lux.toml'
check "it starts and says so" 'systemctl start lux && systemctl is-active lux'
check "it is ready" 'curl -sf -m 5 http://127.0.0.1:5000/readyz'
token=$(inside 'runuser -u lux -- lux token create --config /etc/lux/lux.toml --role admin --name test' |
    grep -o 'lux_[A-Za-z0-9_-]*' | head -n 1)

cat >"$tree/etc/systemd/system/shop.service" <<'UNIT'
[Service]
ExecStart=sh -c 'echo "ModuleNotFoundError: No module named \'flask\'"; exit 3'
UNIT
check "a unit fails" 'systemctl daemon-reload; systemctl start shop; sleep 1; systemctl is-failed shop'
# shellcheck disable=SC2016 # for the shell inside
check "the journal is read, the cause named" "for _ in 1 2 3 4 5 6 7 8 9 10; do
    $(ask /chatbot/send) -d '{\"message\": \"what is wrong?\", \"diagnose\": true}' | tee /dev/stderr |
        grep -q '\"cause\":\"missing_python_module\"' && exit; sleep 0.5; done; exit 1"

check "an error is stored" "$(ask /api/errors) -d '{\"error_type\": \"KeyError\", \"error_message\": \"price\"}'"
# shellcheck disable=SC2016 # for the shell inside
check "it comes back after a kill" 'kill -9 "$(systemctl show lux -p MainPID --value)"
    for _ in $(seq 50); do curl -sf -m 5 http://127.0.0.1:5000/readyz && exit; sleep 0.2; done; exit 1'
check "the error is still there" "$(ask /api/diagnostics/errors) | grep KeyError"

cat >"$tree/etc/systemd/system/shop.service" <<'UNIT'
[Service]
ExecStart=sleep infinity
UNIT
lux='runuser -u lux -- systemctl --no-ask-password'
check "a unit runs" 'systemctl daemon-reload && systemctl restart shop'
check "lux may not restart it" "! $lux restart shop"
check "named in the rule, it may" \
    "sed -i 's|// \[\"shop.service\", \"restart\"\],|[\"shop.service\", \"restart\"],|' /etc/polkit-1/rules.d/50-lux.rules
     for _ in \$(seq 30); do $lux restart shop && exit; sleep 0.2; done; exit 1"
check "but not stop it" "! $lux stop shop"
check "installed again, the rule stays" \
    "sh /opt/lux/deploy/install.sh && grep -q '^ *\[\"shop.service\"' /etc/polkit-1/rules.d/50-lux.rules"
check "it ends when asked" 'systemctl stop lux; systemctl show lux -p Result,ActiveState | sort |
    tee /dev/stderr | tr "\n" " " | grep -q "ActiveState=inactive Result=success"'
exit "$failed"
