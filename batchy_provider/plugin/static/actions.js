// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Admin actions: each opens a dialog that says what will happen.

import { html, useState } from "./vendor/preact-htm.js";
import { airflowApiUrl, ask, change, encode, runOf } from "./api.js";
import { notify, useStore, zone } from "./live.js";
import { Dialog, IgnoreHold, Why, ignoreRepeats } from "./components.js";
import { Window, duration, formatDate, fromInput, isBeginning, moment, toInput, zoneName } from "./dates.js";

export const text = (form, name) => form.get(name)?.trim() || undefined;

// A button that opens its dialog.
export function Action({ label, of: Form, className, disabled, title, ...rest }) {
  const [open, setOpen] = useState(false);
  return html`<button class=${className} disabled=${disabled} aria-label=${title} onKeyDown=${ignoreRepeats} onClick=${() => setOpen(true)}>${label}</button>
    ${open ? html`<${Form} ...${rest} close=${() => setOpen(false)} />` : null}`;
}

export function MomentField({ name, label, value, set, required }) {
  const zoneId = useStore(zone);
  const date = value ? moment(value) : null;
  const other = zoneId === "utc" ? "local" : "utc";
  return html`<div class="field"><label for=${name}>${label} (${zoneName(zoneId)})</label>
    <input id=${name} type="datetime-local" required=${required} value=${date ? toInput(date, zoneId) : ""} onInput=${(event) => set(fromInput(event.target.value, zoneId))} />
    ${date ? html`<div class="hint">${formatDate(date, other)} ${zoneName(other)}</div>` : null}
  </div>`;
}

export const shown = (iso) => (isBeginning(iso) ? "the beginning" : `${formatDate(moment(iso), zone.get())} ${zoneName(zone.get())}`);
const windowText = (batch) => (batch.from_date ? `from ${shown(batch.from_date)} to ${shown(batch.to_date)}` : "");

const STOPS = "Running scripts of that run stop within about ten seconds, and their tasks fail. Tasks of other operators go on: to stop them, mark the run as failed in Airflow.";

// Which data is loaded again, and which is never loaded, if the next windows start at another moment than the watermarks.
// `start(job)` returns where the next window of the job would start; null if it does not change.
function Consequences({ jobs, start }) {
  const found = new Map();
  const unknown = [];
  for (const job of jobs) {
    const at = start(job);
    if (!at || job.kind === "handler") continue;
    if (!job.watermark) {
      if (job.status !== "new") unknown.push(job.job); // a new job has loaded nothing yet
      continue;
    }
    const [next, reached] = [+moment(at), +moment(job.watermark)];
    if (next === reached) continue;
    const line = next < reached ? ["again", at, job.watermark] : ["never", job.watermark, at];
    const key = line.join(" ");
    found.set(key, { line, names: [...(found.get(key)?.names || []), job.job] });
  }
  return html`<div class="note warn consequences" aria-live="polite">
    ${[...found.values()].map(({ line: [kind, from, to], names }) => html`<p key=${`${kind}${from}${to}`}><b>${kind === "again" ? "Loaded again" : "Never loaded"}:</b> <${Window} from=${from} to=${to} />${isBeginning(from) ? null : ` (${duration(moment(to) - moment(from))})`}${names.length < jobs.filter((job) => job.kind !== "handler").length ? `, by ${names.join(", ")}` : ""}</p>`)}
    ${unknown.length ? html`<p>It is not known how far ${unknown.join(", ")} ${unknown.length === 1 ? "has" : "have"} been loaded.</p>` : null}
    ${found.size || unknown.length ? null : html`<p>No data is loaded again, and no data is left out.</p>`}
  </div>`;
}

