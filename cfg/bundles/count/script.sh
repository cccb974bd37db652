#!/usr/bin/env bash
# Counts; what it prints is its output.
set -euo pipefail

for i in $(seq 1 "$LINES"); do
  echo "$BATCHY_JOB,$i,$(( i * i ))"
done
sleep 0.5
echo "counted $LINES lines for $BATCHY_JOB" >&2
