// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Tonight: the actual and the expected runs of all workflows on one time axis. On a phone, the same as a list.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { useParams } from "./address.js";
import { encode, serverNow } from "./api.js";
import { Failure, Heading, ZoneSwitch, plural } from "./components.js";
import { formatDate, fromInput, moment, useNow } from "./dates.js";
import { outage, useData, useStore, zone } from "./live.js";
import { Axis, GroupHead, runKey, useOneStop } from "./tonight_axis.js";
import { Details } from "./tonight_details.js";
import { RunList } from "./tonight_list.js";
import { PROBLEMS, dayText, zoneText } from "./tonight_words.js";

const DEFAULTS = { search: "", problems: false, group: "", order: "", span: "", night: "", empty: false, run: "", chain: false };
const GROUPS = [["", "No groups"], ["owner", "By owner"], ["tag", "By tag"], ["state", "By state"]];
const ORDERS = [["", "Problems first"], ["workflow", "By name"], ["start", "By start"]];
const SPANS = [["", "Last evening to next noon"], ["long", "Yesterday evening to tomorrow noon"], ["near", "4 hours ago to in 8 hours"]];
const HOUR = 3600000;

// The day `days` after another one, such as "2026-11-29".
const dayAfter = (day, days) => new Date(+new Date(`${day}T12:00Z`) + days * 24 * HOUR).toISOString().slice(0, 10);

// The span of time that the axis shows, as naive UTC: from (inclusive) to (exclusive).
function spanOf(values, now, zoneId) {
  const at = (day, hour) => fromInput(`${day}T${hour}:00`, zoneId);
  const [today, clock] = formatDate(new Date(now), zoneId).split(" ");
  if (/^\d{4}-\d{2}-\d{2}$/.test(values.night)) return [at(values.night, "18"), at(dayAfter(values.night, 1), "12")];
  if (values.span === "long") return [at(dayAfter(today, -1), "18"), at(dayAfter(today, 1), "12")];
  if (values.span === "near") {
    const hour = Math.floor(now / HOUR) * HOUR;
    return [hour - 4 * HOUR, hour + 8 * HOUR].map((each) => new Date(each).toISOString().slice(0, 19));
  }
  return [at(clock < "18:00" ? dayAfter(today, -1) : today, "18"), at(clock < "12:00" ? today : dayAfter(today, 1), "12")];
}

// The night of all workflows: one answer has 1,000 at most, so a second one has those after them.
function useNight(query) {
  // Not after each event: in a busy night there are several a second.
  const options = { workflow: " ", every: (night) => (night.items.length > 300 ? 30000 : 15000) };
  const first = useData(`tonight?${query}`, options);
  const rest = useData(first.data && first.data.total > first.data.items.length ? `tonight?${query}&offset=${first.data.items.length}` : null, options);
  const data = useMemo(() => {
    if (!first.data || !rest.data || rest.data.from_date !== first.data.from_date) return first.data;
    const known = new Set(first.data.items.map((row) => row.workflow));
    return { ...first.data, items: [...first.data.items, ...rest.data.items.filter((row) => !known.has(row.workflow))] };
  }, [first.data, rest.data]);
  return { ...first, data };
}

// The clock of Redis, which says when batches were opened: that of the answer, and the time since. An answer that has not
// changed has an old time, so only a new one counts.
function useNightNow(data) {
  const late = useRef({ text: null, by: 0 });
  const now = useNow();
  if (data && data.now !== late.current.text) late.current = { text: data.now, by: +moment(data.now) - serverNow() };
  return now + late.current.by;
}

