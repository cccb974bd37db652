// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// One batch: its window, its jobs and their tries.

import { html } from "./vendor/preact-htm.js";
import { Action, CloseBatch, Rerun } from "./actions.js";
import { airflowApiUrl, ask, encode, get, runOf } from "./api.js";
import { Acknowledge, Notes, isAcknowledged } from "./holds.js";
import { BatchLinks, Comparison, Copy } from "./comparison.js";
import { useData } from "./live.js";
import { AirflowLink, Badge, Failure, Heading, NotFound, Opener, ProgressReports, ZoneSwitch, batchPath, executionPath, size, workflowPath } from "./components.js";
import { When, Window, duration, moment } from "./dates.js";
import { Duration } from "./windows.js";
import { crumbs } from "./workflow.js";

// A batch with the tries of its jobs: Airflow's task instances, which may still run, and the executions in the result store.
export async function fetchBatch(path) {
  const batch = await get(path);
  const run = runOf(batch);
  const [executions, tasks, detail] = await Promise.all([
    get(`workflows/${encode(batch.workflow)}/executions?batch_id=${batch.batch_id}`).catch((error) => ({ items: [], error })),
    run ? ask(airflowApiUrl(`dags/${encode(run.dag)}/dagRuns/${encode(run.run)}/taskInstances?limit=1000`)).catch((error) => ({ task_instances: [], error })) : { task_instances: [] },
    get(`workflows/${encode(batch.workflow)}`).catch(() => null),
  ]);
  return { batch, executions: executions.items, tasks: tasks.task_instances, progress: detail?.summary.batch_id === batch.batch_id ? detail.summary.progress : {}, problem: executions.error || tasks.error };
}

export const isBatchId = (text) => /^\d{1,15}$/.test(text);
const isRunning = (task) => ["running", "queued", "scheduled", "deferred", "up_for_retry"].includes(task.state);
export const pollInterval = ({ batch, tasks }) => (batch.archived ? 60000 : batch.status === "open" || tasks.some(isRunning) ? 2000 : 15000);
export const taskName = (task) => (task.map_index >= 0 ? `${task.task_id}@${task.map_index}` : task.task_id);

