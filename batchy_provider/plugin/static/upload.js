// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Upload workflow files and bundles: check them, show errors at their lines, store them.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { apiUrl, ask, encode, get } from "./api.js";
import { notify } from "./live.js";
import { Diagnostics, Heading, Source, workflowPath } from "./components.js";
import { crumbs } from "./workflow.js";

export function Upload({ workflow }) {
  const [way, setWay] = useState(workflow ? "after" : "own");
  const [files, setFiles] = useState([]);
  const [after, setAfter] = useState({ workflow: workflow || "", job: "", name: "", input: true, independent: false });
  const [replace, setReplace] = useState(false);
  const [why, setWhy] = useState("");
  const [state, setState] = useState({ busy: false, found: null, problem: null, texts: {} });
  const reset = () => setState({ busy: false, found: null, problem: null, texts: {} });
  const set = (setter) => (value) => {
    setter(value);
    reset(); // the form has changed since the check
  };
  const send = async (path) => {
    setState((old) => ({ ...old, busy: true, problem: null }));
    const form = new FormData();
    const texts = {};
    for (const file of files) {
      const isBundle = file.name.toLowerCase().endsWith(".zip");
      form.append(isBundle ? "bundle" : "config", file, file.name);
      if (!isBundle) texts[file.name] = await file.text();
    }
    if (way === "after") {
      form.set("after_workflow", after.workflow);
      form.set("after_job", after.job);
      if (after.name) form.set("job", after.name);
      form.set("input", String(after.input));
      form.set("independent", String(after.independent));
    }
    form.set("replace", String(replace));
    if (why) form.set("why", why);
    try {
      const found = await ask(apiUrl(path), { method: "POST", form });
      setState({ busy: false, found, problem: null, texts });
      return found;
    } catch (problem) {
      setState({ busy: false, found: null, problem, texts });
      return null;
    }
  };
  const store = async () => {
    const stored = await send("uploads");
    if (!stored) return;
    notify(`Stored: ${Object.keys(stored.files).join(", ")}.`);
    location.hash = stored.workflows.length === 1 ? workflowPath(stored.workflows[0]) : "#/";
  };
  const ready = files.length > 0 && (way === "own" || (after.workflow && after.job));
  return html`<${Heading} crumbs=${crumbs()} title="Upload" />
    <p class="soft">First all files are checked together: workflow files as by <code>batchy validate</code>, zips as before a run. Then all of them are stored, or none.</p>
    <form class="panel pad" onSubmit=${(event) => { event.preventDefault(); if (state.found) store(); else send("uploads/check"); }}>
      <fieldset class="field"><legend class="label">What</legend>
        <label class="check"><input type="radio" name="way" checked=${way === "own"} onChange=${() => set(setWay)("own")} /> <span>New workflows: YAML files with their zips</span></label>
        <label class="check"><input type="radio" name="way" checked=${way === "after"} onChange=${() => set(setWay)("after")} /> <span>A new job: one zip, after an existing job</span></label>
      </fieldset>
      <div class="field"><label for="files">Files</label>
        <input id="files" type="file" multiple=${way === "own"} accept=${way === "own" ? ".yaml,.yml,.json,.zip" : ".zip"} onChange=${(event) => set(setFiles)([...event.target.files])} />
        <div class="hint">${way === "own" ? "The name of a YAML or JSON file is the name of its workflow. A zip contains a script.sh; it is stored in the folder bundles." : "A zip that contains a script.sh."}</div></div>
      ${way === "after" ? html`<${AfterJob} after=${after} set=${set(setAfter)} />` : null}
      <label class="check"><input type="checkbox" checked=${replace} onChange=${(event) => set(setReplace)(event.target.checked)} /> <span>Replace existing files of these names</span></label>
      <div class="field"><label for="why">Why (goes into the audit log)</label><input id="why" type="text" maxlength="2000" value=${why} onInput=${(event) => setWhy(event.target.value)} /></div>
      <div class="row"><button class=${state.found ? "" : "main"} type=${state.found ? "button" : "submit"} disabled=${!ready || state.busy} onClick=${state.found ? () => send("uploads/check") : undefined}>${state.busy ? "Checking…" : "Check"}</button>
        ${state.found ? html`<button class="main" type="submit" disabled=${state.busy}>Store</button>` : null}</div>
    </form>
    <div role="status">${state.found ? html`<div class="note good" style=${{ marginTop: "14px" }}><p>No errors. ${Object.keys(state.found.files).length === 1 ? "One file" : `${Object.keys(state.found.files).length} files`} would be stored:</p>
      <ul>${Object.keys(state.found.files).map((name) => html`<li key=${name}><code>${name}</code>${state.found.replaced.includes(name) ? " (replaces the existing file)" : ""}</li>`)}</ul></div>` : null}</div>
    ${state.problem ? html`<${UploadErrors} problem=${state.problem} texts=${state.texts} />` : null}`;
}

function AfterJob({ after, set }) {
  const [names, setNames] = useState([]);
  const [jobs, setJobs] = useState([]);
  useEffect(() => {
    get("workflows?limit=1000").then((page) => setNames(page.items.filter((each) => each.in_cfg).map((each) => each.workflow)), () => setNames([]));
  }, []);
  useEffect(() => {
    if (after.workflow) get(`workflows/${encode(after.workflow)}/jobs`).then((found) => setJobs(found.filter((job) => job.kind === "job").map((job) => job.job)), () => setJobs([]));
  }, [after.workflow]);
  return html`<div class="field"><label for="after-workflow">Workflow</label><select id="after-workflow" required value=${after.workflow} onChange=${(event) => set({ ...after, workflow: event.target.value, job: "" })}><option value="">choose…</option>${[...new Set([after.workflow, ...names])].filter(Boolean).map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></div>
    <div class="field"><label for="after-job">After the job</label><select id="after-job" required value=${after.job} onChange=${(event) => set({ ...after, job: event.target.value })}><option value="">choose…</option>${jobs.map((job) => html`<option key=${job} value=${job}>${job}</option>`)}</select></div>
    <div class="field"><label for="after-name">Name of the new job</label><input id="after-name" type="text" value=${after.name} placeholder="the name of the zip" onInput=${(event) => set({ ...after, name: event.target.value })} /></div>
    <label class="check"><input type="checkbox" checked=${after.input} onChange=${(event) => set({ ...after, input: event.target.checked })} /> <span>It reads the output of that job</span></label>
    <label class="check"><input type="checkbox" checked=${after.independent} onChange=${(event) => set({ ...after, independent: event.target.checked })} /> <span>It runs even if that job fails or is skipped</span></label>`;
}

// Errors of the chosen files at their lines, and all other errors as a list.
function UploadErrors({ problem, texts }) {
  const names = Object.keys(texts).filter((name) => problem.diagnostics.some((each) => each.line && each.file?.endsWith(name)));
  const left = problem.diagnostics.filter((each) => !names.some((name) => each.line && each.file?.endsWith(name)));
  return html`<div class="note bad" role="alert" style=${{ marginTop: "14px" }}>
    <p>${problem.diagnostics.length ? `Nothing was stored: ${problem.diagnostics.length === 1 ? "there is an error" : `there are ${problem.diagnostics.length} errors`}.` : problem.message}</p>
    ${left.length ? html`<${Diagnostics} diagnostics=${left} />` : null}</div>
    ${names.map((name) => html`<h2 key=${name}>${name}</h2><${Source} text=${texts[name]} label=${name} diagnostics=${problem.diagnostics.filter((each) => each.line && each.file?.endsWith(name))} />`)}`;
}
