// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// One thing for many workflows: choose rows, confirm their names, and see what happened to each.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { change } from "./api.js";
import { text } from "./actions.js";
import { createStore, refreshAll, useStore } from "./live.js";
import { Badge, Dialog, Why, ignoreRepeats, plural, workflowPath } from "./components.js";

const AT_ONCE = 20; // workflows in one request, so that results appear as they come
const TRIES = 8;

const failedBatch = (row) => row.status === "failed" && row.batch_id !== null;
const ACTIONS = [
  { action: "run_again", label: "Run again", fits: failedBatch, unfit: "has not failed", text: "Airflow clears what failed in the latest batch of each, and runs it again with the same window. Jobs that have succeeded do not run again." },
  { action: "pause", label: "Pause", fits: (row) => row.has_dag && row.paused === false, unfit: "is paused, or has no DAG", text: "Airflow starts no runs of these DAGs until you unpause them. Active runs go on. Windows do not move." },
  { action: "unpause", label: "Unpause", fits: (row) => row.paused === true, unfit: "is not paused", text: "Airflow schedules these DAGs again." },
  { action: "enable", label: "Enable jobs", fits: (row) => row.disabled.length > 0, unfit: "has no disabled job", text: "All disabled jobs of these workflows run again from the next run on, and catch up from where their windows stopped." },
  { action: "restore", label: "Restore", fits: () => true, unfit: "", text: "What Redis lacks of these workflows comes back from the archive. Newer data in Redis does not change. Where Redis has something else than the archive, nothing is restored." },
];

// The current or last run of an action: { action, label, running, rows: [{ workflow, result, text }] }. It outlives a change of
// the view.
const current = createStore(null);
let body; // of its requests

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function update(names, change) {
  const run = current.get();
  current.set({ ...run, rows: run.rows.map((row) => (names.includes(row.workflow) ? { ...row, ...change(row) } : row)) });
}

// Send a request, and once more after a lost reply: the server does nothing twice.
async function send(names) {
  for (let round = 0; ; round += 1) {
    try {
      return (await change("bulk", { ...body, workflows: names, batches: Object.fromEntries(names.filter((name) => name in body.batches).map((name) => [name, body.batches[name]])) })).results;
    } catch (error) {
      if (error.status && error.status < 500) return names.map((workflow) => ({ workflow, result: "refused", text: error.message }));
      if (round + 1 >= TRIES) return null;
      update(names, () => ({ result: "asking", text: "The reply did not arrive. Whether it was done is asked again…" }));
      await pause(Math.min(1000 * 2 ** round, 10000));
    }
  }
}

// What a reply says of a row. After a lost reply, what was done before was most likely done by the request without a reply.
function outcome(row, found) {
  if (!found) return { result: "unknown", text: "The reply does not mention it." };
  if (row.result !== "asking" || found.result !== "already") return found;
  return { result: "done", text: `${found.text} (the reply to the first request was lost)` };
}

async function work() {
  const open = current.get().rows.filter((row) => ["sent", "asking", "unknown"].includes(row.result)).map((row) => row.workflow);
  current.set({ ...current.get(), running: true });
  update(open, () => ({ result: "sent", text: "" }));
  let lost = false;
  for (let at = 0; at < open.length; at += AT_ONCE) {
    const names = open.slice(at, at + AT_ONCE);
    const results = lost ? null : await send(names);
    lost = results === null;
    if (results) update(names, (row) => outcome(row, results.find((each) => each.workflow === row.workflow)));
    else update(names, (row) => ({ result: "unknown", text: row.result === "asking" ? "The server does not answer. It may have been done: ask again before you do anything else." : "Not sent: the server does not answer." }));
  }
  current.set({ ...current.get(), running: false });
  refreshAll();
}

function start(chosen, rows, why) {
  body = { action: chosen.action, why, batches: chosen.action === "run_again" ? Object.fromEntries(rows.map((row) => [row.workflow, row.batch_id])) : {} };
  current.set({ label: chosen.label, running: false, rows: rows.map((row) => ({ workflow: row.workflow, result: "sent", text: "" })) });
  work();
}

// Confirm an action. `rows`: all that are chosen.
function Confirm({ chosen, rows, close, done }) {
  const fit = rows.filter(chosen.fits);
  const left = rows.filter((row) => !chosen.fits(row));
  return html`<${Dialog} title=${`${chosen.label}: ${plural(fit.length, "workflow")}`} submitLabel=${`${chosen.label} ${fit.length}`} careful=${true} close=${close} text=${chosen.text}
      act=${async (form) => {
        start(chosen, fit, text(form, "why"));
        done?.();
      }}>
    <ul class="names" tabindex="0" aria-label="Workflows">${fit.map((row) => html`<li key=${row.workflow}>${row.workflow}${chosen.action === "run_again" ? html` <span class="soft">batch ${row.batch_id}</span>` : null}</li>`)}</ul>
    ${left.length ? html`<p class="soft">Left out: ${left.map((row) => row.workflow).join(", ")}, which ${chosen.unfit}.</p>` : null}
    <${Why} />
  <//>`;
}

