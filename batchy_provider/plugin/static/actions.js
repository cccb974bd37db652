// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Steering: each action is a dialog that says what will happen.

import { html, useState } from "./vendor/preact-htm.js";
import { airflows, ask, change, part, runOf } from "./api.js";
import { tell, useStore, zone } from "./live.js";
import { Dialog, Why } from "./parts.js";
import { fromInput, moment, toInput, write, zoneName } from "./when.js";

const text = (form, name) => form.get(name)?.trim() || undefined;

// A button that opens its dialog.
export function Action({ label, of: Form, className, disabled, title, ...rest }) {
  const [open, setOpen] = useState(false);
  return html`<button class=${className} disabled=${disabled} aria-label=${title} onClick=${() => setOpen(true)}>${label}</button>
    ${open ? html`<${Form} ...${rest} close=${() => setOpen(false)} />` : null}`;
}

export function Moment({ name, label, value, set, required }) {
  const place = useStore(zone);
  const date = value ? moment(value) : null;
  const other = place === "utc" ? "local" : "utc";
  return html`<div class="field"><label for=${name}>${label} (${zoneName(place)})</label>
    <input id=${name} type="datetime-local" required=${required} value=${date ? toInput(date, place) : ""} onInput=${(event) => set(fromInput(event.target.value, place))} />
    ${date ? html`<div class="hint">${write(date, other)} ${zoneName(other)}</div>` : null}
  </div>`;
}

const shown = (iso) => `${write(moment(iso), zone.get())} ${zoneName(zone.get())}`;
const windowText = (batch) => (batch.from_date ? `from ${shown(batch.from_date)} to ${shown(batch.to_date)}` : "");

export function RunNow({ workflow, close, done }) {
  const [kind, setKind] = useState("next");
  const [from, setFrom] = useState(null);
  const [to, setTo] = useState(null);
  const [move, setMove] = useState(false);
  const chosen = kind === "chosen";
  const act = async () => {
    const conf = chosen ? { from_date: from, ...(to ? { to_date: to } : {}), ...(move ? { move_watermark: true } : {}) } : {};
    const run = await ask(airflows(`dags/${part(workflow)}/dagRuns`), { method: "POST", json: { logical_date: null, conf } });
    tell(`Run ${run.dag_run_id} is queued.`);
    done?.(run);
  };
  return html`<${Dialog} title="Run now" sure="Run" close=${close} act=${act} valid=${!chosen || from}
      text="A run of the DAG starts as soon as Airflow has room. Waits for other workflows hold as at night.">
    <fieldset class="field"><legend class="label">Window</legend>
      <label class="check"><input type="radio" name="kind" checked=${!chosen} onChange=${() => setKind("next")} /> <span>The next one: from where the last success ended, to now.</span></label>
      <label class="check"><input type="radio" name="kind" checked=${chosen} onChange=${() => setKind("chosen")} /> <span>A chosen one</span></label>
    </fieldset>
    ${chosen ? html`<${Moment} name="from" label="From" value=${from} set=${setFrom} required=${true} />
      <${Moment} name="to" label="To; empty is now" value=${to} set=${setTo} />
      <label class="check"><input type="checkbox" checked=${move} onChange=${(event) => setMove(event.target.checked)} /> <span>Go on from its end afterwards. Otherwise it is history only: the next night starts where it would have anyway.</span></label>` : null}
  <//>`;
}

export function OpenBatch({ row, close }) {
  const held = row.status === "open";
  return html`<${Dialog} title="Open a batch" close=${close} danger=${held} sure=${held ? "Take over and open" : "Open"}
      text=${["A batch is opened with the next window, for work that is done outside Airflow. No script runs. Close it, or let it fail, when the work is done.",
        ...(held ? [`Batch ${row.batch_id} is open, held by ${row.holder}. It is closed as failed first.`] : [])]}
      act=${async (form) => {
        const opened = await change(`workflows/${part(row.workflow)}/batches`, { why: text(form, "why"), take_over: held });
        tell(opened.warning || `Batch ${opened.batch.batch_id} is open.`);
      }}><${Why} /><//>`;
}

export function CloseBatch({ batch, result, close }) {
  const good = result === "success";
  const run = runOf(batch);
  return html`<${Dialog} title=${good ? "Close as success" : "Close as failed"} danger=${!good} close=${close}
      text=${[`Batch ${batch.batch_id} ${windowText(batch)} is closed as ${result}.`,
        good ? "The next window starts where this one ends. Whoever waits for this workflow goes on." : "The next batch takes the same window again.",
        ...(run ? ["It is held by a run of Airflow: scripts that run now go on. Stop the run in Airflow if they should not."] : [])]}
      act=${async (form) => {
        await change(`workflows/${part(batch.workflow)}/batches/${batch.batch_id}/${good ? "close" : "fail"}`, { why: text(form, "why") });
        tell(`Batch ${batch.batch_id} is closed as ${result}.`);
      }}><${Why} /><//>`;
}

const BRACKETS = ["BatchyOpenOperator", "BatchyCloseOperator"];

async function taskInstances(dag, run) {
  const all = [];
  for (let total = 1; all.length < total; ) {
    const page = await ask(airflows(`dags/${part(dag)}/dagRuns/${part(run)}/taskInstances?limit=100&offset=${all.length}`));
    all.push(...page.task_instances);
    total = page.task_instances.length ? page.total_entries : 0;
  }
  return all;
}