export function RunNow({ row, runs = [], close, done }) {
  const { workflow, paused } = row;
  const byHand = row.status === "open" && !row.run;
  const [unpause, setUnpause] = useState(false);
  const [kind, setKind] = useState("next");
  const [from, setFrom] = useState(null);
  const [to, setTo] = useState(null);
  const [move, setMove] = useState(false);
  const [ignore, setIgnore] = useState(false);
  const chosen = kind === "chosen";
  const act = async () => {
    const conf = { ...(chosen ? { from_date: from, ...(to ? { to_date: to } : {}), ...(move ? { move_watermark: true } : {}) } : {}), ...(ignore ? { ignore_hold: true } : {}) };
    if (paused && unpause) await ask(airflowApiUrl(`dags/${encode(workflow)}`), { method: "PATCH", json: { is_paused: false } });
    const run = await ask(airflowApiUrl(`dags/${encode(workflow)}/dagRuns`), { method: "POST", json: { logical_date: null, conf } });
    notify(`Run ${run.dag_run_id} is queued${paused && !unpause ? " until the DAG is unpaused" : ""}.`);
    done?.(run);
  };
  const waits = paused && !unpause;
  return html`<${Dialog} title="Run now" submitLabel=${waits ? "Queue a run" : runs.length ? "Queue another run" : "Run"} careful=${Boolean(runs.length || byHand)} close=${close} act=${act} valid=${!chosen || from}
      text="A run of the DAG starts as soon as Airflow has a free slot. It waits for other workflows, as at night.">
    ${runs.length ? html`<div class="note warn"><p><b>${runs.length === 1 ? `Run ${runs[0]} has not ended` : `${runs.length} runs have not ended; the oldest is ${runs[0]}`}.</b> Another run waits in the queue until ${runs.length === 1 ? "it has" : "they have"}. Where the file allows several runs at once (max_active_runs), if_open in the file says what it does while the other's batch is open.</p></div>` : null}
    ${byHand && !(chosen && !move) ? html`<div class="note warn"><p><b>Batch ${row.batch_id} is open, held by ${row.holder}.</b> The run closes that batch as failed and loads its window.</p></div>` : null}
    <${IgnoreHold} hold=${row.hold} text="The run waits until then." label="Do not wait: open the batch at once. The hold stays for other runs" checked=${ignore} set=${setIgnore} />
    ${paused ? html`<div class="note warn"><p><b>The DAG is paused.</b> The run stays in the queue until the DAG is unpaused.</p>
      <label class="check"><input type="checkbox" checked=${unpause} onChange=${(event) => setUnpause(event.target.checked)} /> <span>Unpause the DAG too: its scheduled runs start again</span></label></div>` : null}
    <fieldset class="field"><legend class="label">Window</legend>
      <label class="check"><input type="radio" name="kind" checked=${!chosen} onChange=${() => setKind("next")} /> <span>The next window: from the end of the last success (inclusive) to now (exclusive).</span></label>
      <label class="check"><input type="radio" name="kind" checked=${chosen} onChange=${() => setKind("chosen")} /> <span>Another window</span></label>
    </fieldset>
    ${chosen ? html`<${MomentField} name="from" label="From, inclusive" value=${from} set=${setFrom} required=${true} />
      <${MomentField} name="to" label="To, exclusive; empty means now" value=${to} set=${setTo} />
      <label class="check"><input type="checkbox" checked=${move} onChange=${(event) => setMove(event.target.checked)} /> <span>Move the watermark to its end: the next night continues there. Otherwise the batch is history only, and the next window does not change.</span></label>` : null}
  <//>`;
}

export function OpenBatch({ row, close }) {
  const held = row.status === "open";
  const [ignore, setIgnore] = useState(false);
  return html`<${Dialog} title="Open a batch" close=${close} careful=${true} danger=${held} valid=${!row.hold || ignore} submitLabel=${held ? "Take over and open" : "Open"}
      text=${["This opens a batch with the next window, for work outside Airflow. No script runs. Close the batch as success or failed when the work is done.",
        "The next run of the DAG does not wait for this batch: it closes it as failed and loads the same window. If your work may take longer, pause the DAG.",
        ...(held ? [`Batch ${row.batch_id} ${windowText(row)} is open, held by ${row.holder}. This action closes it as failed first. Its window becomes part of the new one.`] : []),
        ...(held && row.run ? [STOPS] : [])]}
      act=${async (form) => {
        const opened = await change(`workflows/${encode(row.workflow)}/batches`, { why: text(form, "why"), take_over: held, ignore_hold: ignore });
        notify(opened.warning || `Batch ${opened.batch.batch_id} is open.`);
      }}><${IgnoreHold} hold=${row.hold} text="" label="Open the batch all the same. The hold stays" checked=${ignore} set=${setIgnore} /><${Why} required=${true} /><//>`;
}

export function CloseBatch({ batch, result, close }) {
  const good = result === "success";
  const run = runOf(batch);
  const live = batch.kind !== "history";
  const effects = good
    ? [`All data of its window counts as loaded, even data that is not loaded yet.${live ? ` The next window starts at ${shown(batch.to_date)}. Workflows that wait for this one continue at once.` : ""}`,
      ...(run ? ["Running scripts of its run do not stop. If one of them fails later, the batch remains a success, and its data is not loaded again."] : [])]
    : [live ? "The next run loads this window again from its start." : "No run loads this window again by itself. The next window does not change.", ...(run ? [STOPS] : [])];
  return html`<${Dialog} title=${good ? "Close as success" : "Close as failed"} careful=${true} danger=${!good} close=${close}
      text=${[`Batch ${batch.batch_id} ${windowText(batch)} is closed as ${result}.`, ...effects]}
      act=${async (form) => {
        await change(`workflows/${encode(batch.workflow)}/batches/${batch.batch_id}/${good ? "close" : "fail"}`, { why: text(form, "why") });
        notify(`Batch ${batch.batch_id} is closed as ${result}.`);
      }}><${Why} required=${true} /><//>`;
}

