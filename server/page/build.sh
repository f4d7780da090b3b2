#!/bin/sh
# Installs exactly what package-lock.json names and builds the page into built/.
set -eu
cd "$(dirname "$0")"
npm ci --no-audit --no-fund --loglevel=error
node build.mjs
