#!/bin/sh
# Makes Lux a service of this host: a user that may read logs, the unit, a configuration.
# Run as root, after `install -m 755 target/release/lux /usr/local/bin/`. May be run again:
# what an operator changed in /etc/lux stays.
set -eu
cd "$(dirname "$0")"

if [ "$(id -u)" != 0 ]; then
    echo "run this as root: sudo bash deploy/install.sh" >&2
    exit 1
fi
if [ ! -x /usr/local/bin/lux ]; then
    echo "there is no /usr/local/bin/lux yet; cargo build --release, then" >&2
    echo "install -m 755 target/release/lux /usr/local/bin/" >&2
    exit 1
fi

if ! id lux >/dev/null 2>&1; then
    useradd --system --user-group --home-dir /var/lib/lux --no-create-home \
        --shell /usr/sbin/nologin lux
fi
for group in adm systemd-journal; do
    if getent group "$group" >/dev/null; then
        usermod --append --groups "$group" lux
    fi
done

install -d -m 755 /etc/lux
install -d -m 700 -o lux -g lux /var/lib/lux
install -m 644 lux.example.toml /etc/lux/lux.example.toml
if [ ! -e /etc/lux/lux.toml ]; then
    install -m 644 lux.toml /etc/lux/lux.toml
fi
[ -e /etc/lux/lux.env ] || install -m 600 lux.env.example /etc/lux/lux.env
install -m 644 lux.service /etc/systemd/system/lux.service

# Which units Lux may restart or reload: none, until one is named in it.
if [ -d /etc/polkit-1/rules.d ]; then
    [ -e /etc/polkit-1/rules.d/50-lux.rules ] ||
        install -m 644 50-lux.rules /etc/polkit-1/rules.d/50-lux.rules
else
    install -m 644 50-lux.rules /etc/lux/50-lux.rules
    echo "there is no polkit here; its rule waits in /etc/lux/50-lux.rules"
fi

# A host whose first process is not systemd (a container) still gets the files.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable lux.service
fi

cat <<'TEXT'
Lux is installed. Next:
  1. name your application and its logs:   $EDITOR /etc/lux/lux.toml
  2. check the set-up:                     runuser -u lux -- lux doctor --config /etc/lux/lux.toml
  3. start it:                             systemctl start lux
  4. to let it restart a unit, name it in: $EDITOR /etc/polkit-1/rules.d/50-lux.rules
     and in [[actions]] of lux.toml (off until both say so)
  5. ask:                                  runuser -u lux -- lux chat --config /etc/lux/lux.toml
The first start prints an admin token into the journal once: journalctl -u lux
TEXT
