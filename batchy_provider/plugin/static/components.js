// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Components that several views use.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { airflowPage, encode } from "./api.js";
import { connected, outage, overdue, refreshAll, setZone, useStore, zone } from "./live.js";
import { When, zoneName } from "./dates.js";

export const embedded = window.parent !== window;
export const inDag = new URLSearchParams(location.search).get("in") === "dag";

export const workflowPath = (name, tab) => `#/workflows/${encode(name)}${tab ? `/${tab}` : ""}`;
export const batchPath = (name, id) => `#/workflows/${encode(name)}/batches/${id}`;
export const executionPath = (name, id, job, attempt) => `${batchPath(name, id)}/${encode(job)}${attempt ? `/${encode(attempt)}` : ""}`;

// Airflow's frame may not change the address of its parent and, before Airflow 3.3, not download. A link in the parent may.
function clickInParent(href, download) {
  return (event) => {
    if (!embedded || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const link = window.parent.document.createElement("a");
    link.href = href;
    if (download) link.download = "";
    window.parent.document.body.append(link);
    link.click();
    link.remove();
  };
}

// A link to a page of Airflow.
export function AirflowLink({ path, children, ...rest }) {
  const href = airflowPage(path);
  return html`<a href=${href} onClick=${clickInParent(href)} ...${rest}>${children}</a>`;
}

export const Download = ({ href, children }) =>
  html`<a class="button" download href=${href} onClick=${clickInParent(href, true)}>${children}</a>`;

// Only open batches and running tasks pulse. A job of an open batch may not have started.
const BADGE_CLASSES = {
  open: "open pulse", running: "open pulse", still_open: "open", not_begun: "new", upstream_failed: "failed", aborted: "failed", removed: "new",
  queued: "warn", scheduled: "warn", starting: "warn", waiting: "warn", held: "warn", on_hold: "warn", deferred: "warn", up_for_retry: "warn", up_for_reschedule: "warn",
};
const STATE_TEXTS = { still_open: "open" };
export const badgeClass = (state) => BADGE_CLASSES[state] || state || "new";
export const stateText = (state) => STATE_TEXTS[state] || String(state ?? "none").replaceAll("_", " ");
export const Badge = ({ state, children }) => html`<span class=${`badge ${badgeClass(state)}`}>${children || stateText(state)}</span>`;

// The state of a job. `tasks`: job → its state in Airflow, in the run that holds the open batch.
export function jobState(job, tasks) {
  const task = tasks?.[job.job];
  if (task && (job.status === "open" || job.kind === "handler")) return task === "waiting" ? "not_begun" : task;
  return job.status === "open" ? "still_open" : job.outcome || job.status;
}

// What the next run of a workflow does before it has opened its batch.
const ACTIVITY = {
  queued: "a run is in Airflow's queue", waiting: "a run waits", held: "a run waits until the open batch is closed", on_hold: "a run waits until the hold ends", starting: "a run is starting", running: "a run loads a past window, or its batch has ended",
};
function Activity({ row }) {
  const { activity } = row;
  if (!activity) return null;
  const text = activity.doing === "queued" && row.paused ? "a run is in the queue: it starts when the DAG is unpaused" : ACTIVITY[activity.doing];
  return html`<div class="soft">${text}${activity.waits_for.length ? html` for ${activity.waits_for.map((name, at) => html`${at ? ", " : ""}<a key=${name} href=${workflowPath(name)}>${name}</a>`)}` : null}${activity.since ? html`, since <${When} at=${activity.since} />` : null}</div>`;
}

// The state of a workflow: what runs now, before how the last batch ended.
export function State({ row }) {
  if (row.status === "open" || !row.activity) return html`<${Badge} state=${row.status} /><${Activity} row=${row} />`;
  return html`<${Badge} state=${row.activity.doing} /><${Activity} row=${row} />${row.status === "new" ? null : html`<div class="soft">last batch: ${row.status}</div>`}`;
}

// Who has opened a batch. The demo invents batches, and says so.
export const Opener = ({ by }) => (by === "demo history" ? html`<${Badge} state="warn">demo history<//>` : by);

export function ProgressReports({ reports }) {
  const shown = Object.entries(reports || {});
  return shown.map(([job, report]) => {
    const share = typeof report.progress === "number" ? report.progress : null;
    return html`<div class="doing" key=${job}>
      <span class="row">
        ${share === null ? null : html`<progress max="1" value=${share} aria-label=${`progress of ${job}`}></progress> <span class="soft">${Math.round(share * 100)} %</span>`}
      </span>
      <small>${job}${report.message ? `: ${report.message}` : ""}</small>
    </div>`;
  });
}

export function Failure({ error, reload }) {
  if (!error) return null;
  return html`<div class="note bad" role="alert">
    <p>${error.message}</p>
    ${error.status === 404 ? html`<p><a href="#/">All workflows</a></p>` : null}
    ${reload && error.status !== 404 ? html`<button onClick=${reload}>Try again</button>` : null}
  </div>`;
}

// For an address without a view: say so, and offer a link.
export function NotFound({ crumbs, title, text, href = "#/", to = "All workflows" }) {
  return html`<${Heading} crumbs=${crumbs} title=${title} /><div class="note warn" role="alert"><p>${text}</p><p><a href=${href}>${to}</a></p></div>`;
}

const shortFile = (file) => file.split("/").slice(-1)[0];

// Errors as a list, each with its place in the file.
export const Diagnostics = ({ diagnostics }) => html`<ul>
  ${diagnostics.map((diagnostic) => html`<li key=${`${diagnostic.file}${diagnostic.line}${diagnostic.key}${diagnostic.message}`}>
    ${diagnostic.file ? html`<code>${shortFile(diagnostic.file)}${diagnostic.line ? `:${diagnostic.line}:${diagnostic.column}` : ""}</code> ` : null}
    ${diagnostic.key ? html`<code>${diagnostic.key}</code>: ` : null}${diagnostic.message || diagnostic.msg}
  </li>`)}
</ul>`;

// The text of a workflow file, with each error below its line.
export function Source({ text, diagnostics, label }) {
  const byLine = {};
  diagnostics.forEach((each) => (byLine[each.line || 1] ||= []).push(each));
  return html`<div class="panel"><pre class="code" tabindex="0" aria-label=${label}>${text.replace(/\n$/, "").split("\n").map((line, index) => {
    const here = byLine[index + 1] || [];
    return html`<span key=${index} class=${`line ${here.length ? "invalid" : ""}`}>${line || " "}</span>${here.map((each) => html`<span class="diagnostic">▲ ${each.key ? `${each.key}: ` : ""}${each.message}</span>`)}`;
  })}</pre></div>`;
}

// `first`: what the title of the browser's tab begins with, such as a number of failures.
export function Heading({ crumbs = [], title, first = "", children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = [first, title, title === "Batches" ? "" : "Batches"].filter(Boolean).join(" · ");
  }, [title, first]);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true }); // a screen reader reads the title of the new view
  }, [title]);
  return html`<header class="top">
    ${crumbs.length ? html`<nav class="crumbs" aria-label="Path"><ol>
      ${crumbs.map(([text, href]) => html`<li key=${href}><a href=${href}>${text}</a></li>`)}
    </ol></nav>` : null}
    <div class="row between">
      <h1 tabindex="-1" ref=${heading}>${title}</h1>
      <div class="row">${children}</div>
    </div>
  </header>`;
}

