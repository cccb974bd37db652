// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// One workflow: its jobs, windows over time, dependencies, file and audit entries.

import { html } from "./vendor/preact-htm.js";
import { Action, CloseBatch, LoadFile, OpenBatch, Pause, Remove, RunNow, SetWindow, Switch } from "./actions.js";
import { encode } from "./api.js";
import { LostState } from "./archive.js";
import { Calendar } from "./calendar.js";
import { Dependencies } from "./graph.js";
import { AcknowledgedMark, Hold, HoldNote } from "./holds.js";
import { useData } from "./live.js";
import { WorkflowLinks } from "./overview.js";
import { AirflowLink, Badge, Diagnostics, Failure, Heading, NotFound, ProgressReports, Source, State, Tabs, ZoneSwitch, batchPath, executionPath, inDag, jobState, plural, workflowPath } from "./components.js";
import { Ago, When, Window, duration } from "./dates.js";
import { WarningNote } from "./warnings.js";
import { Impact, WhyLine } from "./why.js";
import { Windows } from "./windows.js";

const TABS = [["jobs", "Jobs"], ["windows", "Windows"], ["calendar", "Calendar"], ["dependencies", "Dependencies"], ["file", "File"], ["changes", "Changes"]];

export function Workflow({ name, tab = "jobs" }) {
  const path = `workflows/${encode(name)}`;
  const quick = (data) => (data.summary.status === "open" ? 2000 : 15000);
  const detail = useData(path, { workflow: name, every: quick });
  const overview = useData(`overview/${encode(name)}`, { workflow: name, every: (data) => (data.row.status === "open" ? 3000 : 15000) });
  const { data } = detail;
  const row = overview.data?.row;
  const rights = overview.data?.rights;
  const tasks = overview.data?.tasks;
  if (!TABS.some(([key]) => key === tab)) return html`<${NotFound} crumbs=${crumbs()} title=${name} text=${`There is no view "${tab}" of a workflow.`} href=${workflowPath(name)} to=${`The jobs of ${name}`} />`;
  if (!data) {
    if (inDag && detail.error?.status === 404) return html`<${NoBatches} name=${name} />`;
    return html`<${Heading} crumbs=${crumbs()} title=${name} />${detail.error?.status === 404 ? html`<${LostState} name=${name} may=${true} />` : null}${detail.error ? html`<${Failure} error=${detail.error} reload=${detail.reload} />` : html`<p class="quiet">Loading…</p>`}`;
  }
  const errors = data.faults.length;
  return html`
    <${Heading} crumbs=${crumbs()} title=${name}><${ZoneSwitch} /><//>
    ${data.summary.description ? html`<p class="soft">${data.summary.description}</p>` : null}
    ${errors && tab !== "file" ? html`<div class="note bad"><p>Its file has ${errors === 1 ? "an error" : `${errors} errors`}. ${row?.has_dag ? "Airflow continues with the last valid version." : row ? "Airflow has no DAG of it: nothing runs until the file is valid." : ""} <a href=${workflowPath(name, "file")}>See the file</a></p></div>` : null}
    <${LostState} name=${name} may=${rights?.edit} />
    ${row ? html`<${HoldNote} row=${row} may=${rights?.edit} />` : null}
    ${row ? html`<${WarningNote} row=${row} />` : null}
    <${WhyLine} workflow=${name} />
    ${row ? html`<${Summary} row=${row} rights=${rights} jobs=${data.job_states} runs=${overview.data.runs} reload=${overview.reload} />` : null}
    <${Tabs} now=${tab} tabs=${TABS.map(([key, text]) => [key, key === "file" && errors ? `${text} (${errors})` : text, workflowPath(name, key === "jobs" ? "" : key)])} />
    ${tab === "jobs" ? html`<${Jobs} detail=${data} rights=${rights} tasks=${tasks} />` : null}
    ${tab === "windows" ? html`<${Windows} workflow=${name} row=${row} may=${overview.data?.may_fill} />` : null}
    ${tab === "calendar" ? html`<${Calendar} workflow=${name} />` : null}
    ${tab === "dependencies" ? html`<${Dependencies} detail=${data} tasks=${tasks} /><${Impact} workflow=${name} />` : null}
    ${tab === "file" ? html`<${File} detail=${data} rights=${rights} />` : null}
    ${tab === "changes" ? html`<${Changes} changes=${data.changes} />` : null}
  `;
}

