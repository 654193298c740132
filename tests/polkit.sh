#!/bin/bash
# Asks a real polkitd what the rule of deploy/ allows. Run as root in mounts of its own:
#
#     unshare --mount bash tests/polkit.sh RULES SCRATCH <questions
#
# RULES takes the place of /etc/polkit-1/rules.d/50-lux.rules, and there is a user `lux`, in
# this run only. A question is "USER|ACTION|UNIT|VERB"; the answer is "yes", "no" or "ask"
# (polkit would ask for a password), a line each.
set -euo pipefail
rules=$1
scratch=$2
chmod 755 "$scratch"
mkdir "$scratch/rules.d"
install -m 644 "$rules" "$scratch/rules.d/50-lux.rules"
sed '/^lux:/d' /etc/passwd >"$scratch/passwd"
echo 'lux:x:64998:65534:Lux:/nonexistent:/usr/sbin/nologin' >>"$scratch/passwd"
chmod 644 "$scratch/passwd"
mount --make-rprivate /
mount --bind "$scratch/rules.d" /etc/polkit-1/rules.d
mount --bind "$scratch/passwd" /etc/passwd

cat >"$scratch/bus.conf" <<TEXT
<busconfig>
  <type>system</type>
  <listen>unix:path=$scratch/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
TEXT
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$scratch/bus
children=()
trap 'kill "${children[@]}" 2>/dev/null || true' EXIT
dbus-daemon --config-file="$scratch/bus.conf" --nofork --nopidfile 2>"$scratch/bus.log" &
children+=($!)
for polkitd in /usr/lib/polkit-1/polkitd /usr/libexec/polkitd /usr/lib/policykit-1/polkitd; do
    if [[ -x $polkitd ]]; then break; fi
done

wait_for() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "waited too long: $*" >&2
    cat "$scratch"/*.log >&2
    exit 1
}
wait_for test -S "$scratch/bus"
"$polkitd" --no-debug >"$scratch/polkit.log" 2>&1 &
children+=($!)
wait_for dbus-send --system --print-reply --dest=org.freedesktop.PolicyKit1 \
    /org/freedesktop/PolicyKit1/Authority org.freedesktop.DBus.Peer.Ping

declare -A process
as_user() {
    setpriv --reuid="$1" --regid=65534 --clear-groups sleep 600 &
    children+=($!)
    process[$1]=$!
    wait_for grep -q sleep "/proc/$!/comm"
}

while IFS='|' read -r user action unit verb; do
    [[ -n ${process[$user]:-} ]] || as_user "$user"
    code=0
    pkcheck --action-id "$action" --detail unit "$unit" --detail verb "$verb" \
        --process "${process[$user]}" >/dev/null 2>&1 || code=$?
    case $code in
    0) echo yes ;;
    1) echo no ;;
    2 | 3) echo ask ;;
    *) echo "error $code" ;;
    esac
done