export function ZoneSwitch() {
  const zoneId = useStore(zone);
  const broken = useStore(outage);
  const late = useStore(overdue);
  const on = useStore(connected) && !broken && !late;
  return html`<span class=${`live ${on ? "on" : ""}`} role="status"><i></i>${on ? "live" : late ? "no answer yet…" : "connecting…"}</span>
    <label class="row"><span class="visually-hidden">Times are shown in</span>
      <select value=${zoneId} onChange=${(event) => setZone(event.target.value)}>
        <option value="local">${zoneName("local")}</option><option value="utc">UTC</option>
        ${["local", "utc"].includes(zoneId) ? null : html`<option value=${zoneId}>${zoneId}</option>`}
      </select>
    </label>`;
}

export function Tabs({ tabs, now, label = "Views" }) {
  return html`<nav class="tabs" aria-label=${label}>
    ${tabs.map(([key, text, href]) => html`<a key=${key} href=${href} aria-current=${key === now ? "page" : undefined}>${text}</a>`)}
  </nav>`;
}

export function Pager({ page, go }) {
  if (page.total <= page.limit && page.offset === 0) return null;
  const last = Math.min(page.offset + page.limit, page.total);
  return html`<nav class="pager row between" aria-label="Pages">
    <span class="soft">${page.offset + 1}–${last} of ${page.total}</span>
    <span class="row">
      <button disabled=${page.offset === 0} onClick=${() => go(Math.max(0, page.offset - page.limit))}>Previous</button>
      <button disabled=${last >= page.total} onClick=${() => go(page.offset + page.limit)}>Next</button>
    </span>
  </nav>`;
}

