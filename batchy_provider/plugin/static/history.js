// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// History: the batches of all workflows, by time, result, job, batch or run.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { MomentField } from "./actions.js";
import { useParams } from "./address.js";
import { useData, useStore, outage } from "./live.js";
import { Badge, Failure, Heading, Opener, ZoneSwitch, batchPath, executionPath, plural, workflowPath } from "./components.js";
import { When, Window } from "./dates.js";
import { Duration } from "./windows.js";

const LIMIT = 50;
const SPANS = [["12h", "last 12 hours"], ["1d", "last 24 hours"], ["7d", "last 7 days"], ["30d", "last 30 days"], ["all", "all"], ["chosen", "chosen time"]];
const STATES = [["", "All"], ["failed", "Failed"], ["open", "Open"], ["success", "Success"]];
const DEFAULTS = { last: "1d", from: "", to: "", status: "", kind: "", workflow: "", tag: "", owner: "", job: "", acknowledged: "", search: "", below: "" };
const NAMES = [["workflow", "Workflow"], ["job", "Job"], ["tag", "Tag"], ["owner", "Owner"]];

export function History() {
  const [params, setParams] = useParams(DEFAULTS);
  // A filter that is typed is one entry of the browser's history, not one for each letter.
  const set = (changes, options) => setParams({ below: "", ...changes }, options);
  const { data, error, reload } = useData(`history?${queryOf(params)}`, { every: (page) => (page.items.some((each) => each.status === "open") ? 5000 : 30000) });
  const problem = useStore(outage);
  return html`<${Heading} title="History"><${ZoneSwitch} /><//>
    <${Filters} params=${params} set=${set} />
    ${error && !problem ? html`<${Failure} error=${error} reload=${reload} />` : null}
    ${data ? html`<${Answer} page=${data} params=${params} set=${setParams} />` : error ? null : html`<p class="quiet">Loading…</p>`}`;
}

function queryOf(params) {
  const query = new URLSearchParams({ limit: LIMIT });
  for (const [key, value] of Object.entries(params)) {
    if (value && !["last", "from", "to"].includes(key)) query.set(key, value);
  }
  if (params.last === "chosen") ["from", "to"].forEach((key) => params[key] && query.set(key, params[key]));
  else if (params.last !== "all") query.set("last", params.last);
  return query;
}

function Filters({ params, set }) {
  const chosen = params.last === "chosen";
  const more = NAMES.some(([key]) => params[key]) || params.kind || params.acknowledged;
  return html`<search class="filters">
    <div class="row between">
      <div class="chips" role="group" aria-label="Show only">
        ${STATES.map(([key, text]) => html`<button key=${key} class="chip" aria-pressed=${params.status === key && !params.acknowledged} onClick=${() => set({ status: key, acknowledged: "" })}>${text}</button>`)}
        <button class="chip" aria-pressed=${params.acknowledged === "false"} onClick=${() => set({ status: "failed", acknowledged: "false" })}>Not acknowledged</button>
      </div>
      <div class="row">
        <label class="row"><span class="soft">Ran in</span> <select value=${params.last} onChange=${(event) => set({ last: event.target.value })}>${SPANS.map(([key, text]) => html`<option key=${key} value=${key}>${text}</option>`)}</select></label>
        <${Typed} type="search" label="Batch id, run id or workflow" value=${params.search} set=${(search) => set({ search }, { replace: true })} />
      </div>
    </div>
    ${chosen ? html`<div class="span"><${MomentField} name="from" label="From, inclusive" value=${params.from || null} set=${(from) => set({ from: from || "" })} /><${MomentField} name="to" label="To, exclusive" value=${params.to || null} set=${(to) => set({ to: to || "" })} /></div>` : null}
    <details open=${Boolean(more)}><summary>More filters</summary>
      <div class="span">
        ${NAMES.map(([key, text]) => html`<div class="field" key=${key}><label for=${`by-${key}`}>${text}</label><${Typed} id=${`by-${key}`} type="text" value=${params[key]} set=${(value) => set({ [key]: value }, { replace: true })} /></div>`)}
        <div class="field"><label for="by-kind">Kind</label><select id="by-kind" value=${params.kind} onChange=${(event) => set({ kind: event.target.value })}><option value="">all</option><option value="live">live</option><option value="history">backfills and old windows</option></select></div>
        <div class="field"><label for="by-ack">Failures</label><select id="by-ack" value=${params.acknowledged} onChange=${(event) => set({ acknowledged: event.target.value, ...(event.target.value ? { status: "failed" } : {}) })}><option value="">all</option><option value="true">acknowledged</option><option value="false">not acknowledged</option></select></div>
      </div>
      <p class="soft">With a job and the state Failed or Success: batches in which this job ended so.</p>
    </details>
  </search>`;
}

