// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The view, from the part of the address after "#", which Airflow's address bar shows too; and Airflow's light or dark theme.

import { html, render, useEffect, useErrorBoundary, useState } from "./vendor/preact-htm.js";
import { Batch } from "./batch.js";
import { Execution } from "./execution.js";
import { listen, overdue, said, trouble, useStore } from "./live.js";
import { Overview } from "./overview.js";
import { Nowhere, embedded, inDag } from "./parts.js";
import { Upload } from "./upload.js";
import { Workflow } from "./workflow.js";

function view(hash) {
  const [, kind, ...rest] = hash.replace(/^#/, "").split("/").map(decodeURIComponent);
  if (kind === "upload") return html`<${Upload} key=${rest[0]} workflow=${rest[0]} />`;
  if (!kind || (kind === "workflows" && !rest[0])) return html`<${Overview} />`;
  if (kind !== "workflows") return html`<${Nowhere} title="Batches" text=${`There is no view "${kind}".`} />`;
  const [workflow, tab, id, job, attempt] = rest;
  if (tab !== "batches") return html`<${Workflow} key=${workflow} name=${workflow} tab=${tab || "jobs"} />`;
  if (job) return html`<${Execution} key=${`${workflow} ${id} ${job}`} workflow=${workflow} id=${id} job=${job} attempt=${attempt} />`;
  return html`<${Batch} key=${`${workflow} ${id}`} workflow=${workflow} id=${id} />`;
}

function Page() {
  const [hash, setHash] = useState(location.hash);
  const [broken, mend] = useErrorBoundary();
  const redis = useStore(trouble);
  const toast = useStore(said);
  const late = useStore(overdue);
  useEffect(() => {
    const go = () => {
      mend();
      setHash(location.hash);
      tellParent();
      window.scrollTo(0, 0);
    };
    window.addEventListener("hashchange", go);
    return () => window.removeEventListener("hashchange", go);
  }, []);
  let shown;
  try {
    shown = view(hash);
  } catch {
    shown = html`<${Nowhere} title="Batches" text=${`The address ${hash} cannot be read.`} />`;
  }
  return html`<main>
    ${late && !redis ? html`<div class="note warn" role="alert"><p>No answer for some seconds: Redis or Airflow's API server may hang. This page may show old data; it keeps trying.</p></div>` : null}
    ${redis ? html`<div class="note bad" role="alert"><p>${redis}</p></div>` : null}
    ${broken ? html`<div class="note bad" role="alert"><p>This view failed: ${String(broken.message || broken)}</p><p><button onClick=${() => location.reload()}>Reload</button></p></div>` : shown}
    <div aria-live="polite">${toast ? html`<div class="toast">${toast}</div>` : null}</div>
  </main>`;
}

// Airflow's address bar keeps where we are, so that a link to it leads here.
const shares = embedded && !inDag;
const showsUs = (bar) => /\/plugin\/batches(\/|$)/.test(bar.pathname);
function tellParent() {
  if (!shares) return;
  const { history, location: bar } = window.parent;
  if (showsUs(bar) && bar.hash !== location.hash) history.replaceState(history.state, "", `${bar.pathname}${bar.search}${location.hash}`);
}

// Airflow's menu leads to the address alone and leaves our frame as it is; a bookmark, or an address that is typed, leads
// to another view of ours. No event tells of the first.
function followParent() {
  if (!shares) return;
  const bar = window.parent.location;
  tellParent();
  window.parent.addEventListener("hashchange", () => {
    if (showsUs(bar) && bar.hash.startsWith("#/") && bar.hash !== location.hash) location.replace(bar.hash);
  });
  setInterval(() => {
    if (!bar.hash) tellParent();
  }, 500);
}

function followTheme() {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theirs = embedded ? window.parent.document.documentElement : null;
  const look = () => {
    const is = theirs && /\b(dark|light)\b/.test(theirs.className) ? /\bdark\b/.test(theirs.className) : dark.matches;
    root.classList.toggle("dark", is);
  };
  look();
  dark.addEventListener("change", look);
  if (theirs) new MutationObserver(look).observe(theirs, { attributes: true, attributeFilter: ["class"] });
}

try {
  followTheme();
  if (shares && window.parent.location.hash.startsWith("#/") && !location.hash) location.replace(window.parent.location.hash);
  followParent();
} catch {
  // a page of another origin shows us: we follow neither its theme nor its address
}
listen();
const place = document.getElementById("page");
place.textContent = "";
render(html`<${Page} />`, place);
