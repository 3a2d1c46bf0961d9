#!/bin/sh
# End-to-end tests with stock clients: tests/e2e/run.sh [tidings|reference] [FILE.test.mjs …]
#
# `tidings` (the default) tests the built binaries, beside npm's socket.io server; `reference` plays the library's tests against
# npm's server itself, to see that they are right. Installs what it needs into this folder: the npm packages of
# package-lock.json, and a Python environment with python/requirements.txt; and into the examples of hooks what they name. Chromium comes from Debian where there is none.
set -eu
cd "$(dirname "$0")"

target=${1:-tidings}
[ $# -eq 0 ] || shift
case $target in
  tidings | reference) ;;
  *) echo "usage: $0 [tidings|reference] [FILE.test.mjs …]" >&2; exit 2 ;;
esac

say() { echo "e2e: $*" >&2; }

# What package-lock.json in a folder names, there.
npm_packages() {
  if cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock"; then return; fi
  say "installing the npm packages of $1"
  # `npm ci` can refuse a lock file without addresses; installing again from the same lock file gives the same versions
  (cd "$1" && { npm ci --no-audit --no-fund >&2 || npm install --no-save --no-audit --no-fund >&2; })
  cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# A Python environment in the folder $1, with the packages of the file $2.
python_environment() {
  if cmp -s "$2" "$1/.venv/.installed-requirements"; then return; fi
  say "making the Python environment of $1"
  rm -rf "$1/.venv"
  python3 -m venv "$1/.venv"
  "$1/.venv/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
  cp "$2" "$1/.venv/.installed-requirements"
}

npm_packages .
python_environment . python/requirements.txt

if [ "$target" = tidings ]; then
  npm_packages ../../examples/hooks-node
  python_environment ../../examples/hooks-python ../../examples/hooks-python/requirements.txt
fi

if [ "$target" = tidings ] && [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
  say "installing Chromium"
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  $sudo apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium >&2
fi

if [ $# -eq 0 ]; then
  set -- compat.test.mjs order.test.mjs python.test.mjs wire-*.test.mjs
  [ "$target" = reference ] || set -- "$@" binary-*.test.mjs channel-*.test.mjs console*.test.mjs cycles.test.mjs history.test.mjs recovery.test.mjs resume.test.mjs \
    demo*.test.mjs openapi.test.mjs security*.test.mjs
fi

# One file at a time: each starts servers of its own, and timeouts on a busy machine say nothing. A test that failed may leave
# clients behind that try for ever: they end with its file.
TIDINGS_E2E_TARGET=$target exec node --test --test-concurrency=1 --test-force-exit --test-timeout=600000 --test-reporter="${TIDINGS_E2E_REPORTER:-spec}" "$@"
