#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
#
# A site of many workers, all of it on this machine and on 127.0.0.1, without containers: PostgreSQL, Valkey (state and
# Celery's broker), an S3 server, and Airflow's API server, scheduler, triggerer, DAG processor and Celery workers. Each
# of the last has a disk of its own: AIRFLOW_HOME, a copy of dags/ and cfg/ as if baked into its image, temp folder,
# bundle cache. Results and task logs go to S3.
#
#   deploy/celery.sh            runs the examples, shows the batches, stays until Ctrl-C, which stops everything
#   deploy/celery.sh --exit     leaves when they have ended: exit code 0 if all succeeded
#   WORKERS=3 deploy/celery.sh  w1, w2, w3; each takes tasks of the queue `default` and of one of its own name
#
# Other options go to `batchy demo` (--port, --fresh, --run); another cfg folder stands in BATCHY_CFG: --exit runs all of
# it, otherwise --run names what is started. What each machine is told that the others are not stands in
# .batchy/celery/machines/NAME/env.sh, what all are told in .batchy/celery/env.sh: docs/deploy.md says what each line is for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./run setup
exec ./run batchy demo --workers "${WORKERS:-2}" --folder .batchy/celery "$@"