export function Tonight() {
  const [values, set] = useParams(DEFAULTS);
  const [search, setSearch] = useState(values.search);
  const zoneId = useStore(zone);
  const problem = useStore(outage);
  const clock = useNow(60000);
  const [from, to] = spanOf(values, clock, zoneId);
  const { data, error, reload, old } = useNight(new URLSearchParams({ from_date: from, to_date: to }));
  const now = useNightNow(data);
  const narrow = useNarrow();
  useEffect(() => setSearch(values.search), [values.search]);
  useEffect(() => {
    const timer = setTimeout(() => search !== values.search && set({ search }, { replace: true }), 250);
    return () => clearTimeout(timer);
  }, [search]);

  const chosen = useMemo(() => chosenRun(data, values.run), [data, values.run]);
  const impact = useData(chosen ? `workflows/${encode(chosen.row.workflow)}/impact` : null, { workflow: chosen?.row.workflow, every: () => 60000, background: true });
  const affected = chosen && !impact.old ? impact.data?.downstream : undefined;
  const chain = useMemo(() => ({
    upstream: new Set((chosen?.run.critical_path || []).slice(0, -1).map((step) => step.workflow)),
    downstream: new Set((affected || []).map((each) => each.workflow)),
  }), [chosen, affected]);
  const shown = JSON.stringify({ ...values, run: null });
  const [folded, setFolded] = useState({});
  const opener = useRef(null);
  const toggle = (name) => setFolded({ ...folded, [name]: !folded[name] });
  const select = (row, run, element) => {
    opener.current = element;
    set({ run: values.run === `${row.workflow} ${runKey(run)}` ? "" : `${row.workflow} ${runKey(run)}` }, { replace: Boolean(values.run) });
  };
  const close = () => {
    set({ run: "", chain: false });
    if (opener.current?.isConnected) opener.current.focus();
  };
  const rows = useMemo(() => selectRows(data, values, chosen && values.chain ? new Set([chosen.row.workflow, ...chain.upstream, ...chain.downstream]) : null), [data, shown, chosen, chain]);
  const groups = useMemo(() => groupRows(rows.shown, values.group).map((group) => ({ ...group, folded: Boolean(folded[group.name]) })), [rows, values.group, folded]);
  const box = useRef(null);
  useOneStop(box, `${data?.now} ${rows.shown.length} ${values.run} ${narrow}`);
  const span = { from: +moment(from), to: +moment(to) };
  const selected = useMemo(() => chosen && { workflow: chosen.row.workflow, key: runKey(chosen.run) }, [chosen]);
  const shared = { groups, now, zoneId, select, toggle, chain, selected };
  const details = chosen ? html`<${Details} key=${values.run} ...${{ chosen, data, now, zoneId, affected, close }} only=${values.chain} setOnly=${(only) => set({ chain: only })} />` : null;
  return html`
    <${Heading} title="Tonight"><${ZoneSwitch} /><//>
    ${error && !problem ? html`<${Failure} error=${error} reload=${reload} />` : null}
    <${Controls} ...${{ values, set, search, setSearch, data, from, zoneId, now }} bad=${rows.bad} />
    <p class="soft night-summary" role="status">${data ? summary(data, rows, values, set) : "Loading…"} Times in ${zoneText(span.from, span.to, zoneId)}.</p>
    ${!data ? null : !data.items.length ? html`<${NoWorkflow} />` : html`<div ref=${box} class=${old ? "stale" : ""}>
      ${!rows.shown.length ? html`<div class="panel empty"><p>${nothing(values, rows)}</p></div>` : narrow ? html`<${RunList} ...${shared} GroupHead=${GroupHead} details=${details} />` : html`<${Axis} ...${shared} span=${span} /><${Legend} />`}
      ${narrow && rows.shown.some((row) => row.workflow === chosen?.row.workflow) ? null : details}
    </div>`}
  `;
}

function useNarrow() {
  const query = useMemo(() => window.matchMedia("(max-width: 700px)"), []);
  const [narrow, set] = useState(query.matches);
  useEffect(() => {
    const update = () => set(query.matches);
    query.addEventListener("change", update);
    return () => query.removeEventListener("change", update);
  }, []);
  return narrow;
}

function Controls({ values, set, search, setSearch, data, bad, from, zoneId, now }) {
  const evening = formatDate(moment(from), zoneId).slice(0, 10);
  const first = dayText(new Date(`${values.night || evening}T12:00Z`), "utc");
  const next = dayAfter(values.night || evening, 1);
  const isPast = moment(fromInput(`${next}T18:00`, zoneId)) <= now;
  const Choice = ({ name, label, options }) => html`<label><span class="visually-hidden">${label}</span><select value=${values[name]} onChange=${(event) => set({ [name]: event.target.value, ...(name === "span" ? { night: "" } : {}) })}>${options.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></label>`;
  return html`<div class="row between top">
    <div class="row">
      <div class="row nights" role="group" aria-label="Night">
        <button aria-label="The night before" onClick=${() => set({ night: dayAfter(values.night || evening, -1), run: "" })}>‹</button>
        ${values.night ? html`<b>Night of ${first}</b>` : html`<${Choice} name="span" label="Span of time" options=${SPANS} />`}
        <button aria-label="The night after" disabled=${!values.night || !isPast} onClick=${() => set({ night: next, run: "" })}>›</button>
        ${values.night ? html`<button onClick=${() => set({ night: "", run: "" })}>Tonight</button>` : null}
      </div>
      <button class="chip" aria-pressed=${values.problems} onClick=${() => set({ problems: !values.problems })}>Only with problems <b>${data ? bad.length : ""}</b></button>
    </div>
    <div class="row">
      <${Choice} name="group" label="Groups" options=${GROUPS} />
      <${Choice} name="order" label="Order" options=${ORDERS} />
      <label class="night-search"><span class="visually-hidden">Search workflows</span><input type="search" placeholder="Search name, owner or tag" value=${search} onInput=${(event) => setSearch(event.target.value)} /></label>
    </div>
  </div>`;
}

