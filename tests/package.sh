#!/usr/bin/env bash
# Installs the Debian package into a clean root and runs Lux from it behind nginx with TLS, both with
# what the package brought. For tests/it/package.rs, inside of `unshare --mount --pid --fork`:
#     package.sh DEB FOLDER PORT PLAIN_PORT TLS_PORT
# FOLDER holds cert.pem and key.pem of lux.example.com; the root is made in it. Prints "ready" once both
# run, ends when its stdin does.
set -euo pipefail
deb=$1 folder=$2 port=$3 plain_port=$4 tls_port=$5
root=$folder/root

# A root with nothing of Lux: the programs of this host, beneath what is written here.
mkdir -p "$folder/tmp" "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir -p "$root"/{usr,etc,dev,proc,run,tmp,root,over,work} "$root"/var/{lib/nginx,log/nginx,tmp}
mount -t overlay -o "lowerdir=/usr,upperdir=$root/over,workdir=$root/work" overlay "$root/usr"
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
cp -r /etc/{ld.so.cache,nsswitch.conf,ssl,login.defs,pam.d,security} "$root/etc/" 2>/dev/null || true
[[ -e $root/etc/login.defs ]]
if [[ -d /etc/alternatives ]]; then cp -a /etc/alternatives "$root/etc/"; fi
mkdir -p "$root/etc/polkit-1/rules.d" "$root/etc/nginx"
cp /etc/nginx/mime.types "$root/etc/nginx/"
printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nadm:x:4:\nwww-data:x:33:\nsystemd-journal:x:101:\n' >"$root/etc/group"
printf 'root:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
chmod 600 "$root/etc/shadow"
# What is installed, so that the package's dependencies are looked at.
cp -r /var/lib/dpkg "$root/var/lib/"

inside() { chroot "$root" "$@"; }
package() { dpkg --root="$root" --force-not-root "$@" >>"$folder/dpkg.log" 2>&1; }
fail() {
    echo "$1" >&2
    tail -n 20 "$folder/dpkg.log" >&2
    exit 1
}
mode() { stat -c '%a %U:%G' "$root$1"; }
inside_mode() { inside stat -c '%a %U:%G' "$1"; }

package --install "$deb" || fail "the package does not install"
[[ $(inside_mode /var/lib/lux) == "700 lux:lux" ]] || fail "/var/lib/lux is $(inside_mode /var/lib/lux)"
[[ $(mode /etc/lux/lux.env) == "600 root:root" ]] || fail "lux.env is $(mode /etc/lux/lux.env)"
[[ $(mode /usr/bin/lux) == "755 root:root" ]] || fail "lux is $(mode /usr/bin/lux)"
groups=" $(inside id -nG lux) "
[[ $groups == *" adm "* && $groups == *" systemd-journal "* ]] || fail "lux is in$groups"
[[ -e $root/usr/lib/systemd/system/lux.service ]] || fail "there is no unit"
systemd-analyze --root="$root" verify lux.service >"$folder/verify.log" 2>&1 || true
if grep -i 'lux.service' "$folder/verify.log" | grep -iv 'man page' >&2; then fail "the unit is not sound"; fi

# What an operator changes stays over an upgrade.
echo '# changed' >>"$root/etc/lux/lux.toml"
package --install "$deb" || fail "the package does not install again"
grep -q '^# changed' "$root/etc/lux/lux.toml" || fail "an upgrade took the operator's settings"

mkdir -p "$root/srv"
: >"$root/srv/app.log"
cat >>"$root/etc/lux/lux.toml" <<TOML
listen = "127.0.0.1:$port"
public_url = "https://lux.example.com"
[[sources]]
name = "app"
path = "/srv/app.log"
TOML
# As the unit does: its user and groups, its directory, and nothing else of this environment.
lux() {
    inside setpriv --reuid lux --regid lux --init-groups \
        env -i PATH=/usr/bin:/bin HOME=/var/lib/lux sh -c 'cd / && umask 077 && exec lux "$@"' lux "$@"
}
lux serve --config /etc/lux/lux.toml >"$folder/lux.out" 2>"$folder/lux.err" </dev/null &
for ((try = 0; try < 600; try++)); do
    grep -q listening "$folder/lux.out" && break
    sleep 0.1
done
lux token create --role admin --name test >"$folder/token"
lux doctor --json >"$folder/doctor.json" || true

# nginx with the site as it is delivered; only its ports and those of Lux are this test's.
live=$root/etc/letsencrypt/live/lux.example.com
mkdir -p "$live"
cp "$folder/cert.pem" "$live/fullchain.pem"
install -m 600 "$folder/key.pem" "$live/privkey.pem"
sed -e "s/127\.0\.0\.1:5000/127.0.0.1:$port/; s/listen 80;/listen 127.0.0.1:$plain_port;/" \
    -e "s/listen 443 ssl/listen 127.0.0.1:$tls_port ssl/" \
    "$root/usr/share/doc/lux/nginx.conf" >"$root/etc/nginx/lux.conf"
cat >"$root/etc/nginx/nginx.conf" <<'NGINX'
daemon off;
user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log /var/log/nginx/access.log;
    include /etc/nginx/lux.conf;
}
NGINX
inside nginx -c /etc/nginx/nginx.conf &
for ((try = 0; try < 300; try++)); do
    if (: <>"/dev/tcp/127.0.0.1/$tls_port") 2>/dev/null; then break; fi
    sleep 0.1
done
echo ready
# What the test appends to the application's log comes this way.
while IFS= read -r line; do
    case $line in
    log\ *) echo "${line#log }" >>"$root/srv/app.log" ;;
    modes) inside find /var/lib/lux -printf '%m %u %f\n' >"$folder/modes" && echo done ;;
    purge)
        kill %1 && wait %1 || true
        package --purge lux || fail "the package does not purge"
        [[ ! -e $root/usr/bin/lux && ! -e $root/etc/lux/lux.toml ]] || fail "something stays after a purge"
        [[ -e $root/var/lib/lux/lux.db ]] || fail "a purge takes the database"
        echo done
        ;;
    esac
done
