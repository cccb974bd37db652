// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// All workflows, those with a problem first: what is wrong and why, how they failed, what runs and when it will end.

import { html, useEffect, useMemo, useState } from "./vendor/preact-htm.js";
import { addressOf, useParams } from "./address.js";
import { encode } from "./api.js";
import { LostWorkflows } from "./archive.js";
import { AllBox, BulkBar, BulkResults, RowBox, useChosen } from "./bulk.js";
import { Gaps } from "./gaps.js";
import { AcknowledgedMark, HoldMark } from "./holds.js";
import { outage, useData, useStore } from "./live.js";
import { Badge, Failure, Heading, Pager, ProgressReports, State, ZoneSwitch, batchPath, executionPath, plural, workflowPath } from "./components.js";
import { Ago, When, Window, duration, moment, useNow } from "./dates.js";
import { WarningMark } from "./warnings.js";
import { useReasons } from "./why.js";

const FILTERS = [["", "All", "all"], ["problems", "Problems"], ["failed", "Failed"], ["late", "Late"], ["at_risk", "Deadline at risk"], ["open", "Open"], ["waiting", "Waiting"], ["on_hold", "On hold"], ["paused", "Paused"], ["acknowledged", "Acknowledged"], ["success", "Success"], ["new", "New"], ["faults", "Invalid file"]];
const COLUMNS = [["workflow", "Workflow"], ["problems", "State"], ["from_date", "Window"], [null, "Now"], ["last_success", "Last success"], ["late_seconds", "Deadline"], ["next_run", "Next run"], [null, "Waits"]];
const ORDERS = [["problems", "Problems first"], ["workflow", "Name"], ["-batch_end", "Ended last"], ["-started", "Started last"], ["-late_seconds", "Most late"], ["next_run", "Next run"], ["last_success", "Last success, oldest first"]];
const LIMIT = 50;
const DEFAULTS = { search: "", kind: "", tag: [], owner: [], order: "problems", page: 1 };

export function Overview() {
  const [filter, setFilter] = useParams(DEFAULTS);
  const [search, setSearch] = useState(filter.search);
  useEffect(() => setSearch(filter.search), [filter.search]); // back and forward
  useEffect(() => {
    if (search === filter.search) return undefined;
    const timer = setTimeout(() => setFilter({ search, page: 1 }, { replace: true }), 250);
    return () => clearTimeout(timer);
  }, [search]);
  const page = Math.max(1, Math.floor(filter.page));
  const query = new URLSearchParams({ order_by: filter.order, limit: LIMIT, offset: (page - 1) * LIMIT });
  if (filter.search) query.set("search", filter.search);
  if (filter.kind) query.set("kind", filter.kind);
  for (const label of ["tag", "owner"]) filter[label].forEach((each) => query.append(label, each));
  const { data, error, reload, old } = useData(`overview?${query}`, { every: (found) => (found.items.some((row) => row.status === "open" || row.activity) ? (found.counts.all > 100 ? 5000 : 2000) : 15000) });
  const problem = useStore(outage);
  const { chosen, toggle, set, clear } = useChosen(data?.items || NONE);
  useEffect(() => { // the last row of the last page has gone
    if (data && data.total && !data.items.length && page > 1) setFilter({ page: Math.ceil(data.total / LIMIT) }, { replace: true });
  }, [data]);
  const failures = data?.counts.failures || 0;

  return html`
    <${Heading} title="Batches" first=${failures ? `${failures} failed` : ""}>
      ${data?.may_upload ? html`<a class="button" href="#/upload">Upload…</a>` : null}<${ZoneSwitch} />
    <//>
    ${error && !problem ? html`<${Failure} error=${error} reload=${reload} />` : null}
    <${BulkResults} />
    <${LostWorkflows} may=${Boolean(data?.editable.length)} />
    <${Gaps} />
    <div class="row between top filters">
      <div class="chips" role="group" aria-label="Show only">
        ${FILTERS.map(([kind, text, count]) => {
          const number = data?.counts[count || kind];
          if (kind && !number && filter.kind !== kind) return null;
          return html`<button key=${kind} class="chip" aria-pressed=${filter.kind === kind} onClick=${() => setFilter({ kind, page: 1 })}>${text} <b>${number ?? ""}</b></button>`;
        })}
      </div>
      <div class="row">
        <${Labels} name="tag" all="All tags" counts=${data?.tags} value=${filter.tag} set=${(tag) => setFilter({ tag, page: 1 })} />
        <${Labels} name="owner" all="All owners" counts=${data?.owners} value=${filter.owner} set=${(owner) => setFilter({ owner, page: 1 })} />
        <label><span class="visually-hidden">Order</span><select value=${filter.order} onChange=${(event) => setFilter({ order: event.target.value, page: 1 })}>
          ${ORDERS.map(([order, text]) => html`<option key=${order} value=${order}>${text}</option>`)}
          ${ORDERS.some(([order]) => order === filter.order) ? null : html`<option value=${filter.order}>${orderText(filter.order)}</option>`}
        </select></label>
        <label><span class="visually-hidden">Search workflows</span>
          <input type="search" placeholder="Search name or description" value=${search} onInput=${(event) => setSearch(event.target.value)} />
        </label>
      </div>
    </div>
    <${BulkBar} chosen=${chosen} shown=${new Set((data?.items || NONE).map((row) => row.workflow))} clear=${clear} />
    <p class="loading soft" role="status">${data && old && !error ? "Loading…" : ""}</p>
    ${data ? html`<div class=${old ? "stale" : ""} aria-busy=${old}><${Table} page=${data} filter=${filter} setFilter=${setFilter} choice=${{ chosen, toggle, set }} /></div>` : error ? null : html`<p class="quiet">Loading…</p>`}
  `;
}

