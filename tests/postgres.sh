#!/bin/sh
# A throw-away PostgreSQL cluster that listens on a unix socket only, so no port can clash.
#   tests/postgres.sh start DIR    makes the cluster if need be, starts it, prints its URL
#   tests/postgres.sh stop DIR     ends it in order
#   tests/postgres.sh crash DIR    ends it at once, as a crash would
set -eu
action=$1
dir=$2
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
bin=${bin:-$(pg_config --bindir)}

# PostgreSQL refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    as_owner() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
else
    as_owner() { "$@"; }
fi

# The postgres user may not look into the caller's directory.
cd /

case $action in
start)
    if [ ! -d "$dir/data" ]; then
        mkdir -p "$dir"
        [ "$(id -u)" != 0 ] || chown postgres: "$dir"
        as_owner "$bin/initdb" -D "$dir/data" -U lux --auth=trust --encoding=UTF8 \
            --locale=C.UTF-8 --no-sync >/dev/null
    fi
    # Tests kill Lux, never the machine: the disk need not be waited for (FSYNC=on to measure).
    as_owner "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 -o "\
        -c listen_addresses='' -c unix_socket_directories='$dir' -c port=5432 \
        -c max_connections=200 -c fsync=${FSYNC:-off} -c shared_buffers=64MB" start >/dev/null
    echo "postgres://lux@localhost/postgres?host=$dir&port=5432"
    ;;
stop) as_owner "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null ;;
crash) as_owner "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null ;;
*)
    echo "usage: $0 start|stop|crash DIR" >&2
    exit 2
    ;;
esac