export function Rerun({ batch, close }) {
  const [failed, setFailed] = useState(batch.status === "failed");
  const { run } = runOf(batch);
  const act = async () => {
    await change(`workflows/${encode(batch.workflow)}/batches/${batch.batch_id}/rerun`, { only_failed: failed });
    notify("The run is cleared. It starts again as soon as Airflow has a free slot.");
  };
  return html`<${Dialog} title="Run again" submitLabel="Clear and run" careful=${true} close=${close} act=${act}
      text=${[`Airflow clears the run ${run} and runs it again with the same window: ${windowText(batch)}.`,
        batch.status === "success" ? "This window is loaded already. The jobs that run load it a second time." : batch.status === "open" ? "Its batch is open: its running tasks stop and start again." : "The jobs that run also load again what they loaded before the failure."]}>
    <fieldset class="field"><legend class="label">Tasks</legend>
      <label class="check"><input type="radio" name="which" checked=${failed} onChange=${() => setFailed(true)} /> <span>Only failed tasks and the tasks after them</span></label>
      <label class="check"><input type="radio" name="which" checked=${!failed} onChange=${() => setFailed(false)} /> <span>All</span></label>
    </fieldset>
  <//>`;
}

export function SetWindow({ row, jobs, close }) {
  const [from, setFrom] = useState(row.status === "success" ? row.to_date : isBeginning(row.from_date) ? null : row.from_date);
  const [picked, setPicked] = useState([]);
  const act = async (form) => {
    await change(`workflows/${encode(row.workflow)}/window`, { from_date: from, jobs: picked, why: text(form, "why") }, "PUT");
    notify(`The next window starts at ${shown(from)}.`);
  };
  const pick = (job, on) => setPicked(on ? [...picked, job] : picked.filter((each) => each !== job));
  return html`<${Dialog} title="Set the window" submitLabel="Set" careful=${true} close=${close} act=${act} valid=${Boolean(from)}
      text="The next batch takes data from this moment (inclusive). An earlier moment loads data again. A later moment leaves out the data in between: it is never loaded.">
    <${MomentField} name="from" label="The next window starts at" value=${from} set=${setFrom} required=${true} />
    <fieldset class="field"><legend class="label">Jobs (none selected: all)</legend>
      ${row.jobs.map((job) => html`<label key=${job} class="check"><input type="checkbox" checked=${picked.includes(job)} onChange=${(event) => pick(job, event.target.checked)} /> <span>${job}</span></label>`)}
    </fieldset>
    ${from ? html`<${Consequences} jobs=${jobs} start=${(job) => (!picked.length || picked.includes(job.job) ? from : null)} />` : null}
    <${Why} required=${true} />
  <//>`;
}

export function LoadFile({ row, jobs, close }) {
  return html`<${Dialog} title="Reset to the file" danger=${true} confirm=${row.workflow} close=${close}
      text=${["Jobs, parameters and windows in Redis are replaced by those of the file. The next window starts at the file's initial date or, if it has none, at the beginning of all data. History does not change.",
        ...(row.status === "open" ? [`Batch ${row.batch_id} is open, held by ${row.holder}. ${row.run ? "While its run holds it, the reset is refused." : "It is closed as failed."}`] : [])]}
      act=${async (form) => {
        await change(`workflows/${encode(row.workflow)}/load`, { why: text(form, "why") });
        notify("The workflow is reset to its file.");
      }}><${Consequences} jobs=${jobs} start=${(job) => job.reset_from} /><${Why} /><//>`;
}

// For a workflow without a file: with one, the server refuses it.
export function Remove({ row, close }) {
  return html`<${Dialog} title="Remove" danger=${true} confirm=${row.workflow} close=${close}
      text=${["No file defines this workflow. Its state, history, ledger, archive and results are removed for good: nothing can bring them back. Workflows that wait for it wait until their timeout.",
        ...(row.has_dag ? ["Airflow still has a DAG of this name. If it runs again, it starts with the first window and loads all data again: delete the DAG first."] : [])]}
      act=${async (form) => {
        const why = text(form, "why");
        await change(`workflows/${encode(row.workflow)}${why ? `?why=${encode(why)}` : ""}`, undefined, "DELETE");
        notify(`Workflow ${row.workflow} is removed.`);
        location.hash = "#/";
      }}><${Why} /><//>`;
}

export function Pause({ row, close, done }) {
  const to = !row.paused;
  return html`<${Dialog} title=${to ? "Pause" : "Unpause"} close=${close}
      text=${to ? "Airflow starts no runs of this DAG until you unpause it. Active runs go on. Windows do not move: the first run afterwards loads all data that came in meanwhile." : "Airflow schedules this DAG again."}
      act=${async () => {
        await ask(airflowApiUrl(`dags/${encode(row.workflow)}`), { method: "PATCH", json: { is_paused: to } });
        notify(to ? "Paused." : "Unpaused.");
        done?.();
      }} />`;
}

export function Switch({ workflow, job, close }) {
  const off = job.disabled;
  return html`<${Dialog} title=${off ? `Enable ${job.job}` : `Disable ${job.job}`} careful=${!off} close=${close}
      text=${off ? `The job runs again from the next run on. It catches up from where its window stopped${job.next_from ? `: ${shown(job.next_from)}` : ""}.` : "The job is skipped from the next run on, and its window does not move. Jobs after it still run. Waits for this workflow no longer need it."}
      act=${async (form) => {
        await change(`workflows/${encode(workflow)}/jobs/${encode(job.job)}/${off ? "enable" : "disable"}`, { why: text(form, "why") });
        notify(`${job.job} is ${off ? "enabled" : "disabled"}.`);
      }}><${Why} /><//>`;
}