const NONE = [];
const orderText = (order) => `${COLUMNS.find(([column]) => column === order.replace(/^-/, ""))?.[1] || order.replace(/^-/, "")}${order.startsWith("-") ? ", descending" : ""}`;

// A choice of one tag or owner. The address may have several.
function Labels({ name, all, counts, value, set }) {
  const known = [...new Set([...Object.keys(counts || {}), ...value])];
  if (!known.length) return null;
  const several = value.length > 1;
  return html`<label class="labels"><span class="visually-hidden">Only with ${name}</span><select value=${several ? "\n" : value[0] ?? ""} onChange=${(event) => set(event.target.value ? [event.target.value] : [])}>
    <option value="">${all}</option>
    ${several ? html`<option value="\n">${value.join(" or ")}</option>` : null}
    ${known.map((each) => html`<option key=${each} value=${each}>${each} (${counts?.[each] || 0})</option>`)}
  </select></label>`;
}

// The expected ends of the runs that are open: workflow → its run in the plan.
function useExpected(rows) {
  const open = rows.filter((row) => row.status === "open").map((row) => row.workflow).sort();
  const query = new URLSearchParams([["hours", "1"], ...open.map((name) => ["workflow", name])]);
  const { data } = useData(open.length ? `plan?${query}` : null, { every: () => 60000, background: true });
  return useMemo(() => Object.fromEntries((data || []).filter((run) => run.state === "running").map((run) => [run.workflow, run])), [data]);
}

function Table({ page, filter, setFilter, choice }) {
  const reasons = useReasons(page.items);
  const expected = useExpected(page.items);
  if (!page.total) return html`<${Empty} page=${page} filter=${filter} />`;
  const sortBy = (column) => setFilter({ order: filter.order === column ? `-${column}` : column, page: 1 });
  const order = (column) => (filter.order === column ? "ascending" : filter.order === `-${column}` ? "descending" : "none");
  const may = new Set(page.editable);
  return html`<div class="panel">
    <div class="scroll"><table class="cards overview">
      <caption class="visually-hidden">Workflows</caption>
      <thead><tr>${may.size ? html`<th scope="col" class="box"><${AllBox} names=${page.editable} chosen=${choice.chosen} set=${choice.set} /></th>` : null}${COLUMNS.map(([column, text]) => column
        ? html`<th scope="col" key=${text} aria-sort=${order(column)}><button class="plain" onClick=${() => sortBy(column)}>${text} <span aria-hidden="true">${{ ascending: "↑", descending: "↓", none: "" }[order(column)]}</span></button></th>`
        : html`<th scope="col" key=${text}>${text}</th>`)}</tr></thead>
      <tbody>${page.items.map((row) => html`<${Row} key=${row.workflow} row=${row} why=${reasons[row.workflow]} expected=${expected[row.workflow]} setFilter=${setFilter}
        box=${may.size ? html`<td class="box">${may.has(row.workflow) ? html`<${RowBox} workflow=${row.workflow} checked=${choice.chosen.has(row.workflow)} toggle=${choice.toggle} />` : null}</td>` : null} />`)}</tbody>
    </table></div>
    <${Pager} page=${page} go=${(offset) => setFilter({ page: Math.floor(offset / LIMIT) + 1 })} />
  </div>`;
}

