// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The night as a list in words, for a screen that is too narrow for a time axis.

import { html } from "./vendor/preact-htm.js";
import { workflowPath } from "./components.js";
import { ProblemMarks, runKey } from "./tonight_axis.js";
import { bandWords, runWords } from "./tonight_words.js";

const GLYPHS = { success: "✓", failed: "✕", open: "▶", pending: "…", expected: "◦" };
const SHOWN = 3;

// What a person looks for first: what runs or is due, then failures, then what comes next, then what is done.
const rank = (run, now) => ({ open: 0, pending: 1, failed: 2, expected: 3, success: 4 })[run.state] * 1e15 + Math.abs(now - Date.parse(`${run.start || run.due || "2000-01-01T00:00:00"}Z`));

export function RunList({ groups, now, zoneId, selected, select, toggle, chain, details, GroupHead }) {
  return html`<div class="night-list">${groups.map((group) => html`<section key=${group.name} aria-label=${group.name || "Workflows"}>
    ${group.name ? html`<${GroupHead} group=${group} toggle=${toggle} />` : null}
    ${group.folded ? null : html`<ul>${group.rows.map((row) => html`<${Item} key=${row.workflow} ...${{ row, now, zoneId, selected, select, chain, details }} />`)}</ul>`}
  </section>`)}</div>`;
}

function Item({ row, now, zoneId, selected, select, chain, details }) {
  const important = [...row.runs].sort((a, b) => rank(a, now) - rank(b, now)).slice(0, SHOWN);
  const runs = row.runs.filter((run) => important.includes(run));
  const chosen = selected?.workflow === row.workflow;
  const role = chain.upstream.has(row.workflow) ? "it depends on this" : chain.downstream.has(row.workflow) ? "affected" : null;
  return html`<li class="panel">
    <div class="row head"><a href=${workflowPath(row.workflow)}>${row.workflow}</a> ${role ? html`<span class="mark role">${role}</span>` : null}<${ProblemMarks} row=${row} /></div>
    ${runs.map((run) => html`<button key=${runKey(run)} class=${`night-run ${run.state}`} aria-pressed=${chosen && selected.key === runKey(run)} onClick=${(event) => select(row, run, event.currentTarget)}>
      <span class="sign" aria-hidden="true">${GLYPHS[run.state]}</span><span>${runWords(run, zoneId, now).slice(0, 4).join(" ")}</span></button>`)}
    ${row.bands.map((band, at) => html`<p key=${at} class="soft band-line">${bandWords(band, zoneId, now, row.more)}</p>`)}
    ${row.runs.length > runs.length ? html`<p class="soft band-line">${row.runs.length - runs.length} more in this time: <a href=${workflowPath(row.workflow)}>all batches</a></p>` : null}
    ${row.runs.length + row.bands.length ? null : html`<p class="soft band-line">No run in this time.</p>`}
    ${chosen ? details : null}
  </li>`;
}
