#!/bin/sh
# Made by edge-provision. Installs, without a network, the packages that lie beside it on the boot
# partition of a stock Raspberry Pi OS card (Bookworm or Trixie), then lets the machine start as usual.
# The kernel's command line names it (systemd.run=), which systemd itself understands, so that neither
# firstrun.sh nor cloud-init nor anybody's version of them is needed. Whenever the power is cut, the
# next start does it again from the beginning.
set -u
ours=$(dirname "$(readlink -f "$0")")
boot=$(dirname "$ours")
command_line=$boot/cmdline.txt
result=$ours/result.txt

light() {
    for led in /sys/class/leds/ACT /sys/class/leds/led0; do
        [ -w "$led/trigger" ] && echo "$1" >"$led/trigger"
    done
    return 0
}
tell() { printf '%s\r\n' "$@" >"$result.new" && mv "$result.new" "$result"; sync; }
fail() {
    light timer
    tell "KHÔNG CÀI ĐẶT ĐƯỢC / NOT SET UP" "$1" ""
    tail -n 20 "$ours/install.log" >>"$result" 2>/dev/null
    sync
    echo "edge-scanner: $1" >&2
    exit 1
}

light heartbeat
if [ -d "$ours/packages" ]; then
    cd "$ours/packages" || fail "cannot open $ours/packages"
    sha256sum -c --quiet SHA256SUMS >"$ours/install.log" 2>&1 ||
        fail "thẻ bị hỏng, hãy ghi lại thẻ / the card is damaged; write it again"
    # What the power cut short the last time.
    dpkg --configure -a >>"$ours/install.log" 2>&1
    DEBIAN_FRONTEND=noninteractive dpkg -i --refuse-downgrade --skip-same-version ./*.deb \
        >>"$ours/install.log" 2>&1 </dev/null ||
        fail "không cài được gói phần mềm / a package cannot be installed; see below"
fi
dpkg-query -W -f '${Status}' edge-scanner 2>/dev/null | grep -q 'install ok installed' ||
    fail "không có phần mềm edge-scanner / edge-scanner is not installed; write the card with --packages"

# The package of what is installed is what an update goes back to.
for package in "$ours"/packages/edge-scanner_*.deb; do
    [ -f "$package" ] && install -D -m 644 "$package" "/var/lib/edge-update/held/${package##*/}"
done

# From here on the machine starts as it would have, with what stood in the command line before.
words=$(tr -d '\n' <"$command_line" | sed -E \
    -e "s# systemd\.run=[^ ]*/edge-scanner/first-boot( |\$)#\1#" \
    -e 's# systemd\.run_success_action=reboot##' \
    -e 's# systemd\.run_failure_action=none##' \
    -e 's# systemd\.unit=kernel-command-line\.target##')
[ -s "$ours/cmdline.former" ] && words="$words $(cat "$ours/cmdline.former")"
printf '%s\n' "$words" >"$command_line.new" || fail "cannot write $command_line"
sync
mv "$command_line.new" "$command_line"
sync
rm -rf "$ours/packages" "$ours/cmdline.former" "$ours/install.log" "$ours/first-boot"
tell "ĐÃ CÀI PHẦN MỀM, đang khởi động lại / INSTALLED, starting again"
exit 0
