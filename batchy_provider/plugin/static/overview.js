// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// All workflows: state, window, deadline, and which workflows wait for each other.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { LostWorkflows } from "./archive.js";
import { Gaps } from "./gaps.js";
import { AcknowledgedMark, HoldMark } from "./holds.js";
import { outage, useData, useStore } from "./live.js";
import { Badge, Failure, Heading, Pager, ProgressReports, State, ZoneSwitch, batchPath, plural, workflowPath } from "./components.js";
import { Ago, When, Window, duration, moment, useNow } from "./dates.js";
import { useReasons } from "./why.js";

const FILTERS = [["", "All", "all"], ["open", "Open"], ["failed", "Failed"], ["late", "Late"], ["success", "Success"], ["new", "New"], ["waiting", "Waiting"], ["paused", "Paused"], ["on_hold", "On hold"], ["faults", "Invalid file"]];
const COLUMNS = [["workflow", "Workflow"], ["status", "State"], ["from_date", "Window"], [null, "Now"], ["last_success", "Last success"], ["late_seconds", "Deadline"], ["next_run", "Next run"], [null, "Waits"]];
const LIMIT = 50;

export function Overview() {
  const [search, setSearch] = useState("");
  const [filter, setFilter] = useState({ search: "", kind: "", order: "workflow", offset: 0 });
  useEffect(() => {
    const timer = setTimeout(() => setFilter((old) => (old.search === search ? old : { ...old, search, offset: 0 })), 250);
    return () => clearTimeout(timer);
  }, [search]);
  const query = new URLSearchParams({ order_by: filter.order, limit: LIMIT, offset: filter.offset });
  if (filter.search) query.set("search", filter.search);
  if (filter.kind) query.set("kind", filter.kind);
  const { data, error, reload } = useData(`overview?${query}`, { every: (page) => (page.items.some((row) => row.status === "open" || row.activity) ? (page.counts.all > 100 ? 5000 : 2000) : 15000) });
  const problem = useStore(outage);

  return html`
    <${Heading} title="Batches">
      ${data?.may_upload ? html`<a class="button" href="#/upload">Upload…</a>` : null}<${ZoneSwitch} />
    <//>
    ${error && !problem ? html`<${Failure} error=${error} reload=${reload} />` : null}
    <${LostWorkflows} />
    <${Gaps} />
    <div class="row between top">
      <div class="chips" role="group" aria-label="Show only">
        ${FILTERS.map(([kind, text, count]) => {
          const number = data?.counts[count || kind];
          if (kind && !number && filter.kind !== kind) return null;
          return html`<button key=${kind} class="chip" aria-pressed=${filter.kind === kind} onClick=${() => setFilter({ ...filter, kind, offset: 0 })}>${text} <b>${number ?? ""}</b></button>`;
        })}
      </div>
      <label><span class="visually-hidden">Search workflows</span>
        <input type="search" placeholder="Search name or description" value=${search} onInput=${(event) => setSearch(event.target.value)} />
      </label>
    </div>
    ${data ? html`<${Table} page=${data} filter=${filter} setFilter=${setFilter} />` : error ? null : html`<p class="quiet">Loading…</p>`}
  `;
}

function Table({ page, filter, setFilter }) {
  const reasons = useReasons(page.items);
  if (!page.total) return html`<${Empty} page=${page} filter=${filter} />`;
  const sortBy = (column) => setFilter({ ...filter, order: filter.order === column ? `-${column}` : column, offset: 0 });
  const order = (column) => (filter.order === column ? "ascending" : filter.order === `-${column}` ? "descending" : "none");
  return html`<div class="panel">
    <div class="scroll"><table class="cards">
      <caption class="visually-hidden">Workflows</caption>
      <thead><tr>${COLUMNS.map(([column, text]) => column
        ? html`<th scope="col" key=${text} aria-sort=${order(column)}><button class="plain" onClick=${() => sortBy(column)}>${text} <span aria-hidden="true">${{ ascending: "↑", descending: "↓", none: "" }[order(column)]}</span></button></th>`
        : html`<th scope="col" key=${text}>${text}</th>`)}</tr></thead>
      <tbody>${page.items.map((row) => html`<${Row} key=${row.workflow} row=${row} why=${reasons[row.workflow]} />`)}</tbody>
    </table></div>
    <${Pager} page=${page} go=${(offset) => setFilter({ ...filter, offset })} />
  </div>`;
}

function Row({ row, why }) {
  const now = useNow();
  return html`<tr>
    <th scope="row"><a href=${workflowPath(row.workflow)}>${row.workflow}</a>
      ${row.description ? html`<div class="soft">${row.description}</div>` : null}
      <div class="row">
        ${row.faults ? html`<a href=${workflowPath(row.workflow, "file")}><${Badge} state="failed">${plural(row.faults, "error")}<//></a>` : null}
        ${row.paused ? html`<${Badge} state="warn">paused<//>` : null}
        ${!row.in_cfg ? html`<${Badge} state="new">no file<//>` : null}
      </div></th>
    <td data-label="State"><div class="state"><${State} row=${row} /><${AcknowledgedMark} note=${row.acknowledged} /><${HoldMark} row=${row} /></div>${why ? html`<div class="soft reason" title=${why}>${why}</div>` : null}</td>
    <td data-label="Window">${row.batch_id !== null ? html`<a href=${batchPath(row.workflow, row.batch_id)}><${Window} from=${row.from_date} to=${row.to_date} /></a>` : null}</td>
    <td data-label="Now">${row.status === "open" ? html`${Object.keys(row.progress).length ? html`<${ProgressReports} reports=${row.progress} />` : html`<span class="soft">for ${duration(now - moment(row.started))}</span>`}` : null}</td>
    <td data-label="Last success"><${Ago} at=${row.last_success} /></td>
    <td data-label="Deadline">${row.deadline ? html`<${When} at=${row.deadline} />${row.late_seconds !== null ? html`<div><${Badge} state="failed">${duration(row.late_seconds * 1000)} late<//></div>` : null}` : null}</td>
    <td data-label="Next run">${row.paused ? null : row.next_run ? html`<${When} at=${row.next_run} />` : row.schedule && html`<span class="soft">${row.schedule}</span>`}</td>
    <td data-label="Waits"><${WorkflowLinks} text="for" names=${row.waits_for} /><${WorkflowLinks} text="waited for by" names=${row.waited_for_by} /></td>
  </tr>`;
}

export function WorkflowLinks({ text, names }) {
  if (!names.length) return null;
  return html`<div class="among"><span class="soft">${text}</span> ${names.map((name, at) => html`${at ? ", " : ""}<a key=${name} href=${workflowPath(name)}>${name}</a>`)}</div>`;
}

function Empty({ page, filter }) {
  if (page.counts.all) return html`<div class="panel empty"><p>No workflow ${filter.kind ? (filter.kind === "faults" ? "has an invalid file" : `is ${filter.kind.replace("_", " ")}`) : "has that in its name or description"}.</p></div>`;
  if (filter.search) return html`<div class="panel empty"><p>No workflow has “${filter.search}” in its name or description.</p></div>`;
  return html`<div class="panel empty">
    <h2>No workflow yet</h2>
    <p>A workflow is a YAML file. Put one into the folder <code>${page.cfg_folder}</code>. It appears here at once, and its DAG appears within a minute.</p>
    <pre class="code note">${"schedule: \"0 2 * * *\"\njobs:\n  extract: {bash: echo hello}"}</pre>
    ${page.may_upload ? html`<p><a class="button" href="#/upload">Upload one…</a></p>` : null}
  </div>`;
}