function summary(data, rows, values, set) {
  const found = Object.keys(PROBLEMS).map((each) => [each, rows.bad.filter((row) => row.problems.includes(each)).length]).filter(([, count]) => count);
  const cut = data.items.length < data.total ? ` This page has the first ${data.items.length} of ${data.total}, those with problems first.` : "";
  const hidden = rows.empty && !values.problems && !values.search && !values.chain;
  return html`${plural(rows.shown.length, "workflow")} of ${data.counts.all}. ${found.length ? `${found.map(([each, count]) => `${count} ${PROBLEMS[each]}`).join(", ")}.` : "No problems."}${cut}
    ${hidden ? html` ${plural(rows.empty, "workflow has", "workflows have")} no run in this time. <button class="plain link" onClick=${() => set({ empty: !values.empty })}>${values.empty ? "Hide" : "Show"} ${rows.empty === 1 ? "it" : "them"}</button>.` : null}`;
}

function nothing(values, rows) {
  if (values.search) return `No workflow has “${values.search}” in its name, description, owner or tags${values.problems ? ", and a problem" : ""}.`;
  if (values.problems) return "No workflow has a problem.";
  return `No workflow has a run in this time${rows.empty ? "" : " that you may see"}.`;
}

const NoWorkflow = () => html`<div class="panel empty"><h2>No workflow yet</h2><p>As soon as there is a workflow with a schedule or a batch, its runs are here. <a href="#/">All workflows</a></p></div>`;

// The run that the address names: "WORKFLOW KEY". An expected run keeps its key until it has opened its batch.
function chosenRun(data, text) {
  if (!data || !text) return null;
  const at = text.indexOf(" ");
  const row = data.items.find((each) => each.workflow === text.slice(0, at));
  const key = text.slice(at + 1);
  const run = row?.runs.find((each) => runKey(each) === key) || row?.runs.filter((each) => `due ${each.due}` === key).pop();
  return run ? { row, run } : null;
}

function selectRows(data, values, only) {
  const text = values.search.toLowerCase();
  const matching = (data?.items || []).filter((row) => (!only || only.has(row.workflow))
    && (!text || [row.workflow, row.description, row.owner, ...row.tags].some((each) => each?.toLowerCase().includes(text))));
  const bad = matching.filter((row) => row.problems.length);
  const found = values.problems ? bad : matching;
  const isEmpty = (row) => !row.runs.length && !row.bands.length && !row.problems.length;
  const shown = values.empty || only || text ? [...found] : found.filter((row) => !isEmpty(row));
  const start = (row) => [...row.runs, ...row.bands].reduce((first, each) => (each.start && each.start < first ? each.start : first), "9");
  if (values.order === "workflow") shown.sort((a, b) => a.workflow.localeCompare(b.workflow));
  if (values.order === "start") shown.sort((a, b) => start(a).localeCompare(start(b)) || a.workflow.localeCompare(b.workflow));
  return { shown, bad, empty: found.filter(isEmpty).length };
}

function stateOf(row) {
  if (row.problems.length) return "With problems";
  const states = new Set(row.runs.map((run) => run.state));
  if (states.has("open")) return "Running";
  if (states.has("pending")) return "Due, not started";
  if (states.has("expected") || row.bands.some((band) => band.state === "expected")) return "Expected";
  return row.runs.length || row.bands.length ? "Done" : "No run in this time";
}

const STATE_ORDER = ["With problems", "Running", "Due, not started", "Expected", "Done", "No run in this time"];
const KEYS = { owner: (row) => [row.owner || "No owner"], tag: (row) => (row.tags.length ? row.tags : ["No tag"]), state: (row) => [stateOf(row)] };

function groupRows(rows, by) {
  if (!KEYS[by]) return [{ name: "", rows, problems: 0 }];
  const found = {};
  rows.forEach((row) => KEYS[by](row).forEach((name) => (found[name] ||= []).push(row)));
  const place = (name) => (by === "state" ? STATE_ORDER.indexOf(name) : name.startsWith("No ") ? 1 : 0);
  return Object.entries(found).map(([name, each]) => ({ name, rows: each, problems: by === "state" ? 0 : each.filter((row) => row.problems.length).length }))
    .sort((a, b) => place(a.name) - place(b.name) || a.name.localeCompare(b.name));
}

const LEGEND = [["success", "✓", "succeeded"], ["failed", "✕", "failed"], ["open", "▶", "running"], ["pending", "…", "due, not started"], ["expected", "", "expected"]];
const Legend = () => html`<div class="axis-legend soft" aria-hidden="true">
  ${LEGEND.map(([state, glyph, text]) => html`<span key=${state}><span class=${`bar ${state}`}><i class=${["expected", "pending"].includes(state) ? "likely" : "done"}></i><span class="glyph">${glyph}</span></span> ${text}</span>`)}
  <span><span class="bar expected"><i class="likely half"></i><i class="latest half"></i></span> probably done, at the latest in 9 of 10 nights</span>
  <span><span class="bar expected unknown"><span class="glyph">?</span></span> end unknown</span>
  <span><span class="deadline"></span> deadline</span><span><span class="deadline risk"></span> probably missed</span><span><span class="deadline missed"></span> missed</span>
  <span>Arrow keys lead from run to run, Enter shows why and who is affected.</span>
</div>`;