export function Batch({ workflow, id }) {
  const response = useData(isBatchId(id) ? `workflows/${encode(workflow)}/batches/${id}` : null, { workflow, every: pollInterval, fetcher: fetchBatch });
  const rights = useData(`overview/${encode(workflow)}`, { workflow }).data?.rights;
  const comparison = useData(isBatchId(id) ? `workflows/${encode(workflow)}/batches/${id}/comparison` : null, { workflow, every: () => 60000 });
  const trail = crumbs([workflow, workflowPath(workflow)], ["Batches", workflowPath(workflow, "windows")]);
  if (!isBatchId(id) || response.error?.status === 404) return html`<${NotFound} crumbs=${trail} title=${`Batch ${id}`} text=${response.error?.status === 404 ? response.error.message : `There is no batch "${id}": the id of a batch is a number.`} href=${workflowPath(workflow, "windows")} to=${`The batches of ${workflow}`} />`;
  if (!response.data) return html`<${Heading} crumbs=${trail} title=${`Batch ${id}`} />${response.error ? html`<${Failure} error=${response.error} reload=${response.reload} />` : html`<p class="quiet">Loading…</p>`}`;
  const { batch, tasks, executions, progress } = response.data;
  const run = runOf(batch);
  return html`<${Heading} crumbs=${trail} title=${`Batch ${batch.batch_id}`}><${ZoneSwitch} /><//>
    <div class="row between top">${batch.archived ? html`<span></span>` : html`<${BatchLinks} workflow=${workflow} comparison=${comparison.data} />`}
      <div class="row" role="group" aria-label="Copy"><${Copy} what="batch id" text=${String(batch.batch_id)} />${run ? html`<${Copy} what="run id" text=${run.run} />` : null}<${Copy} what="command" text=${`batchy compare ${workflow} --batch ${batch.batch_id}`} /></div></div>
    ${batch.archived ? html`<div class="note"><p>Only the archive has this batch: Redis has removed or lost it. You can read it, and not change it. To see what can be restored: <code>batchy restore ${workflow} --dry-run</code></p></div>` : null}
    <div class="panel pad"><dl class="facts">
      <div><dt>State</dt><dd><${Badge} state=${batch.status} /> ${batch.kind === "history" ? html`<${Badge} state="new">history only<//>` : null} ${batch.archived ? html`<${Badge} state="new">only in the archive<//>` : null} ${batch.status === "failed" && isAcknowledged(batch) ? html`<${Badge} state="success">acknowledged<//>` : null}</dd></div>
      <div><dt>Window</dt><dd><${Window} from=${batch.from_date} to=${batch.to_date} /></dd></div>
      <div><dt>Started</dt><dd><${When} at=${batch.started} seconds=${true} /></dd></div>
      <div><dt>Ended</dt><dd>${batch.batch_end ? html`<${When} at=${batch.batch_end} seconds=${true} />` : html`<span class="soft">not yet</span>`}</dd></div>
      <div><dt>Took</dt><dd><${Duration} batch=${batch} /></dd></div>
      <div><dt>Opened by</dt><dd>${batch.by ? html`<${Opener} by=${batch.by} />` : html`<span class="soft">another program</span>`}</dd></div>
      ${run ? html`<div><dt>Run</dt><dd><${AirflowLink} path=${`dags/${encode(run.dag)}/runs/${encode(run.run)}`}>${run.run}<//></dd></div>` : null}
      ${batch.reason ? html`<div><dt>Why this window</dt><dd>${batch.reason}</dd></div>` : null}
      ${batch.why ? html`<div><dt>Reason given</dt><dd>${batch.why}</dd></div>` : null}
      ${batch.closed_by || batch.closed_why ? html`<div><dt>${batch.taken_over_by ? "Taken over by" : "Closed by"}</dt><dd>${batch.closed_by}${batch.taken_over_by ? html`, <a href=${batchPath(workflow, batch.taken_over_by)}>batch ${batch.taken_over_by}</a>` : null}${batch.closed_why ? html`<div>“${batch.closed_why}”</div>` : null}</dd></div>` : null}
      ${batch.left_out.length ? html`<div><dt>Left out</dt><dd>${batch.left_out.join(", ")}</dd></div>` : null}
    </dl>
    ${rights?.edit && !batch.archived ? html`<div class="row" style=${{ marginTop: "14px" }}>
      ${batch.status === "open" ? html`<${Action} label="Close as success…" of=${CloseBatch} batch=${batch} result="success" /><${Action} label="Close as failed…" of=${CloseBatch} batch=${batch} result="failed" />` : null}
      ${batch.status === "failed" && !isAcknowledged(batch) ? html`<${Action} label="Acknowledge…" of=${Acknowledge} batch=${batch} />` : null}
      ${run ? html`<${Action} label="Run again…" of=${Rerun} batch=${batch} />` : null}
    </div>` : null}</div>
    <${Notes} batch=${batch} may=${rights?.edit && !batch.archived} />
    <h2>Jobs</h2>
    <${JobTable} workflow=${workflow} batch=${batch} tasks=${tasks} executions=${executions} progress=${progress} />
    ${batch.archived ? null : html`<${Comparison} workflow=${workflow} comparison=${comparison} />`}`;
}

function JobTable({ workflow, batch, tasks, executions, progress }) {
  const known = new Map();
  const rows = [];
  for (const task of tasks) known.set(taskName(task), task);
  const names = [...new Set([...known.keys(), ...executions.map((each) => each.job), ...Object.keys(batch.jobs)])];
  const started = (name) => known.get(name)?.start_date || executions.find((each) => each.job === name)?.started || "9999";
  names.sort((a, b) => started(a).localeCompare(started(b)));
  for (const name of names) {
    const task = known.get(name);
    const stored = executions.filter((each) => each.job === name);
    rows.push({ name, task, stored, fields: batch.jobs[name] });
  }
  if (!rows.length) return html`<div class="panel empty"><p>No job has run in this batch.</p></div>`;
  return html`<div class="panel scroll"><table class="cards">
    <caption class="visually-hidden">Jobs of batch ${batch.batch_id}</caption>
    <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Now</th><th scope="col">Started</th><th scope="col" class="number">Took</th><th scope="col">Tries</th><th scope="col">Stored</th></tr></thead>
    <tbody>${rows.map(({ name, task, stored, fields }) => {
      const last = stored[stored.length - 1];
      const state = task ? task.state || "not_begun" : fields?.status === "open" ? "still_open" : fields?.outcome || last?.state || fields?.status;
      const from = moment(task?.start_date || last?.started);
      const to = moment(task?.end_date || last?.finished);
      const tries = [...new Set([...stored.map((each) => each.attempt), ...(task?.try_number && task.operator_name !== "_" ? [String(task.try_number)] : [])])];
      return html`<tr key=${name}>
        <th scope="row"><a href=${executionPath(workflow, batch.batch_id, name)}>${name}</a></th>
        <td data-label="State"><${Badge} state=${state} /></td>
        <td data-label="Now">${task?.state === "running" && progress[name] ? html`<${ProgressReports} reports=${{ [name]: progress[name] }} />` : null}</td>
        <td data-label="Started"><${When} at=${task?.start_date || last?.started} seconds=${true} /></td>
        <td data-label="Took" class="number">${from && to ? html`<span>${duration(to - from)}</span>` : null}</td>
        <td data-label="Tries">${tries.map((attempt, at) => html`${at ? " " : ""}<a key=${attempt} href=${executionPath(workflow, batch.batch_id, name, attempt)}>${attempt}</a>`)}</td>
        <td data-label="Stored" class="soft">${last ? size(Object.values(last.contents).reduce((sum, each) => sum + each.bytes, 0)) : null}</td>
      </tr>`;
    })}</tbody></table></div>`;
}
