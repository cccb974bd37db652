// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// One batch: its window, its jobs and their tries.

import { html } from "./vendor/preact-htm.js";
import { Action, CloseBatch, Rerun } from "./actions.js";
import { airflows, ask, get, part, runOf } from "./api.js";
import { useAsked } from "./live.js";
import { AirflowLink, Badge, Doing, Failure, Heading, Nowhere, Zone, batchPath, executionPath, size, workflowPath } from "./parts.js";
import { When, Window, moment, span } from "./when.js";
import { Took } from "./windows.js";
import { crumbs } from "./workflow.js";

// A batch with its tries: Airflow's task instances, also while they run, and the executions in the result store.
export async function askBatch(path) {
  const batch = await get(path);
  const run = runOf(batch);
  const [executions, tasks, detail] = await Promise.all([
    get(`workflows/${part(batch.workflow)}/executions?batch_id=${batch.batch_id}`).catch((error) => ({ items: [], error })),
    run ? ask(airflows(`dags/${part(run.dag)}/dagRuns/${part(run.run)}/taskInstances?limit=1000`)).catch((error) => ({ task_instances: [], error })) : { task_instances: [] },
    get(`workflows/${part(batch.workflow)}`).catch(() => null),
  ]);
  return { batch, executions: executions.items, tasks: tasks.task_instances, progress: detail?.summary.batch_id === batch.batch_id ? detail.summary.progress : {}, problem: executions.error || tasks.error };
}

export const isId = (text) => /^\d{1,15}$/.test(text);
const isRunning = (task) => ["running", "queued", "scheduled", "deferred", "up_for_retry"].includes(task.state);
export const moves = ({ batch, tasks }) => (batch.status === "open" || tasks.some(isRunning) ? 2000 : 15000);
export const taskName = (task) => (task.map_index >= 0 ? `${task.task_id}@${task.map_index}` : task.task_id);