export const crumbs = (...more) => (inDag ? more : [["Batches", "#/"], ...more]);

function NoBatches({ name }) {
  return html`<${Heading} title=${name} /><div class="panel empty"><p>This DAG opens no batches: ${name} is neither in Redis nor in a workflow file.</p><p>A workflow is a YAML file of that name in the folder of workflow files, or a DAG with a BatchyOpenOperator.</p></div>`;
}

function Summary({ row, rights, jobs, runs, reload }) {
  const may = rights?.edit;
  const open = row.status === "open";
  const batch = { workflow: row.workflow, batch_id: row.batch_id, from_date: row.from_date, to_date: row.to_date, run: row.run };
  return html`<div class="panel pad">
    <dl class="facts">
      <div><dt>State</dt><dd><${State} row=${row} /> ${row.paused ? html`<${Badge} state="warn">paused<//>` : null}<${AcknowledgedMark} note=${row.acknowledged} /></dd></div>
      <div><dt>Window</dt><dd>${row.batch_id !== null ? html`<a href=${batchPath(row.workflow, row.batch_id)}><${Window} from=${row.from_date} to=${row.to_date} /></a>` : html`<span class="soft">no batch yet</span>`}</dd></div>
      ${open ? html`<div><dt>Now</dt><dd>${Object.keys(row.progress).length ? html`<${ProgressReports} reports=${row.progress} />` : html`since <${When} at=${row.started} />`}</dd></div>` : null}
      <div><dt>Last success</dt><dd><${Ago} at=${row.last_success} /></dd></div>
      ${row.deadline ? html`<div><dt>Deadline</dt><dd><${When} at=${row.deadline} /> ${row.late_seconds !== null ? html`<${Badge} state="failed">${duration(row.late_seconds * 1000)} late<//>` : null}</dd></div>` : null}
      <div><dt>Schedule</dt><dd>${row.schedule || html`<span class="soft">${row.faults ? "not known: its file has errors" : "by hand"}</span>`}</dd></div>
      ${row.window ? html`<div><dt>Windows</dt><dd>${row.window}</dd></div>` : null}
      ${row.next_run ? html`<div><dt>Next run</dt><dd><${When} at=${row.next_run} /></dd></div>` : null}
      ${row.waits_for.length || row.waited_for_by.length ? html`<div><dt>Waits</dt><dd><${WorkflowLinks} text="for" names=${row.waits_for} /><${WorkflowLinks} text="waited for by" names=${row.waited_for_by} /></dd></div>` : null}
      ${row.has_dag && !inDag ? html`<div><dt>In Airflow</dt><dd><${AirflowLink} path=${`dags/${encode(row.workflow)}`}>DAG ${row.workflow}<//></dd></div>` : null}
    </dl>
    ${may ? html`<div class="row" role="group" aria-label="Actions" style=${{ marginTop: "14px" }}>
      ${row.has_dag ? html`<${Action} label="Run now…" className="main" of=${RunNow} row=${row} runs=${runs} done=${reload} />` : null}
      ${open ? html`<${Action} label="Close as success…" of=${CloseBatch} batch=${batch} result="success" /><${Action} label="Close as failed…" of=${CloseBatch} batch=${batch} result="failed" />` : null}
      <${Action} label="Open by hand…" of=${OpenBatch} row=${row} />
      ${row.in_redis ? html`<${Action} label="Set window…" of=${SetWindow} row=${row} jobs=${jobs} />` : null}
      <${Action} label=${row.hold ? "Change the hold…" : "Hold…"} of=${Hold} row=${row} />
      ${row.has_dag ? html`<${Action} label=${row.paused ? "Unpause…" : "Pause…"} of=${Pause} row=${row} done=${reload} />` : null}
      ${row.in_cfg && !row.faults ? html`<${Action} label="Reset to the file…" of=${LoadFile} row=${row} jobs=${jobs} />` : null}
      ${row.in_redis && !row.in_cfg && !open ? html`<${Action} label="Remove…" of=${Remove} row=${row} />` : null}
    </div>` : null}
  </div>`;
}

function Jobs({ detail, rights, tasks }) {
  const name = detail.summary.workflow;
  if (!detail.job_states.length) return html`<div class="panel empty"><p>This workflow has no jobs yet: its file cannot be read, or has no jobs.</p></div>`;
  return html`<div class="panel scroll"><table class="cards">
    <caption class="visually-hidden">Jobs of ${name}</caption>
    <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Window</th><th scope="col">Now</th><th scope="col">Ended</th><th scope="col">Parameters</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
    <tbody>${detail.job_states.map((job) => html`<tr key=${job.job}>
      <th scope="row">${job.batch_id ? html`<a href=${executionPath(name, job.batch_id, job.job)}>${job.job}</a>` : job.job}
        ${job.note ? html`<div class="soft">${job.note}</div>` : null}</th>
      <td data-label="State"><${Badge} state=${jobState(job, tasks)} />${job.disabled ? html` <${Badge} state="skipped">disabled<//>` : null}</td>
      <td data-label="Window"><${Window} from=${job.from_date} to=${job.to_date} /></td>
      <td data-label="Now">${job.status === "open" && job.progress ? html`<${ProgressReports} reports=${{ [job.job]: job.progress }} />` : null}</td>
      <td data-label="Ended">${job.batch_end ? html`<${When} at=${job.batch_end} />` : null}</td>
      <td data-label="Parameters" class="mono">${Object.entries(job.params).map(([key, value]) => html`<div key=${key}>${key}=${typeof value === "string" ? value : JSON.stringify(value)}</div>`)}</td>
      <td>${rights?.edit && job.kind === "job" && detail.summary.in_redis ? html`<${Action} label=${job.disabled ? "Enable…" : "Disable…"} title=${`${job.disabled ? "Enable" : "Disable"} ${job.job}…`} of=${Switch} workflow=${name} job=${job} />` : null}</td>
    </tr>`)}</tbody>
  </table></div>
  ${rights?.upload && detail.file ? html`<p style=${{ marginTop: "12px" }}><a class="button" href=${`#/upload/${encode(name)}`}>Upload a job after one of these…</a></p>` : null}`;
}

function File({ detail, rights }) {
  const { faults, source, file } = detail;
  // A calendar that cannot be used has its error in another file.
  const [own, others] = [faults.filter((each) => each.file.endsWith(file ?? "")), faults.filter((each) => !each.file.endsWith(file ?? ""))];
  if (!file) return html`<div class="panel empty"><p>No file defines this workflow: it is only in Redis.</p><p>A Python DAG or another program opened it, or its file is gone.</p></div>`;
  return html`<p><code>${file}</code> ${faults.length ? html`<${Badge} state="failed">${plural(faults.length, "error")}<//>` : html`<${Badge} state="success">no errors<//>`}</p>
    ${source === null ? html`${faults.length ? html`<div class="note bad"><${Diagnostics} diagnostics=${faults} /></div>` : null}<p class="quiet">${rights?.code === false ? "You need the right to read the DAG's code to see the file." : "The file cannot be read."}</p>`
      : html`${others.length ? html`<div class="note bad"><${Diagnostics} diagnostics=${others} /></div>` : null}<${Source} text=${source} label=${`The file ${file}`} diagnostics=${own} />`}`;
}

function Changes({ changes }) {
  if (!changes.length) return html`<div class="panel empty"><p>No person has changed anything.</p></div>`;
  return html`<div class="panel scroll"><table class="cards">
    <caption class="visually-hidden">Changes that people made</caption>
    <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th><th scope="col">Why</th><th scope="col">From where</th></tr></thead>
    <tbody>${changes.map((change, index) => html`<tr key=${index}>
      <td data-label="When"><${When} at=${change.at} seconds=${true} /></td><td data-label="Who">${change.by}</td><td data-label="What">${change.what}</td><td data-label="Why">${change.why}</td>
      <td data-label="From" class="soft">${[change.source, change.address].filter(Boolean).join(" ")}</td></tr>`)}</tbody>
  </table></div>`;
}