// The buttons for the chosen rows. `chosen`: workflow → its row.
export function BulkBar({ chosen, shown, clear }) {
  const [open, setOpen] = useState(null);
  const busy = useStore(current)?.running;
  const rows = [...chosen.values()];
  if (!rows.length) return null;
  const hidden = rows.filter((row) => !shown.has(row.workflow)).length;
  return html`<div class="bulk row" role="group" aria-label="Actions on the chosen workflows">
    <b role="status">${rows.length} chosen${hidden ? html` <span class="soft">(${hidden} not in view)</span>` : null}</b>
    ${ACTIONS.map((each) => {
      const number = rows.filter(each.fits).length;
      return html`<button key=${each.action} disabled=${!number || busy} onKeyDown=${ignoreRepeats} onClick=${() => setOpen(each)}>${each.label}… ${number === rows.length ? null : html`<span class="soft">${number}</span>`}</button>`;
    })}
    <button class="plain" onClick=${clear}>Choose none</button>
    ${open ? html`<${Confirm} chosen=${open} rows=${rows} close=${() => setOpen(null)} done=${clear} />` : null}
  </div>`;
}

// Restore all workflows that Redis has lost. `names`: the workflows.
export function RestoreAll({ names }) {
  const [open, setOpen] = useState(false);
  const busy = useStore(current)?.running;
  return html`<button disabled=${busy} onKeyDown=${ignoreRepeats} onClick=${() => setOpen(true)}>Restore ${names.length === 1 ? "it" : "them"}…</button>
    ${open ? html`<${Confirm} chosen=${ACTIONS.find((each) => each.action === "restore")} rows=${names.map((workflow) => ({ workflow }))} close=${() => setOpen(false)} />` : null}`;
}

const BADGES = { done: ["success", "done"], already: ["new", "done before"], refused: ["failed", "refused"], failed: ["failed", "failed"], sent: ["open", "sent"], asking: ["warn", "not known yet"], unknown: ["warn", "not known"] };
const ORDER = ["unknown", "asking", "failed", "refused", "sent", "done", "already"];

// What happened to each workflow.
export function BulkResults() {
  const run = useStore(current);
  const box = useRef(null);
  useEffect(() => {
    if (!run?.running) return undefined;
    const warn = (event) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [run?.running]);
  const shown = Boolean(run);
  useEffect(() => {
    if (shown) box.current?.focus();
  }, [shown]);
  if (!run) return null;
  const numbers = ORDER.map((result) => [result, run.rows.filter((row) => row.result === result).length]).filter(([, number]) => number);
  const open = run.rows.some((row) => row.result === "unknown");
  const rows = [...run.rows].sort((one, other) => ORDER.indexOf(one.result) - ORDER.indexOf(other.result));
  return html`<section class="panel pad results" aria-label=${`${run.label}: results`} tabindex="-1" ref=${box}>
    <div class="row between"><p role="status"><b>${run.label}:</b> ${numbers.map(([result, number], at) => `${at ? ", " : ""}${number} ${BADGES[result][1]}`)}${run.running ? " …" : ""}</p>
      <span class="row">${open && !run.running ? html`<button class="main" onClick=${work}>Ask again</button>` : null}
      ${run.running ? null : html`<button onClick=${() => current.set(null)}>Close</button>`}</span></div>
    <ul>${rows.map((row) => html`<li key=${row.workflow}><${Badge} state=${BADGES[row.result][0]}>${BADGES[row.result][1]}<//> <a href=${workflowPath(row.workflow)}>${row.workflow}</a> <span class="soft">${row.text}</span></li>`)}</ul>
  </section>`;
}

// Which rows are chosen, and what a click or a key on a row's box does: with Shift, all rows from the last one to this one.
export function useChosen(rows) {
  const [chosen, setChosen] = useState(new Map());
  const last = useRef(null);
  const set = (names, on) => {
    const next = new Map(chosen);
    for (const row of rows.filter((each) => names.includes(each.workflow))) on ? next.set(row.workflow, row) : next.delete(row.workflow);
    setChosen(next);
  };
  useEffect(() => { // what is known of a chosen row stays up to date
    if (rows.some((row) => chosen.has(row.workflow) && chosen.get(row.workflow) !== row)) {
      setChosen(new Map([...chosen].map(([name, row]) => [name, rows.find((each) => each.workflow === name) || row])));
    }
  }, [rows]);
  const toggle = (workflow, shift) => {
    const names = rows.map((row) => row.workflow);
    const from = shift && last.current !== null ? names.indexOf(last.current) : -1;
    const to = names.indexOf(workflow);
    const range = from < 0 ? [workflow] : names.slice(Math.min(from, to), Math.max(from, to) + 1);
    const on = from < 0 ? !chosen.has(workflow) : chosen.has(last.current);
    last.current = workflow;
    set(range, on);
  };
  return { chosen, toggle, set, clear: () => setChosen(new Map()) };
}

// The box of a row. The arrow keys go to the next one; with Shift they choose on the way.
export function RowBox({ workflow, checked, toggle }) {
  const keys = (event) => {
    if (event.key === " " && event.shiftKey) {
      event.preventDefault();
      toggle(workflow, true);
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const boxes = [...event.target.closest("tbody").querySelectorAll("input[type=checkbox]")];
    const next = boxes[boxes.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    next.focus();
    if (event.shiftKey && next.checked !== event.target.checked) next.click();
  };
  return html`<input type="checkbox" checked=${checked} aria-label=${`Choose ${workflow}`} onKeyDown=${keys}
    onClick=${(event) => toggle(workflow, event.shiftKey && event.detail > 0)} />`;
}

// The box above the rows: all of this page, or none.
export function AllBox({ names, chosen, set }) {
  const box = useRef(null);
  const number = names.filter((name) => chosen.has(name)).length;
  useEffect(() => {
    box.current.indeterminate = number > 0 && number < names.length;
  }, [number, names.length]);
  return html`<input type="checkbox" ref=${box} checked=${number > 0 && number === names.length} aria-label="Choose all workflows on this page" onChange=${() => set(names, number < names.length)} />`;
}
