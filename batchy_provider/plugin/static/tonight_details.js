// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// A run that was chosen on the time axis: what is known of it, why it is so, what decides its end, who is affected.

import { html, useEffect, useRef } from "./vendor/preact-htm.js";
import { Badge, batchPath, workflowPath } from "./components.js";
import { WarningNote } from "./warnings.js";
import { WhyLine } from "./why.js";
import { PROBLEMS, STATES, percent, runWords, stamp } from "./tonight_words.js";

const BADGES = { pending: "waiting", expected: "new" };

export function Details({ chosen, data, now, zoneId, affected, close, only, setOnly }) {
  const { row, run } = chosen;
  const title = useRef(null);
  useEffect(() => title.current?.focus({ preventScroll: false }), []);
  const isNow = run.state !== "success" && (run.state !== "failed" || run === row.runs.filter((each) => each.end).pop());
  return html`<section class="panel pad axis-details" aria-label=${`${row.workflow}: the run that you have chosen`} onKeyDown=${(event) => event.key === "Escape" && close()}>
    <div class="row between">
      <h2 tabindex="-1" ref=${title}><a href=${workflowPath(row.workflow)}>${row.workflow}</a> <${Badge} state=${BADGES[run.state] || run.state}>${STATES[run.state]}<//></h2>
      <span class="row">${run.batch_id === null ? null : html`<a class="button" href=${batchPath(row.workflow, run.batch_id)}>Batch ${run.batch_id}</a>`}<button onClick=${() => setOnly(!only)} aria-pressed=${only}>Only what it depends on and affects</button><button onClick=${close}>Close</button></span>
    </div>
    <div class="parts">
      <div>
        ${row.problems.length ? html`<p><b>${row.problems.map((each) => PROBLEMS[each] || each).join(", ")}</b></p>` : null}
        ${runWords(run, zoneId, now).map((line, at) => html`<p key=${at}>${line}</p>`)}
        <${WarningNote} row=${row} />
        ${row.hold ? html`<p>On hold ${row.hold.until ? `until ${stamp(row.hold.until, zoneId, now)}` : "until it is released"}, by ${row.hold.by}: ${row.hold.why}</p>` : null}
        ${isNow ? html`<${WhyLine} workflow=${row.workflow} />` : null}
      </div>
      <${CriticalPath} ...${{ chosen, data, now, zoneId }} />
      <${AffectedList} ...${{ affected, now, zoneId, workflow: row.workflow }} />
    </div>
  </section>`;
}

// The runs that decide when this one ends, in order: each with its own expected end.
function CriticalPath({ chosen, data, now, zoneId }) {
  const { row, run } = chosen;
  const ended = run.state === "success" || run.state === "failed";
  if (ended) return null;
  if (!run.critical_path.length) return html`<div><h3>What decides its end</h3><p class="soft">This is unknown, as its end is.</p></div>`;
  return html`<div><h3>What decides its end</h3>
    <ol>${run.critical_path.map((step, at) => {
      const own = at === run.critical_path.length - 1;
      const of = own ? run : nextRun(data.items.find((each) => each.workflow === step.workflow), run);
      return html`<li key=${at}>${own ? html`<b>${step.workflow}</b>` : html`<a href=${workflowPath(step.workflow)}>${step.workflow}</a>`}${step.job ? html`, most of the time in <code>${step.job}</code>` : null}
        ${of?.end_p50 ? html`<div class="soft">${STATES[of.state]}, probably done at ${stamp(of.end_p50, zoneId, now)}${of.end_p90 ? `, at the latest at ${stamp(of.end_p90, zoneId, now)} in 9 of 10 nights` : ""}</div>` : null}</li>`;
    })}</ol>
    ${run.critical_path.length === 1 ? html`<p class="soft">No other workflow delays ${row.workflow}.</p>` : null}
  </div>`;
}

// The run of another workflow that a run waits for: the last one before it ends.
function nextRun(row, run) {
  return (row?.runs || []).filter((each) => each.end_p50 && (!run.end_p50 || each.end_p50 <= run.end_p50)).pop();
}

function AffectedList({ affected, now, zoneId, workflow }) {
  return html`<div><h3>Who is affected if it is late or fails</h3>
    ${affected === undefined ? html`<p class="soft">Loading…</p>` : !affected.length ? html`<p class="soft">No workflow needs ${workflow}.</p>` : html`<ul>${affected.map((each) => html`<li key=${each.workflow}>${each.workflow === "***" ? "workflows that you may not see" : html`<a href=${workflowPath(each.workflow)}>${each.workflow}</a>`}${each.deadline ? html` <span class="soft">deadline ${stamp(each.deadline, zoneId, now)}, ${each.miss_probability === null ? "how likely it is missed is unknown" : `missed with a probability of ${percent(each.miss_probability)}`}</span>` : null}</li>`)}</ul>`}
    <p><a href=${workflowPath(workflow, "dependencies")}>Suppose a delay or a failure</a></p>
  </div>`;
}
