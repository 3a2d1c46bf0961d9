#!/usr/bin/env bash
# Is the served Socket.IO client what npm has? Fetches the pinned version with `npm pack` and compares byte by byte.
#
#   tests/assets/check.sh                     fail when a vendored file differs, is missing, or is not of the package
#   tests/assets/check.sh --update            restore the pinned version's files
#   tests/assets/check.sh --update 4.8.5      move the pin, then the files
#
# The pin is the "Version:" line of the vendored README.md. Exit: 0 same, 1 differs, 2 usage or npm failed.
set -euo pipefail

cd "$(dirname "$0")/../.."
vendored=crates/tidings/assets/socket.io-client
package=socket.io-client
builds=(socket.io.js socket.io.min.js socket.io.esm.min.js socket.io.msgpack.min.js)

pinned=$(sed -n 's/^- Version: \([0-9][0-9A-Za-z.+-]*\)$/\1/p' "$vendored/README.md")
if [[ -z $pinned ]]; then
  echo "no '- Version: x.y.z' line in $vendored/README.md" >&2
  exit 2
fi

update=false
case "${1-}" in
  '') ;;
  --update)
    update=true
    wanted=${2-$pinned}
    ;;
  *)
    echo "usage: $0 [--update [version]]" >&2
    exit 2
    ;;
esac
$update || wanted=$pinned
if [[ ! $wanted =~ ^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$ ]]; then
  echo "not an exact version: $wanted" >&2
  exit 2
fi

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
# npm itself checks the tarball against the registry's integrity hash.
if ! (cd "$temp" && npm pack --silent "$package@$wanted" >/dev/null && tar -xzf ./*.tgz); then
  echo "could not fetch $package@$wanted with npm pack" >&2
  exit 2
fi

# Vendored name -> file in the package.
declare -A source_of=([LICENSE]=LICENSE)
for build in "${builds[@]}"; do
  source_of[$build]=dist/$build
  source_of[$build.map]=dist/$build.map
done

if $update; then
  for name in "${!source_of[@]}"; do
    install -m 644 "$temp/package/${source_of[$name]}" "$vendored/$name"
  done
  sed -i.bak "s/^- Version: .*/- Version: $wanted/" "$vendored/README.md"
  rm "$vendored/README.md.bak"
fi

failed=0
for name in "${!source_of[@]}"; do
  if ! cmp -s "$temp/package/${source_of[$name]}" "$vendored/$name"; then
    echo "differs from $package@$wanted: $vendored/$name" >&2
    failed=1
  fi
done
for path in "$vendored"/*; do
  name=${path##*/}
  if [[ $name != README.md && -z ${source_of[$name]-} ]]; then
    echo "not of $package: $path" >&2
    failed=1
  fi
done
((failed == 0)) && echo "$package@$wanted: ${#source_of[@]} vendored files as in npm"
exit $failed
