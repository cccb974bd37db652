// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Data that was never loaded: the gaps of all workflows, the strip of one workflow, and the action that loads a gap.

import { html, useState } from "./vendor/preact-htm.js";
import { Action } from "./actions.js";
import { change, encode } from "./api.js";
import { notify, useData, useStore, zone } from "./live.js";
import { Dialog, Why, plural, workflowPath } from "./components.js";
import { Window, duration, formatDate, isBeginning, moment } from "./dates.js";

const SHOWN = 8;
const SLICES = [["1d", "day"], ["1w", "week"], ["4w", "four weeks"]];

// On the overview: the gaps of all workflows.
export function Gaps() {
  const [all, setAll] = useState(false);
  const items = useData("overview-gaps", { every: () => 60000 }).data?.items || [];
  if (!items.length) return null;
  const workflows = new Set(items.map((each) => each.gap.workflow)).size;
  const shown = all ? items : items.slice(0, SHOWN);
  return html`<section class="panel pad gaps" aria-label="Gaps">
    <p><b>${plural(items.length, "gap")} in ${plural(workflows, "workflow")}:</b> data before the watermark that was never loaded</p>
    <ul>${shown.map(({ gap, may_fill: may, paused }) => html`<li key=${JSON.stringify(gap)}>
      <span><b>${gap.workflow}</b> <a href=${workflowPath(gap.workflow, "windows")}>windows</a></span>
      <span><${Window} from=${gap.from_date} to=${gap.to_date} /> <span class="soft">(${length(gap)}), ${gap.jobs.join(", ")}${gap.disabled ? ": disabled, so no run loads it" : ""}</span></span>
      ${may ? html`<${LoadGap} gap=${gap} paused=${paused} />` : null}
    </li>`)}</ul>
    ${items.length > SHOWN ? html`<p><button onClick=${() => setAll(!all)}>${all ? "Show fewer" : `Show all ${items.length}`}</button></p>` : null}
  </section>`;
}

export const length = (part) => duration(moment(part.to_date) - moment(part.from_date));

// The button that loads a gap.
export const LoadGap = ({ gap, paused }) => html`<${Action} label="Load this gap…" title=${`Load this gap of ${gap.workflow}…`} of=${LoadDialog} gap=${gap} paused=${paused} />`;

function LoadDialog({ gap, paused, close }) {
  const [every, setEvery] = useState("1d");
  const act = async (form) => {
    const { from_date, to_date } = gap;
    const done = await change(`workflows/${encode(gap.workflow)}/fill`, { from_date, to_date, every, why: form.get("why")?.trim() || undefined });
    const others = done.runs.length - done.created.length;
    notify(`${plural(done.created.length, "run is", "runs are")} queued${others ? `, ${plural(others, "run was", "runs were")} there before` : ""}${paused ? ". They start when the DAG is unpaused" : ""}. ${done.notes.filter((note) => note.code === "on_hold").map((note) => note.text).join(" ")}`);
  };
  return html`<${Dialog} title="Load this gap" submitLabel="Load" close=${close} act=${act}
      text=${["Airflow starts one run for each slice of this gap, oldest first. All enabled jobs load it. The runs are history only: the next window does not change.",
        "A slice that a run loads already gets no second run."]}>
    <p><b>${gap.workflow}:</b> <${Window} from=${gap.from_date} to=${gap.to_date} /> (${length(gap)})</p>
    ${paused ? html`<div class="note warn"><p><b>The DAG is paused.</b> The runs stay in the queue until the DAG is unpaused.</p></div>` : null}
    <div class="field"><label for="every">One run for each</label><select id="every" value=${every} onChange=${(event) => setEvery(event.target.value)}>
      ${SLICES.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
    </select></div>
    <${Why} />
  <//>`;
}

// For each job one line over time: what is loaded, from the first load to the watermark, and the gaps.
export function Strips({ coverage }) {
  const zoneId = useStore(zone);
  const gapsOf = (job) => coverage.gaps.filter((gap) => gap.jobs.includes(job)).map((gap) => [gap.from_date, gap.to_date]);
  const ends = coverage.ledger.flatMap((each) => [...each.loaded, ...gapsOf(each.job)].flat()).filter((each) => !isBeginning(each)).map((each) => +moment(each));
  if (!ends.length) return null;
  const whole = coverage.ledger.some((each) => each.loaded.some(([from]) => isBeginning(from)));
  const last = Math.max(...ends);
  const span = Math.max(last - Math.min(...ends), 3600000);
  const first = Math.min(...ends) - (whole ? span / 10 : 0); // all data before it: a short piece at the left edge
  const at = (text) => (100 * Math.max(0, (isBeginning(text) ? first : +moment(text)) - first)) / (last - first || 1);
  const shown = (text) => (isBeginning(text) ? "the beginning" : formatDate(moment(text), zoneId));
  const piece = (kind, what) => ([from, to]) => html`<i key=${`${kind}${from}`} class=${kind} title=${`${what}: ${shown(from)} → ${shown(to)}`} style=${{ left: `${at(from)}%`, width: `${at(to) - at(from)}%` }}></i>`;
  return html`<div class="strips">
    ${coverage.ledger.map(({ job, loaded }) => {
      const gaps = gapsOf(job);
      return html`<span key=${job}>${job}</span><div class="strip" role="img" aria-label=${`${job}: ${gaps.length ? plural(gaps.length, "gap") : "no gap"}`}>
        ${loaded.map(piece("loaded", "loaded"))}${gaps.map(piece("gap", "never loaded"))}
      </div>`;
    })}
    <span></span><div class="row between soft"><span>${whole ? "the beginning" : formatDate(new Date(first), zoneId)}</span><span><i class="key loaded"></i> loaded <i class="key gap"></i> never loaded</span><span>${formatDate(new Date(last), zoneId)}</span></div>
  </div>`;
}
