#!/usr/bin/env bash
# Writes the customers that changed, as CSV, and says how far it is.
set -euo pipefail

# The job's params are JSON; a real script would ask jq or Python.
[[ $(<"$BATCHY_PARAMS") =~ \"customers\":\ *([0-9]+) ]]
customers=${BASH_REMATCH[1]}

echo "id,name,changed" > "$BATCHY_OUTPUT"
for i in $(seq 1 "$customers"); do
  echo "$i,customer $i,$BATCHY_TO_DATE" >> "$BATCHY_OUTPUT"
  if (( i % 10 == 0 )); then
    # 25e-2 is a JSON number for 0.25: the shell counts in whole numbers only.
    echo "::batchy {\"progress\": $(( i * 100 / customers ))e-2, \"message\": \"$i/$customers customers\"}"
    sleep 0.3
  fi
done
echo "{\"customers\": $customers}" > "$BATCHY_OUTPUT_DIR/summary.json"