// What of a run has failed, what follows that, and the tasks that open and close its batch, without which no job may run.
// Airflow's own "only failed" leaves those out; its "downstream" would take all that follows the open.
async function failedTasks(dag, run) {
  const [instances, { tasks }] = await Promise.all([taskInstances(dag, run), ask(airflows(`dags/${part(dag)}/tasks`))]);
  const failed = instances.filter((each) => ["failed", "upstream_failed"].includes(each.state));
  if (!failed.length) throw new Error("No task of this run has failed in Airflow: run all of them again.");
  const following = new Map(tasks.map((each) => [each.task_id, each.downstream_task_ids]));
  const chosen = new Set(tasks.filter((each) => BRACKETS.includes(each.operator_name)).map((each) => each.task_id));
  const follow = (id) => (following.get(id) || []).forEach((next) => {
    if (chosen.has(next)) return;
    chosen.add(next);
    follow(next);
  });
  failed.forEach((each) => follow(each.task_id));
  const mapped = failed.filter((each) => !chosen.has(each.task_id));
  return [...chosen, ...mapped.map((each) => (each.map_index < 0 ? each.task_id : [each.task_id, each.map_index]))];
}

export function Rerun({ batch, close }) {
  const [failed, setFailed] = useState(batch.status === "failed");
  const { dag, run } = runOf(batch);
  const act = async () => {
    const tasks = failed ? { task_ids: await failedTasks(dag, run) } : {};
    await ask(airflows(`dags/${part(dag)}/clearTaskInstances`), { method: "POST", json: { dry_run: false, dag_run_id: run, only_failed: false, ...tasks } });
    tell("The run is cleared; it starts again as soon as Airflow has room.");
  };
  return html`<${Dialog} title="Run again" sure="Clear and run" close=${close} act=${act}
      text=${[`The run ${run} is cleared in Airflow and runs again, with the same window: ${windowText(batch)}.`]}>
    <fieldset class="field"><legend class="label">Tasks</legend>
      <label class="check"><input type="radio" name="which" checked=${failed} onChange=${() => setFailed(true)} /> <span>Only those that failed, and what follows them</span></label>
      <label class="check"><input type="radio" name="which" checked=${!failed} onChange=${() => setFailed(false)} /> <span>All</span></label>
    </fieldset>
  <//>`;
}

export function SetWindow({ row, close }) {
  const [from, setFrom] = useState(row.status === "success" ? row.to_date : row.from_date);
  const [picked, setPicked] = useState([]);
  const act = async (form) => {
    await change(`workflows/${part(row.workflow)}/window`, { from_date: from, jobs: picked, why: text(form, "why") }, "PUT");
    tell(`The next window starts at ${shown(from)}.`);
  };
  const pick = (job, on) => setPicked(on ? [...picked, job] : picked.filter((each) => each !== job));
  return html`<${Dialog} title="Set the window" sure="Set" close=${close} act=${act} valid=${Boolean(from)}
      text="The next batch takes data from this moment on. Set back, data is loaded again; set forward, what lies between is never loaded.">
    <${Moment} name="from" label="The next window starts at" value=${from} set=${setFrom} required=${true} />
    <fieldset class="field"><legend class="label">Jobs (none picked: all)</legend>
      ${row.jobs.map((job) => html`<label key=${job} class="check"><input type="checkbox" checked=${picked.includes(job)} onChange=${(event) => pick(job, event.target.checked)} /> <span>${job}</span></label>`)}
    </fieldset><${Why} />
  <//>`;
}

export function LoadFile({ row, close }) {
  return html`<${Dialog} title="Set back to the file" danger=${true} close=${close}
      text=${["The state in Redis is replaced by what the file says: jobs, parameters, and windows, which start anew at the file's initial dates.", "History stays. Data since the initial date is loaded again."]}
      act=${async (form) => {
        await change(`workflows/${part(row.workflow)}/load`, { why: text(form, "why") });
        tell("The workflow is set back to its file.");
      }}><${Why} /><//>`;
}

export function Pause({ row, close, done }) {
  const to = !row.paused;
  return html`<${Dialog} title=${to ? "Pause" : "Unpause"} close=${close}
      text=${to ? "Airflow starts no more runs of this DAG, until it is unpaused. A run that goes on is not stopped. Windows stay where they are: the first run afterwards takes all that came in meanwhile." : "Airflow schedules this DAG again."}
      act=${async () => {
        await ask(airflows(`dags/${part(row.workflow)}`), { method: "PATCH", json: { is_paused: to } });
        tell(to ? "Paused." : "Unpaused.");
        done?.();
      }} />`;
}

export function Switch({ workflow, job, close }) {
  const off = job.disabled;
  return html`<${Dialog} title=${off ? `Enable ${job.job}` : `Disable ${job.job}`} close=${close}
      text=${off ? "From the next run on it runs again, and catches up from where its window stopped." : "From the next run on it is skipped, and its window stays where it is. Jobs after it go on. Waits for this workflow no longer need it."}
      act=${async (form) => {
        await change(`workflows/${part(workflow)}/jobs/${part(job.job)}/${off ? "enable" : "disable"}`, { why: text(form, "why") });
        tell(`${job.job} is ${off ? "enabled" : "disabled"}.`);
      }}><${Why} /><//>`;
}
