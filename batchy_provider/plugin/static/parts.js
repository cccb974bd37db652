// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// What several views are made of.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { airflowPage, part } from "./api.js";
import { connected, nudge, setZone, trouble, useStore, zone } from "./live.js";
import { zoneName } from "./when.js";

export const embedded = window.parent !== window;
export const inDag = new URLSearchParams(location.search).get("in") === "dag";

export const workflowPath = (name, tab) => `#/workflows/${part(name)}${tab ? `/${tab}` : ""}`;
export const batchPath = (name, id) => `#/workflows/${part(name)}/batches/${id}`;
export const executionPath = (name, id, job, attempt) => `${batchPath(name, id)}/${part(job)}${attempt ? `/${part(attempt)}` : ""}`;

// The frame that we are shown in may not lead its parent away, nor, before Airflow 3.3, download: a link in the parent may.
function byParent(href, download) {
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

// A page of Airflow's own.
export function AirflowLink({ path, children, ...rest }) {
  const href = airflowPage(path);
  return html`<a href=${href} onClick=${byParent(href)} ...${rest}>${children}</a>`;
}

export const Download = ({ href, children }) =>
  html`<a class="button" download href=${href} onClick=${byParent(href, true)}>${children}</a>`;

const WORDS = { success: "success", failed: "failed", open: "open", new: "new", skipped: "skipped", running: "running" };
const LOOKS = { running: "open", upstream_failed: "failed", removed: "new", up_for_retry: "warn", up_for_reschedule: "warn", deferred: "warn", aborted: "failed" };
export const Badge = ({ state, children }) =>
  html`<span class=${`badge ${LOOKS[state] || state || "new"}`}>${children || WORDS[state] || String(state ?? "none").replaceAll("_", " ")}</span>`;

export function Doing({ reports }) {
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

export const Faults = ({ faults }) => html`<ul>
  ${faults.map((fault) => html`<li key=${`${fault.file}${fault.line}${fault.key}${fault.message}`}>
    ${fault.file ? html`<code>${shortFile(fault.file)}${fault.line ? `:${fault.line}:${fault.column}` : ""}</code> ` : null}
    ${fault.key ? html`<code>${fault.key}</code>: ` : null}${fault.message || fault.msg}
  </li>`)}
</ul>`;
const shortFile = (file) => file.split("/").slice(-1)[0];

export function Heading({ crumbs = [], title, children }) {
  const place = useRef(null);
  useEffect(() => {
    document.title = title === "Batches" ? title : `${title} · Batches`;
    place.current?.focus({ preventScroll: true }); // a screen reader reads where one has come to
  }, [title]);
  return html`<header class="top">
    ${crumbs.length ? html`<nav class="crumbs" aria-label="Path"><ol>
      ${crumbs.map(([text, href]) => html`<li key=${href}><a href=${href}>${text}</a></li>`)}
    </ol></nav>` : null}
    <div class="row between">
      <h1 tabindex="-1" ref=${place}>${title}</h1>
      <div class="row">${children}</div>
    </div>
  </header>`;
}

export function Zone() {
  const place = useStore(zone);
  const away = useStore(trouble);
  const on = useStore(connected) && !away;
  return html`<span class=${`live ${on ? "on" : ""}`} role="status"><i></i>${on ? "live" : "connecting…"}</span>
    <label class="row"><span class="visually-hidden">Times are shown in</span>
      <select value=${place} onChange=${(event) => setZone(event.target.value)}>
        <option value="local">${zoneName("local")}</option><option value="utc">UTC</option>
      </select>
    </label>`;
}

export function Tabs({ tabs, now }) {
  return html`<nav class="tabs" aria-label="Views">
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

// A dialog says what will happen, asks what is needed, and stays open with the reason when it is refused.
export function Dialog({ title, text, sure, danger, close, act, children, valid = true }) {
  const box = useRef(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => {
    box.current.showModal();
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await act(new FormData(event.target));
      close();
      nudge();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<dialog ref=${box} onClose=${close} aria-labelledby="dialog-title">
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${title}</h2>
      ${[].concat(text || []).map((each, at) => html`<p key=${at}>${each}</p>`)}
      ${children}
      ${error ? html`<div class="note bad" role="alert"><p>${error.message}</p>${error.faults?.length ? html`<${Faults} faults=${error.faults} />` : null}</div>` : null}
      <div class="actions">
        <button type="button" onClick=${() => box.current.close()}>Cancel</button>
        <button type="submit" class=${danger ? "danger" : "main"} disabled=${busy || !valid}>${busy ? "…" : sure || title}</button>
      </div>
    </form>
  </dialog>`;
}

export const Why = () => html`<div class="field"><label for="why">Why (kept in the record)</label><input id="why" name="why" type="text" maxlength="2000" autocomplete="off" /></div>`;

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
