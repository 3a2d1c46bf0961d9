#!/bin/sh
# The soak: tests/soak/run.sh [--minutes N] [--connections N] [--rate N]
#
# Without arguments an hour with 5,000 connections of all transports that come, go, are cut, stall and come back, beside floods, half-open
# connections and junk, while 200 events a second are published. At its end nothing that was answered may be missing, repeated or out of
# order for anybody, memory must be flat, and the log may tell of no panic. Figures go to target/soak. It needs 10,500 open files
# (`ulimit -n`). TIDINGS_BIN is the binary (target/release/tidings, which is built).
set -eu
cd "$(dirname "$0")/../.."

if [ -z "${TIDINGS_BIN:-}" ]; then
  cargo build --release --locked -p tidings-server
  TIDINGS_BIN=$PWD/target/release/tidings
fi
export TIDINGS_BIN
if [ ! -d tests/e2e/node_modules/sioc4 ]; then
  (cd tests/e2e && { npm ci --no-audit --no-fund >&2 || npm install --no-save --no-audit --no-fund >&2; })
fi
exec node tests/soak/soak.mjs "$@"
