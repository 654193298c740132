#!/usr/bin/env bash
# Makes what is published of a version: the Debian package, its bill of materials (CycloneDX), the
# sums of both, and a signature of the sums.
#
#   bash deploy/release/release.sh FOLDER KEY
#
# FOLDER is made; a package that lies in it is taken as it is. KEY is the private half of an SSH key
# (`ssh-keygen -t ed25519`), which stays with whoever releases. Who downloads it all checks it with
# the public half, published elsewhere, in a file `signers` ("lux ssh-ed25519 AAAA…"):
#
#   ssh-keygen -Y verify -f signers -I lux -n lux-release -s SHA256SUMS.sig <SHA256SUMS
#   sha256sum --check SHA256SUMS
set -euo pipefail
if (($# != 2)); then
    echo "usage: bash deploy/release/release.sh FOLDER KEY" >&2
    exit 2
fi
folder=$(realpath -m "$1")
key=$(realpath -e "$2") || {
    echo "there is no key $2; make one with: ssh-keygen -t ed25519 -f $2" >&2
    exit 2
}
cd "$(dirname "$0")/../.."
mkdir -p "$folder"

if ! compgen -G "$folder/lux_*.deb" >/dev/null; then
    cargo deb --locked --output "$folder"
fi

# The generator lives in a virtual environment of its own, unless somebody names one.
python=${LUX_RELEASE_PYTHON:-}
if [[ -z $python ]]; then
    venv=${CARGO_TARGET_DIR:-target}/release-venv
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r deploy/release/requirements.txt
    python=$venv/bin/python
fi
"$python" deploy/release/sbom.py >"$folder/lux.cdx.json"

cd "$folder"
sha256sum lux_*.deb lux.cdx.json >SHA256SUMS
rm -f SHA256SUMS.sig
ssh-keygen -q -Y sign -f "$key" -n lux-release SHA256SUMS
ls -l
