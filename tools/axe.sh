#!/usr/bin/env bash
# Puts axe-core, which finds faults of accessibility in a page, into bin/. Tests alone use it.
# Usage: axe.sh FILE
set -euo pipefail
version=4.14.1
# Of the package as its author published it, by the registry's own field dist.integrity.
sha512=FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==

command -v npm >/dev/null || { echo "axe: npm is not installed: apt-get install npm" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm pack --silent --pack-destination "$folder" "axe-core@$version" >/dev/null
package=$folder/axe-core-$version.tgz
found=$(openssl dgst -sha512 -binary "$package" | base64 -w0)
if [ "$found" != "$sha512" ]; then
  echo "axe: the package axe-core $version has the SHA-512 $found, want $sha512" >&2
  exit 1
fi
tar -xzf "$package" -C "$folder" package/axe.min.js
mv "$folder/package/axe.min.js" "$1"
touch "$1"
