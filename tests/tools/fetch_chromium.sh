#!/bin/sh
# Put a headless Chromium into a folder, for the tests of the pages in tests/web.
#   tests/tools/fetch_chromium.sh DIR      then: JOBGATE_CHROMIUM=DIR/chromium
# Looks for one that is installed first; else it takes the one in the npm package
# @sparticuz/chromium, of one version, whose archive has to have the SHA-256 below.
# Does nothing when it is there already.
set -eu

directory=${1:?usage: fetch_chromium.sh DIR}
version=147.0.0
sha256=18fe5404ce845594cd7d592fc07f37a19514079ba4d9c27192ad8b908743f16b

if [ -x "$directory/chromium" ]; then
    exit 0
fi
mkdir -p "$directory"
for installed in chromium chromium-browser google-chrome; do
    if command -v "$installed" >/dev/null; then
        ln -sf "$(command -v "$installed")" "$directory/chromium"
        exit 0
    fi
done
for tool in npm node tar sha256sum; do
    if ! command -v "$tool" >/dev/null; then
        echo "fetch_chromium.sh: needs $tool; or install Chromium yourself and put its path into" \
            "JOBGATE_CHROMIUM" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "@sparticuz/chromium@$version" >/dev/null)
echo "$sha256  $work/sparticuz-chromium-$version.tgz" | sha256sum --check --quiet
tar --extract --gzip --file "$work/sparticuz-chromium-$version.tgz" --directory "$work"
cat >"$work/unpack.js" <<'EOF'
// Each .br file of the package is one file or one tar archive, compressed.
const { createReadStream, createWriteStream } = require("node:fs");
const { pipeline } = require("node:stream/promises");
const { createBrotliDecompress } = require("node:zlib");
const [from, to] = process.argv.slice(2);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
EOF
bin="$work/package/bin"
node "$work/unpack.js" "$bin/chromium.br" "$work/chromium"
for archive in al2023 swiftshader fonts; do
    node "$work/unpack.js" "$bin/$archive.tar.br" "$work/$archive.tar"
    mkdir -p "$work/$archive"
    tar --extract --file "$work/$archive.tar" --directory "$work/$archive"
done
find "$work/swiftshader" -type f -exec mv {} "$directory/" \;
mkdir -p "$directory/lib"
find "$work/al2023" -name '*.so*' -exec mv {} "$directory/lib/" \;
mv "$work/fonts" "$directory/"
chmod 755 "$work/chromium"
mv "$work/chromium" "$directory/chromium"