// A field that changes the address a moment after the last letter, and follows it when it changes otherwise.
function Typed({ label, value, set, ...rest }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => set(text.trim()), 300);
    return () => clearTimeout(timer);
  }, [text]);
  const field = html`<input ...${rest} placeholder=${label} autocomplete="off" value=${text} onInput=${(event) => setText(event.target.value)} />`;
  return label ? html`<label><span class="visually-hidden">${label}</span>${field}</label>` : field;
}

function Answer({ page, params, set }) {
  const older = page.next !== null;
  const notes = html`
    ${page.unreadable.length ? html`<div class="note warn"><p>${plural(page.unreadable.length, "workflow")} with batches that cannot be read, which may be missing here: ${page.unreadable.join(", ")}</p></div>` : null}
    ${page.archived.map((each) => html`<div class="note" key=${each.workflow}><p>The archive has ${plural(each.batches, "batch", "batches")} of ${each.workflow} that Redis lacks. To see what can be restored: <code>batchy restore ${each.workflow} --dry-run</code></p></div>`)}
    ${page.archive_error ? html`<div class="note warn"><p>It is not known whether the archive has older ones: ${page.archive_error}</p></div>` : null}`;
  if (!page.items.length && !params.below) return html`<div class="panel empty"><p>No such batch.</p><p class="soft">Batches that were removed by <code>batchy prune</code> are found here only with the name of their workflow, if the archive has them.</p></div>${notes}`;
  return html`<div class="panel"><div class="scroll"><table class="cards">
      <caption class="visually-hidden">Batches of all workflows, newest first</caption>
      <thead><tr><th scope="col">Workflow</th><th scope="col">State</th><th scope="col">Started</th><th scope="col">Ended</th><th scope="col" class="number">Took</th><th scope="col">Window</th><th scope="col">By</th></tr></thead>
      <tbody>${page.items.map((row) => html`<${Row} key=${`${row.workflow} ${row.batch_id}`} row=${row} />`)}</tbody>
    </table></div>
    ${older || params.below ? html`<nav class="pager row between" aria-label="Pages">
      <span class="soft">${plural(page.items.length, "batch", "batches")}${params.below ? " on this page" : older ? ", the newest" : ""}</span>
      <span class="row"><button disabled=${!params.below} onClick=${() => set({ below: "" })}>Newest</button><button disabled=${!older} onClick=${() => { set({ below: page.next }); window.scrollTo(0, 0); }}>Older</button></span>
    </nav>` : null}
  </div>${notes}`;
}

function Row({ row }) {
  const ack = row.acknowledged;
  return html`<tr>
    <th scope="row"><a href=${workflowPath(row.workflow)}>${row.workflow}</a><div class="soft"><a href=${batchPath(row.workflow, row.batch_id)}>batch ${row.batch_id}</a>${row.archived ? ", only in the archive" : ""}${row.kind === "history" ? ", history only" : ""}</div></th>
    <td data-label="State"><div class="state"><${Badge} state=${row.status} />
      ${row.status === "failed" && row.failed_jobs.length ? html`<div class="soft">${row.failed_jobs.map((job, at) => html`${at ? ", " : ""}<a key=${job} href=${executionPath(row.workflow, row.batch_id, job)}>${job}</a>`)}</div>` : null}
      ${ack ? html`<div class="soft">acknowledged by ${ack.by}${ack.text ? `: ${ack.text}` : ""}</div>` : null}
      ${row.notes.filter((note) => !note.ack && note.text).map((note, at) => html`<div class="soft" key=${at}>${note.by}: ${note.text}</div>`)}</div></td>
    <td data-label="Started"><${When} at=${row.started} /></td>
    <td data-label="Ended">${row.batch_end ? html`<${When} at=${row.batch_end} />` : null}</td>
    <td data-label="Took" class="number"><${Duration} batch=${row} /></td>
    <td data-label="Window"><${Window} from=${row.from_date} to=${row.to_date} /></td>
    <td data-label="By" class="soft">${row.run || html`<${Opener} by=${row.by} />`}${row.closed_by ? html`<div>closed by ${row.closed_by}${row.closed_why ? `: ${row.closed_why}` : ""}</div>` : null}</td>
  </tr>`;
}
