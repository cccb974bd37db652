#!/usr/bin/env bash
# Extracts the sales of the window: one file for each shop, then one output for all.
set -euo pipefail

cd "$(dirname "$0")"
echo "extracting sales from $BATCHY_FROM_DATE to $BATCHY_TO_DATE"
shops=$(wc -l < shops.txt)
done=0
while read -r shop; do
  seq -f "$shop,%g" 1 20 > "$BATCHY_OUTPUT_DIR/$shop.csv"
  done=$(( done + 1 ))
  echo "::batchy {\"progress\": $(( done * 100 / shops ))e-2, \"message\": \"$done/$shops shops\"}"
  sleep 0.4
done < shops.txt
cat "$BATCHY_OUTPUT_DIR"/*.csv > "$BATCHY_OUTPUT"
