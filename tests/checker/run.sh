#!/bin/sh
# The checker with stock clients: tests/checker/run.sh [ARGUMENTS of `tidings bench --verify`]
#
# Without arguments it takes a minute: half of it with a seed that is always the same, half with one drawn at random, which it prints.
# To repeat a run: tests/checker/run.sh --seed N. For a long one: tests/checker/run.sh --kills 100. TIDINGS_BIN is the binary
# (target/debug/tidings), TIDINGS_CHECKER_SECONDS how long both halves take.
set -eu
cd "$(dirname "$0")/../.."

bin=${TIDINGS_BIN:-target/debug/tidings}
half=$((${TIDINGS_CHECKER_SECONDS:-60} / 2))

if [ ! -d tests/e2e/node_modules/sioc4 ]; then
  echo "checker: installing the npm packages" >&2
  # `npm ci` can refuse a lock file without addresses; installing again from the same lock file gives the same versions
  (cd tests/e2e && { npm ci --no-audit --no-fund >&2 || npm install --no-save --no-audit --no-fund >&2; })
fi

verify() { "$bin" bench --verify --require-stock "$@"; }

if [ $# -gt 0 ]; then
  verify "$@"
else
  verify --seed 4 --seconds "$half"
  verify --seconds "$half"
fi