function Row({ row, why, expected, box, setFilter }) {
  const now = useNow();
  return html`<tr class=${row.problem ? `problem ${row.problem}` : ""}>${box}
    <th scope="row"><a href=${workflowPath(row.workflow)}>${row.workflow}</a>
      ${row.description ? html`<div class="soft">${row.description}</div>` : null}
      <div class="row">
        ${row.faults ? html`<a href=${workflowPath(row.workflow, "file")}><${Badge} state="failed">${plural(row.faults, "error")}<//></a>` : null}
        ${row.paused ? html`<${Badge} state="warn">paused<//>` : null}
        ${row.disabled.length ? html`<${Badge} state="skipped">${plural(row.disabled.length, "job")} disabled<//>` : null}
        ${!row.in_cfg ? html`<${Badge} state="new">no file<//>` : null}
      </div>
      ${row.tags.length || row.owners.length ? html`<div class="soft tags">${row.owners.map((owner) => html`<a key=${`o${owner}`} href=${addressOf("/", { owner })} onClick=${pick(() => setFilter({ owner: [owner], page: 1 }))}>${owner}</a>`)}${row.tags.map((tag) => html`<a key=${`t${tag}`} href=${addressOf("/", { tag })} onClick=${pick(() => setFilter({ tag: [tag], page: 1 }))}>#${tag}</a>`)}</div>` : null}</th>
    <td data-label="State"><div class="state"><${State} row=${row} />${row.status === "open" && row.holder ? html`<div class="soft">held by ${row.holder}</div>` : null}<${AcknowledgedMark} note=${row.acknowledged} /><${HoldMark} row=${row} /></div><${Failed} row=${row} />${why ? html`<div class=${`soft reason ${row.failure?.last_line ? "short" : ""}`} title=${why.text}>${why.text}</div>` : null}</td>
    <td data-label="Window">${row.batch_id !== null ? html`<a href=${batchPath(row.workflow, row.batch_id)}><${Window} from=${row.from_date} to=${row.to_date} /></a>` : null}</td>
    <td data-label="Now">${row.status === "open" ? html`${Object.keys(row.progress).length ? html`<${ProgressReports} reports=${row.progress} />` : html`<span class="soft">for ${duration(now - moment(row.started))}</span>`}<${Expected} run=${expected} now=${now} />` : null}</td>
    <td data-label="Last success"><${Ago} at=${row.last_success} /></td>
    <td data-label="Deadline">${row.deadline ? html`<${When} at=${row.deadline} />${row.late_seconds !== null ? html`<div><${Badge} state="failed">${duration(row.late_seconds * 1000)} late<//></div>` : null}` : null}<${WarningMark} row=${row} /></td>
    <td data-label="Next run">${row.paused ? null : row.next_run ? html`<${When} at=${row.next_run} />` : row.schedule && html`<span class="soft">${row.schedule}</span>`}${row.next_from && !row.paused && row.status !== "open" ? html`<div class="soft">loads from <${When} at=${row.next_from} /></div>` : null}</td>
    <td data-label="Waits"><${WorkflowLinks} text="for" names=${row.waits_for} /><${WorkflowLinks} text="waited for by" names=${row.waited_for_by} /></td>
  </tr>`;
}

// A click on a link changes the filter of this list; a new tab gets the address.
const pick = (act) => (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  act();
};

// How the latest batch has failed: the job, its exit code, and its last line of stderr, which leads to that place in the log.
function Failed({ row }) {
  const found = row.failure;
  if (!found?.job) return null;
  const path = executionPath(row.workflow, found.batch_id, found.job, found.attempt);
  return html`<div class="failure"><a href=${path}>${found.job}</a>${found.exit_code === null ? html` <span class="soft">has failed</span>` : `: exit code ${found.exit_code}`}
    ${found.last_line ? html`<a class="mono line" href=${`${path}?file=stderr`} title=${found.last_line}>${found.last_line}</a>` : found.reason ? html`<div class="soft">${found.reason}</div>` : null}</div>`;
}

function Expected({ run, now }) {
  if (!run?.end_p50) return null;
  if (moment(run.end_p90) < now) return html`<div class="soft">should have ended by <${When} at=${run.end_p90} /></div>`;
  return html`<div class="soft">ends about <${When} at=${run.end_p50} />${run.end_p90 ? html`, at the latest <${When} at=${run.end_p90} /> <span class="nowrap">(9 of 10)</span>` : null}</div>`;
}

export function WorkflowLinks({ text, names }) {
  if (!names.length) return null;
  return html`<div class="among"><span class="soft">${text}</span> ${names.map((name, at) => html`${at ? ", " : ""}<a key=${name} href=${workflowPath(name)}>${name}</a>`)}</div>`;
}

function Empty({ page, filter }) {
  if (!page.counts.all && (filter.tag.length || filter.owner.length)) return html`<div class="panel empty"><p>No workflow has ${[...filter.tag.map((tag) => `the tag “${tag}”`), ...filter.owner.map((owner) => `the owner “${owner}”`)].join(" or ")}${filter.search ? ` and “${filter.search}” in its name or description` : ""}.</p><p><a href="#/">All workflows</a></p></div>`;
  if (page.counts.all) return html`<div class="panel empty"><p>No workflow ${filter.kind === "problems" ? "needs you" : filter.kind ? (filter.kind === "faults" ? "has an invalid file" : `is ${filter.kind.replace("_", " ")}`) : "has that in its name or description"}.</p></div>`;
  if (filter.search) return html`<div class="panel empty"><p>No workflow has “${filter.search}” in its name or description.</p></div>`;
  return html`<div class="panel empty">
    <h2>No workflow yet</h2>
    <p>A workflow is a YAML file. Put one into the folder <code>${page.cfg_folder}</code>. It appears here at once, and its DAG appears within a minute.</p>
    <pre class="code note">${"schedule: \"0 2 * * *\"\njobs:\n  extract: {bash: echo hello}"}</pre>
    ${page.may_upload ? html`<p><a class="button" href="#/upload">Upload one…</a></p>` : null}
  </div>`;
}
