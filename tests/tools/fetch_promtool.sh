#!/bin/sh
# Put Prometheus and promtool into a folder, for the tests of dashboards/prometheus.
#   tests/tools/fetch_promtool.sh DIR      then: JOBGATE_PROMTOOL=DIR/promtool
# They come from the Debian package, verified by apt; no root is needed and nothing is installed.
# Does nothing when they are there already.
set -eu

directory=${1:?usage: fetch_promtool.sh DIR}
if [ -x "$directory/promtool" ] && [ -x "$directory/prometheus" ]; then
    exit 0
fi
for tool in apt-get dpkg-deb; do
    if ! command -v "$tool" >/dev/null; then
        echo "fetch_promtool.sh: needs $tool (Debian, Ubuntu); elsewhere install Prometheus yourself" \
            "and put promtool on PATH or its path into JOBGATE_PROMTOOL" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
# A fresh machine does not know its packages yet; to ask for their list needs root.
apt-get download -q prometheus >&2 || { apt-get update -q >&2 && apt-get download -q prometheus >&2; }
dpkg-deb --extract prometheus_*.deb extracted
cd - >/dev/null
mkdir -p "$directory"
mv "$work/extracted/usr/bin/prometheus" "$work/extracted/usr/bin/promtool" "$directory/"
"$directory/promtool" --version | head -n 1