// Ignore repeats of a key that is held down: the user meant them for the element that had the focus before.
export const ignoreRepeats = (event) => {
  if (event.repeat && (event.key === "Enter" || event.key === " ")) event.preventDefault();
};

const ARMED_AFTER = 700;

// A dialog says what will happen, asks for input, and stays open with the error if the server refuses.
// `careful`: the action cannot simply be undone, so Enter cancels. `confirm`: a name that the user must type.
// It submits nothing during its first moments: the second half of a double click is not meant for it.
export function Dialog({ title, text, submitLabel, danger, careful = danger, confirm, close, act, children, valid = true }) {
  const box = useRef(null);
  const cancel = useRef(null);
  const sent = useRef(false);
  const [armed, setArmed] = useState(false);
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => {
    box.current.showModal();
    if (careful) cancel.current.focus();
    const timer = setTimeout(() => setArmed(true), ARMED_AFTER);
    return () => clearTimeout(timer);
  }, []);
  const ready = armed && valid && (!confirm || typed === confirm);
  const submit = async (event) => {
    event.preventDefault();
    if (!ready || sent.current) return;
    sent.current = true;
    setBusy(true);
    setError(null);
    try {
      await act(new FormData(event.target));
      close();
      refreshAll();
    } catch (problem) {
      setError(problem);
      setBusy(false);
      sent.current = false;
    }
  };
  return html`<dialog ref=${box} onClose=${close} onKeyDown=${ignoreRepeats} aria-labelledby="dialog-title">
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${title}</h2>
      ${[].concat(text || []).map((each, at) => html`<p key=${at}>${each}</p>`)}
      ${children}
      ${confirm ? html`<div class="field"><label for="confirm">To confirm, type the workflow's name: <code>${confirm}</code></label><input id="confirm" type="text" required autocomplete="off" value=${typed} onInput=${(event) => setTyped(event.target.value.trim())} /></div>` : null}
      ${error ? html`<div class="note bad" role="alert"><p>${error.message}</p>${error.diagnostics?.length ? html`<${Diagnostics} diagnostics=${error.diagnostics} />` : null}</div>` : null}
      <div class="actions">
        <button type="button" ref=${cancel} onClick=${() => box.current.close()}>Cancel</button>
        <button type="submit" class=${danger ? "danger" : "main"} disabled=${busy || !ready}>${busy ? "…" : submitLabel || title}</button>
      </div>
    </form>
  </dialog>`;
}

export const Why = ({ required, most = 2000 }) => html`<div class="field"><label for="why">Why (${required ? "required; " : ""}goes into the audit log)</label><input id="why" name="why" type="text" maxlength=${most} required=${required} pattern=${required ? ".*\\S.*" : undefined} title=${required ? "a reason" : undefined} autocomplete="off" /></div>`;

export const HoldEnd = ({ hold }) => (hold.until ? html`until <${When} at=${hold.until} />` : "until it is released");

// In a dialog that opens a batch: the workflow is on hold, and the person may open it all the same.
export const IgnoreHold = ({ hold, text, label, checked, set }) => (hold ? html`<div class="note warn"><p><b>The workflow is on hold</b> <${HoldEnd} hold=${hold} />, by ${hold.by}: “${hold.why}” ${text}</p>
  <label class="check"><input type="checkbox" checked=${checked} onChange=${(event) => set(event.target.checked)} /> <span>${label}</span></label></div>` : null);

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export const size = (bytes) => {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let at = -1;
  while (value >= 1000 && at < 3) {
    value /= 1000;
    at += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[at]}`;
};
