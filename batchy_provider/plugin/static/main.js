// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Start the page: choose the view by the address after "#", and follow Airflow's address bar and its light or dark theme.

import { html, render, useEffect, useErrorBoundary, useState } from "./vendor/preact-htm.js";
import { readAddress, setParams, watchAddress } from "./address.js";
import { Batch } from "./batch.js";
import { isZone, zoneName } from "./dates.js";
import { Execution } from "./execution.js";
import { History } from "./history.js";
import { listen, outage, overdue, toastText, useStore, zone } from "./live.js";
import { Overview } from "./overview.js";
import { NotFound, Tabs, embedded, inDag } from "./components.js";
import { Tonight } from "./tonight.js";
import { Upload } from "./upload.js";
import { Workflow } from "./workflow.js";

const VIEWS = [["", "Overview", "#/"], ["tonight", "Tonight", "#/tonight"], ["history", "History", "#/history"]];

function view([kind, ...rest]) {
  if (kind === "tonight") return html`<${Tonight} />`;
  if (kind === "history") return html`<${History} />`;
  if (kind === "upload") return html`<${Upload} key=${rest[0]} workflow=${rest[0]} />`;
  if (!kind || (kind === "workflows" && !rest[0])) return html`<${Overview} />`;
  if (kind !== "workflows") return html`<${NotFound} title="Batches" text=${`There is no view "${kind}".`} />`;
  const [workflow, tab, id, job, attempt] = rest;
  if (tab !== "batches") return html`<${Workflow} key=${workflow} name=${workflow} tab=${tab || "jobs"} />`;
  if (job) return html`<${Execution} key=${`${workflow} ${id} ${job}`} workflow=${workflow} id=${id} job=${job} attempt=${attempt} />`;
  return html`<${Batch} key=${`${workflow} ${id}`} workflow=${workflow} id=${id} />`;
}

function Page() {
  const [path, setPath] = useState(pathOf(location.hash));
  const [broken, reset] = useErrorBoundary();
  const problem = useStore(outage);
  const toast = useStore(toastText);
  const late = useStore(overdue);
  useEffect(() => {
    let before = pathOf(location.hash);
    return watchAddress(() => {
      followZone();
      updateParent();
      if (before === pathOf(location.hash)) return; // only a parameter of this view has changed
      before = pathOf(location.hash);
      reset();
      setPath(before);
      window.scrollTo(0, 0);
    });
  }, []);
  let shown;
  let kind = null;
  try {
    const { parts } = readAddress(path);
    kind = parts[0] || "";
    shown = view(parts);
  } catch {
    shown = html`<${NotFound} title="Batches" text=${`The address ${path} cannot be read.`} />`;
  }
  return html`${inDag ? null : html`<${Tabs} label="Batches" tabs=${VIEWS} now=${kind === "workflows" && path === "#/workflows" ? "" : kind} />`}<main>
    ${late && !problem ? html`<div class="note warn" role="alert"><p>No answer for some seconds: Redis or Airflow's API server may hang. This page may show old data; it keeps trying.</p></div>` : null}
    ${problem ? html`<div class="note bad" role="alert"><p>${problem}</p></div>` : null}
    ${broken ? html`<div class="note bad" role="alert"><p>This view failed: ${String(broken.message || broken)}</p><p><button onClick=${() => location.reload()}>Reload</button></p></div>` : shown}
    <div aria-live="polite">${toast ? html`<div class="toast">${toast}</div>` : null}</div>
  </main>`;
}

const pathOf = (hash) => hash.split("?")[0];

// The time zone of the address counts. Without one there, the current zone goes on, and a link to this view carries it.
function followZone() {
  const { params } = readAddress(`#/?${location.hash.split("?").slice(1).join("?")}`);
  const wanted = params.get("tz");
  if (isZone(wanted)) zone.set(wanted === zoneName("local") ? "local" : wanted);
  else if (wanted !== null || zone.get() !== "local") setParams({ tz: zone.get() === "local" ? null : zone.get() }, { replace: true });
}

// Put our view into Airflow's address bar, so that a link to it leads here.
const sharesAddress = embedded && !inDag;
const showsUs = (bar) => /\/plugin\/batches(\/|$)/.test(bar.pathname);
function updateParent() {
  if (!sharesAddress) return;
  const { history, location: bar } = window.parent;
  if (showsUs(bar) && bar.hash !== location.hash) history.replaceState(history.state, "", `${bar.pathname}${bar.search}${location.hash}`);
}

// A bookmark or a typed address leads to another view of ours. Airflow's menu removes our view from the address bar and
// leaves our frame as it is. There is no event for the latter, so check twice a second.
function followParent() {
  if (!sharesAddress) return;
  const bar = window.parent.location;
  updateParent();
  window.parent.addEventListener("hashchange", () => {
    if (showsUs(bar) && bar.hash.startsWith("#/") && bar.hash !== location.hash) location.replace(bar.hash);
  });
  setInterval(() => {
    if (!bar.hash) updateParent();
  }, 500);
}

function followTheme() {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const airflow = embedded ? window.parent.document.documentElement : null;
  const update = () => {
    const is = airflow && /\b(dark|light)\b/.test(airflow.className) ? /\bdark\b/.test(airflow.className) : dark.matches;
    root.classList.toggle("dark", is);
  };
  update();
  dark.addEventListener("change", update);
  if (airflow) new MutationObserver(update).observe(airflow, { attributes: true, attributeFilter: ["class"] });
}

try {
  followTheme();
  if (sharesAddress && window.parent.location.hash.startsWith("#/") && !location.hash) location.replace(window.parent.location.hash);
  followParent();
} catch {
  // a page of another origin embeds us: its theme and address cannot be read
}
followZone();
listen();
const container = document.getElementById("page");
container.textContent = "";
render(html`<${Page} />`, container);
