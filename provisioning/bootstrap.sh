#!/bin/sh
# Sets up what `make run` and `make test` need, once, and says what it does.
#
#   provisioning/bootstrap.sh run|bench|test
#
# System packages come from apt, with sudo when not root; Python packages go into an environment in
# .venvs, exactly as requirements.lock says (for "run" provisioning/run.lock, the part
# of it that the demonstration needs), and .venv is a link to it. A new one is made beside the old one, which stays
# until the next, so that what runs goes on. When nothing is missing it does nothing, needs no
# network, and takes a moment.
set -eu
cd "$(dirname "$0")/.."

goal=${1:-run}
venv=.venv
python=${PYTHON:-python3}

say() { printf '%s\n' "bootstrap: $*" >&2; }
fail() { say "$*"; exit 1; }

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 or newer is needed (PYTHON=... names one)"

on_a_pi() { grep -qa 'Raspberry Pi' /proc/device-tree/model 2>/dev/null; }
has_library() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p 2>/dev/null | grep -q "$1"; }

# Each: what it is for, the package, and a test that says whether it is there.
missing=
need() {
    say "needs $1: $2"
    missing="$missing $1"
}
"$python" -c 'import ensurepip' 2>/dev/null || need python3-venv "to make the project's own environment"
has_library libzbar.so.0 || need libzbar0 "the second reader of codes"
if on_a_pi; then
    "$python" -c 'import picamera2' 2>/dev/null || need python3-picamera2 "the Pi camera"
    "$python" -c 'import lgpio' 2>/dev/null || need python3-lgpio "the Pi's pins"
fi
if [ "$goal" = test ]; then
    [ -f /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || need fonts-dejavu-core "letters for printed reports"
    command -v ip >/dev/null || [ -x /usr/sbin/ip ] || need iproute2 "networks of their own for the services under test"
    command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || need debootstrap "a Debian 13 in which the Pi's camera software is tested"
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || need mosquitto "a second kind of broker to test with"
    command -v espeak-ng >/dev/null || need espeak-ng "the sentences of a unit with a loudspeaker"
    command -v gpsd >/dev/null || [ -x /usr/sbin/gpsd ] || need gpsd "a GPS receiver's daemon to test with"
    if [ "$(id -u)" -eq 0 ]; then
        command -v systemd-nspawn >/dev/null || need systemd-container "a Debian of its own to boot units in"
        command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || need debootstrap "making that Debian"
    fi
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || need chromium "a real browser to test the pages with"
fi

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "this machine has no apt-get; install these by hand:$missing"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "neither root nor sudo; as root: apt-get install$missing"
        sudo=sudo
    fi
    say "installing with apt-get:$missing"
    $sudo apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    case "$missing" in *mosquitto*)
        # Only its program is wanted; a broker that listens for everyone is not ours to start.
        if [ -d /run/systemd/system ]; then
            say "mosquitto was installed for the tests; its service is switched off"
            $sudo systemctl disable --now mosquitto >/dev/null 2>&1 || true
        fi ;;
    esac
    case "$missing" in *gpsd*)
        if [ -d /run/systemd/system ]; then
            say "gpsd was installed for the tests; its service is switched off"
            $sudo systemctl disable --now gpsd.socket gpsd.service >/dev/null 2>&1 || true
        fi ;;
    esac
fi

# The environment belongs to its lock files and one Python; one for the tests serves to run as well.
state="$(cat requirements.lock provisioning/run.lock pyproject.toml provisioning/bootstrap.sh | cksum) $("$python" -c 'import sys; print(sys.version)')"
for had in "$goal" bench test; do
    if [ "$(cat $venv/.bootstrapped 2>/dev/null)" = "$state $had" ]; then
        exit 0
    fi
done
case $goal in run) lock=provisioning/run.lock ;; *) lock=requirements.lock ;; esac
name=$(printf '%s' "$state $goal" | cksum | tr -d ' ')
new=.venvs/$name
say "making $venv from $lock"
mkdir -p .venvs
rm -rf "$new"
if on_a_pi; then
    # picamera2 and lgpio come from the system, and with them the numpy that they were built for.
    "$python" -m venv --system-site-packages "$new"
    awk '/^[^ ]/ { skip = /^numpy==/ } !skip' $lock >"$new/requirements.lock"
else
    "$python" -m venv "$new"
    cp $lock "$new/requirements.lock"
fi
install() { "$new/bin/python" -m pip install -q --disable-pip-version-check --no-deps "$@"; }
# What comes as source alone is built by this very setuptools, and not by one that pip fetches.
awk '/^[^ ]/ { take = /^setuptools==/ } take' "$new/requirements.lock" >"$new/setuptools.lock"
install --require-hashes -r "$new/setuptools.lock"
install --require-hashes --no-build-isolation --use-pep517 -r "$new/requirements.lock"
install --no-build-isolation --editable .
printf '%s\n' "$state $goal" >"$new/.bootstrapped"
# One of before there were .venvs is moved there; its programs know it by its old name alone.
if [ -d $venv ] && [ ! -L $venv ]; then
    rm -rf .venvs/former
    mv $venv .venvs/former
fi
former=$(readlink $venv || true)
ln -sfn "$new" $venv.new
mv -T $venv.new $venv
for old in .venvs/*; do
    [ "$old" = "$new" ] || [ "$old" = "$former" ] || [ -z "$former" ] || rm -rf "$old"
done
say "done"