export function Batch({ workflow, id }) {
  const asked = useAsked(isId(id) ? `workflows/${part(workflow)}/batches/${id}` : null, { workflow, every: moves, asking: askBatch });
  const rights = useAsked(`overview/${part(workflow)}`, { workflow }).data?.rights;
  const trail = crumbs([workflow, workflowPath(workflow)], ["Batches", workflowPath(workflow, "windows")]);
  if (!isId(id) || asked.error?.status === 404) return html`<${Nowhere} crumbs=${trail} title=${`Batch ${id}`} text=${asked.error?.status === 404 ? asked.error.message : `There is no batch "${id}": the id of a batch is a number.`} href=${workflowPath(workflow, "windows")} to=${`The batches of ${workflow}`} />`;
  if (!asked.data) return html`<${Heading} crumbs=${trail} title=${`Batch ${id}`} />${asked.error ? html`<${Failure} error=${asked.error} reload=${asked.reload} />` : html`<p class="quiet">Loading…</p>`}`;
  const { batch, tasks, executions, progress } = asked.data;
  const run = runOf(batch);
  return html`<${Heading} crumbs=${trail} title=${`Batch ${batch.batch_id}`}><${Zone} /><//>
    <div class="panel pad"><dl class="facts">
      <div><dt>State</dt><dd><${Badge} state=${batch.status} /> ${batch.kind === "history" ? html`<${Badge} state="new">history only<//>` : null}</dd></div>
      <div><dt>Window</dt><dd><${Window} from=${batch.from_date} to=${batch.to_date} /></dd></div>
      <div><dt>Started</dt><dd><${When} at=${batch.started} seconds=${true} /></dd></div>
      <div><dt>Ended</dt><dd>${batch.batch_end ? html`<${When} at=${batch.batch_end} seconds=${true} />` : html`<span class="soft">not yet</span>`}</dd></div>
      <div><dt>Took</dt><dd><${Took} batch=${batch} /></dd></div>
      <div><dt>Opened by</dt><dd>${batch.by || html`<span class="soft">another program</span>`}</dd></div>
      ${run ? html`<div><dt>Run</dt><dd><${AirflowLink} path=${`dags/${part(run.dag)}/runs/${part(run.run)}`}>${run.run}<//></dd></div>` : null}
      ${batch.reason ? html`<div><dt>Why this window</dt><dd>${batch.reason}</dd></div>` : null}
      ${batch.why ? html`<div><dt>Reason given</dt><dd>${batch.why}</dd></div>` : null}
      ${batch.closed_by || batch.closed_why ? html`<div><dt>${batch.taken_over_by ? "Taken over by" : "Closed by"}</dt><dd>${batch.closed_by}${batch.taken_over_by ? html`, <a href=${batchPath(workflow, batch.taken_over_by)}>batch ${batch.taken_over_by}</a>` : null}${batch.closed_why ? html`<div>“${batch.closed_why}”</div>` : null}</dd></div>` : null}
      ${batch.left_out.length ? html`<div><dt>Left out</dt><dd>${batch.left_out.join(", ")}</dd></div>` : null}
    </dl>
    ${rights?.edit ? html`<div class="row" style=${{ marginTop: "14px" }}>
      ${batch.status === "open" ? html`<${Action} label="Close as success…" of=${CloseBatch} batch=${batch} result="success" /><${Action} label="Close as failed…" of=${CloseBatch} batch=${batch} result="failed" />` : null}
      ${run ? html`<${Action} label="Run again…" of=${Rerun} batch=${batch} />` : null}
    </div>` : null}</div>
    <h2>Jobs</h2>
    <${Tries} workflow=${workflow} batch=${batch} tasks=${tasks} executions=${executions} progress=${progress} />`;
}

function Tries({ workflow, batch, tasks, executions, progress }) {
  const known = new Map();
  const rows = [];
  for (const task of tasks) known.set(taskName(task), task);
  const names = [...new Set([...known.keys(), ...executions.map((each) => each.job), ...Object.keys(batch.jobs)])];
  const started = (name) => known.get(name)?.start_date || executions.find((each) => each.job === name)?.started || "9999";
  names.sort((a, b) => started(a).localeCompare(started(b)));
  for (const name of names) {
    const task = known.get(name);
    const kept = executions.filter((each) => each.job === name);
    rows.push({ name, task, kept, fields: batch.jobs[name] });
  }
  if (!rows.length) return html`<div class="panel empty"><p>No job has run in this batch.</p></div>`;
  return html`<div class="panel scroll"><table class="cards">
    <caption class="visually-hidden">Jobs of batch ${batch.batch_id}</caption>
    <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Now</th><th scope="col">Started</th><th scope="col" class="number">Took</th><th scope="col">Tries</th><th scope="col">Kept</th></tr></thead>
    <tbody>${rows.map(({ name, task, kept, fields }) => {
      const last = kept[kept.length - 1];
      const state = task ? task.state || "not_begun" : fields?.status === "open" ? "still_open" : fields?.outcome || last?.state || fields?.status;
      const from = moment(task?.start_date || last?.started);
      const to = moment(task?.end_date || last?.finished);
      const tries = [...new Set([...kept.map((each) => each.attempt), ...(task?.try_number && task.operator_name !== "_" ? [String(task.try_number)] : [])])];
      return html`<tr key=${name}>
        <th scope="row"><a href=${executionPath(workflow, batch.batch_id, name)}>${name}</a></th>
        <td data-label="State"><${Badge} state=${state} /></td>
        <td data-label="Now">${task?.state === "running" && progress[name] ? html`<${Doing} reports=${{ [name]: progress[name] }} />` : null}</td>
        <td data-label="Started"><${When} at=${task?.start_date || last?.started} seconds=${true} /></td>
        <td data-label="Took" class="number">${from && to ? html`<span>${span(to - from)}</span>` : null}</td>
        <td data-label="Tries">${tries.map((attempt, at) => html`${at ? " " : ""}<a key=${attempt} href=${executionPath(workflow, batch.batch_id, name, attempt)}>${attempt}</a>`)}</td>
        <td data-label="Kept" class="soft">${last ? size(Object.values(last.contents).reduce((sum, each) => sum + each.bytes, 0)) : null}</td>
      </tr>`;
    })}</tbody></table></div>`;
}
