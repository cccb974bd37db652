// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// One try of one job: its live log, its files, and how it ended.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { useParams } from "./address.js";
import { airflowApiUrl, apiUrl, ask, encode, runOf } from "./api.js";
import { fetchBatch, isBatchId, pollInterval, taskName } from "./batch.js";
import { useData, useStore, zone } from "./live.js";
import { AirflowLink, Badge, Download, Failure, Heading, NotFound, ProgressReports, ZoneSwitch, batchPath, executionPath, size, workflowPath } from "./components.js";
import { When, Window, duration, formatDate, moment, useNow } from "./dates.js";
import { crumbs } from "./workflow.js";

const SHOWN_BYTES = 65536;
const SHOWN_LINES = 5000;

export function Execution({ workflow, id, job, attempt }) {
  const [{ file }] = useParams({ file: "" });
  const response = useData(isBatchId(id) ? `workflows/${encode(workflow)}/batches/${id}` : null, { workflow, every: pollInterval, fetcher: fetchBatch });
  const trail = crumbs([workflow, workflowPath(workflow)], [`Batch ${id}`, batchPath(workflow, id)]);
  const now = useNow(1000);
  const notFound = (text, href, to) => html`<${NotFound} crumbs=${trail} title=${job} text=${text} href=${href} to=${to} />`;
  if (!isBatchId(id) || response.error?.status === 404) return notFound(response.error?.status === 404 ? response.error.message : `There is no batch "${id}": the id of a batch is a number.`, workflowPath(workflow, "windows"), `The batches of ${workflow}`);
  if (!response.data) return html`<${Heading} crumbs=${trail} title=${job} />${response.error ? html`<${Failure} error=${response.error} reload=${response.reload} />` : html`<p class="quiet">Loading…</p>`}`;
  const { batch, tasks, executions, progress } = response.data;
  const run = runOf(batch);
  const task = tasks.find((each) => taskName(each) === job);
  const stored = executions.filter((each) => each.job === job);
  const tries = [...new Set([...stored.map((each) => each.attempt), ...(task?.try_number ? [String(task.try_number)] : [])])];
  if (!task && !stored.length && !batch.jobs[job] && !response.data.problem) return notFound(`Batch ${id} has no job "${job}".`, batchPath(workflow, id), `The jobs of batch ${id}`);
  if (attempt && tries.length && !tries.includes(attempt) && !(task && Number(attempt) >= 1 && Number(attempt) <= task.try_number)) return notFound(`Job "${job}" has no try "${attempt}" in batch ${id}.`, executionPath(workflow, id, job), `The last try of ${job}`);
  const chosen = attempt || tries[tries.length - 1];
  const execution = stored.find((each) => each.attempt === chosen);
  const current = task && String(task.try_number) === chosen;
  const running = current && task.state === "running";
  const from = moment(execution?.started || (current && task.start_date));
  const to = moment(execution?.finished || (current && task.end_date)) || (running ? new Date(now) : null);
  const state = execution && !current ? execution.state : task ? task.state || "not_begun" : execution?.state || batch.jobs[job]?.outcome;
  return html`<${Heading} crumbs=${trail} title=${job}><${ZoneSwitch} /><//>
    ${tries.length > 1 ? html`<nav class="chips top" aria-label="Tries">${tries.map((each) => html`<a key=${each} class="button chip" aria-current=${each === chosen ? "page" : undefined} href=${executionPath(workflow, id, job, each)}>${each === chosen ? html`<b>Try ${each}</b>` : `Try ${each}`}</a>`)}</nav>` : null}
    <div class="panel pad"><dl class="facts">
      <div><dt>State</dt><dd><${Badge} state=${state} /></dd></div>
      ${execution?.exit_code !== null && execution?.exit_code !== undefined ? html`<div><dt>Exit code</dt><dd>${execution.exit_code}</dd></div>` : null}
      <div><dt>Window</dt><dd><${Window} from=${batch.jobs[job]?.from_date || batch.from_date} to=${batch.to_date} /></dd></div>
      <div><dt>Started</dt><dd><${When} at=${from?.toISOString()} seconds=${true} /></dd></div>
      ${from && to ? html`<div><dt>${running ? "For" : "Took"}</dt><dd>${duration(to - from)}</dd></div>` : null}
      ${running && progress[job] ? html`<div><dt>Progress</dt><dd><${ProgressReports} reports=${{ [job]: progress[job] }} /></dd></div>` : null}
      ${execution?.bundle ? html`<div><dt>Bundle</dt><dd>${execution.bundle}${execution.sha256 ? html`<div class="soft mono" title=${execution.sha256}>sha256 ${execution.sha256.slice(0, 12)}…</div>` : null}</dd></div>` : null}
      ${execution ? html`<div><dt>Output</dt><dd>${execution.output}</dd></div>` : null}
      ${run && task ? html`<div><dt>In Airflow</dt><dd><${AirflowLink} path=${`dags/${encode(run.dag)}/runs/${encode(run.run)}/tasks/${encode(task.task_id)}${task.map_index >= 0 ? `/mapped/${task.map_index}` : ""}`}>task ${job}<//></dd></div>` : null}
    </dl></div>
    ${batch.jobs[job] ? html`<${Parameters} fields=${batch.jobs[job]} />` : null}
    ${execution ? html`<${Files} execution=${execution} wanted=${file} />` : null}
    ${run && chosen && task ? html`<${Log} key=${`${run.run} ${job} ${chosen}`} run=${run} task=${task} attempt=${chosen.split(".")[0]} live=${running} />`
      : execution ? null : html`<div class="panel empty"><p>${run ? "The job has not run yet." : "No DAG of this Airflow ran it, so there is no log here."}</p></div>`}`;
}

const OWN_FIELDS = ["status", "outcome", "batch_id", "from_date", "to_date", "batch_start", "batch_end"];
function Parameters({ fields }) {
  const given = Object.entries(fields).filter(([key]) => !OWN_FIELDS.includes(key));
  if (!given.length) return null;
  return html`<h2>Parameters</h2><div class="panel pad"><dl class="facts">${given.map(([key, value]) => html`<div key=${key}><dt>${key}</dt><dd class="mono">${typeof value === "string" ? value : JSON.stringify(value)}</dd></div>`)}</dl></div>`;
}

// `wanted`: the file to show, at its last line.
function Files({ execution, wanted }) {
  const base = `workflows/${encode(execution.workflow)}/batches/${execution.batch_id}/jobs/${encode(execution.job)}/attempts/${encode(execution.attempt)}`;
  const [open, setOpen] = useState(execution.contents[wanted]?.bytes ? wanted : null);
  const names = Object.entries(execution.contents);
  return html`<h2>Files</h2><div class="panel">
    ${names.length ? html`<div class="scroll"><table><thead><tr><th scope="col">Name</th><th scope="col" class="number">Size</th><th scope="col"><span class="visually-hidden">Actions</span></th></tr></thead>
      <tbody>${names.map(([name, file]) => html`<tr key=${name}><th scope="row">${name}</th><td class="number">${size(file.bytes)}</td>
        <td><span class="row">${file.bytes ? html`<button aria-expanded=${open === name} onClick=${() => setOpen(open === name ? null : name)}>${open === name ? "Hide" : "Show"} <span class="visually-hidden">${name}</span></button>` : null}
          <${Download} href=${apiUrl(`${base}/${name.split("/").map(encode).join("/")}`)}>Download <span class="visually-hidden">${name}</span><//></span></td></tr>`)}</tbody></table></div>`
      : html`<p class="pad quiet">The script wrote no files.</p>`}
    ${open ? html`<${FileEnd} key=${open} url=${apiUrl(`${base}/${open.split("/").map(encode).join("/")}`)} bytes=${execution.contents[open].bytes} name=${open} mark=${open === wanted} />` : null}
  </div>`;
}

// The end of a file: people look for the last lines of a script. `mark`: go to its last line, and mark it.
function FileEnd({ url, bytes, name, mark }) {
  const last = useRef(null);
  const [text, setText] = useState(null);
  useEffect(() => {
    const request = new AbortController();
    const headers = bytes > SHOWN_BYTES ? { Range: `bytes=${bytes - SHOWN_BYTES}-` } : {};
    fetch(url, { headers, signal: request.signal, credentials: "same-origin" })
      .then(async (answer) => setText(answer.ok ? await answer.text() : `The file cannot be read: ${(await answer.json()).detail}`))
      .catch((error) => error.name === "AbortError" || setText("Airflow's API server does not answer."));
    return () => request.abort();
  }, [url]);
  useEffect(() => {
    if (text !== null) last.current?.scrollIntoView({ block: "center" });
  }, [text]);
  const at = text === null || !mark ? -1 : lastLine(text);
  return html`${bytes > SHOWN_BYTES ? html`<p class="pad soft">The last ${size(SHOWN_BYTES)} of ${size(bytes)}.</p>` : null}<pre class="log" tabindex="0" aria-label=${name}>${at < 0 ? text ?? "Loading…" : html`${text.slice(0, at)}<mark ref=${last}>${text.slice(at).trimEnd()}</mark>${"\n"}`}</pre>`;
}

// Where the last line of a text that has any characters begins; a carriage return ends a line, too.
const lastLine = (text) => {
  const end = text.trimEnd();
  return end ? Math.max(end.lastIndexOf("\n"), end.lastIndexOf("\r")) + 1 : -1;
};

// Airflow puts a group with the sources of the log before the log.
function withoutSources(content) {
  const lines = content.filter((line) => line.event !== undefined);
  const end = lines[0]?.event.startsWith("::group::Log message source") ? lines.findIndex((line) => line.event.startsWith("::endgroup::")) : -1;
  return lines.slice(end + 1).filter((line) => !/^::(end)?group/.test(line.event));
}

function Log({ run, task, attempt, live }) {
  const [lines, setLines] = useState([]);
  const [problem, setProblem] = useState(null);
  const [follow, setFollow] = useState(true);
  const [done, setDone] = useState(false);
  const zoneId = useStore(zone);
  const box = useRef(null);
  const alive = useRef(live);
  alive.current = live;
  useEffect(() => {
    const request = new AbortController();
    let timer;
    let last = false;
    const path = `dags/${encode(run.dag)}/dagRuns/${encode(run.run)}/taskInstances/${encode(task.task_id)}/logs/${attempt}`;
    async function load() {
      const wasLive = alive.current;
      try {
        const query = new URLSearchParams({ full_content: "true", map_index: task.map_index });
        const answer = await ask(airflowApiUrl(`${path}?${query}`), { signal: request.signal });
        setLines(withoutSources(answer.content || []));
        setProblem(null);
      } catch (error) {
        if (error.name === "AbortError") return;
        setProblem(error.message);
      }
      if (wasLive || !last) timer = setTimeout(load, 1200);
      else setDone(true);
      last = !wasLive; // once more after the end, for the last lines
    }
    load();
    return () => {
      request.abort();
      clearTimeout(timer);
    };
  }, [run.run, task.task_id, attempt, live]);
  useEffect(() => {
    if (follow && live && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, follow, live]);
  const left = Math.max(0, lines.length - SHOWN_LINES);
  return html`<div class="row between"><h2>Log</h2>${live ? html`<label class="check"><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.target.checked)} /> <span>Follow</span></label>` : null}</div>
    <div class="panel">${problem ? html`<p class="pad">${problem}</p>` : null}
    ${left ? html`<p class="pad soft">The last ${SHOWN_LINES} of ${lines.length} lines.</p>` : null}
    <pre class="log" ref=${box} tabindex="0" aria-label="Log">${lines.length ? lines.slice(left).map((line, at) => html`<span key=${left + at} class=${["error", "critical"].includes(line.level) ? "error" : line.level === "warning" ? "warning" : ""}>${line.timestamp ? html`<span class="when">${formatDate(new Date(line.timestamp), zoneId, true).slice(11)}</span>` : null}${line.event}${"\n"}</span>`) : done ? "The log is empty." : "Waiting for the first line…"}</pre></div>`;
}
