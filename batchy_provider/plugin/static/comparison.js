// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// A batch beside the last good one, the batches before and after it, and buttons that copy.

import { html, useState } from "./vendor/preact-htm.js";
import { notify } from "./live.js";
import { Badge, Failure, batchPath, executionPath, size } from "./components.js";
import { Window, duration } from "./dates.js";

const DIFFERENCES = { only_here: "only in this batch", only_there: "not in this batch", bundle: "another bundle", params: "other params", outcome: "another outcome", output: "size of the output", duration: "duration" };

// Copy a text. Without HTTPS, browsers have only the older way.
export function Copy({ what, text }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      document.body.append(field);
      field.select();
      const copied = document.execCommand("copy");
      field.remove();
      if (!copied) return notify(text);
    }
    setDone(true);
    setTimeout(() => setDone(false), 2000);
    return undefined;
  };
  return html`<button class="copy" title=${text} onClick=${copy}>${done ? "Copied" : "Copy"} ${what}</button>`;
}

export function BatchLinks({ workflow, comparison }) {
  if (!comparison) return html`<span></span>`;
  const { previous, next } = comparison;
  return html`<nav class="row" aria-label="Other batches">
    ${previous === null ? html`<span class="soft">the first batch</span>` : html`<a class="button" href=${batchPath(workflow, previous)}>← Previous</a>`}
    ${next === null ? html`<span class="soft">the newest batch</span>` : html`<a class="button" href=${batchPath(workflow, next)}>Next →</a>`}
  </nav>`;
}

export function Comparison({ workflow, comparison }) {
  const { data, error, reload } = comparison;
  if (!data) return error && error.status !== 404 ? html`<h2>Compared with the last good one</h2><${Failure} error=${error} reload=${reload} />` : null;
  const { batch, other, jobs } = data;
  if (!other) return html`<h2>Compared with the last good one</h2><p class="soft">There is no earlier batch that succeeded.</p>`;
  const took = (each) => (each.seconds === null ? "—" : duration(each.seconds * 1000));
  const length = (each) => (each.window_seconds === null ? "—" : duration(each.window_seconds * 1000));
  return html`<h2>Compared with the last good one</h2>
    <p><b>${data.text}.</b></p>
    <div class="panel scroll"><table class="cards">
      <caption class="visually-hidden">This batch beside batch ${other.batch_id}</caption>
      <thead><tr><th scope="col">Job</th><th scope="col">This batch</th><th scope="col"><a href=${batchPath(workflow, other.batch_id)}>Batch ${other.batch_id}</a></th><th scope="col">Differs</th></tr></thead>
      <tbody>
        <tr><th scope="row">Whole batch</th>
          <td data-label="This batch"><${Badge} state=${batch.status} /> ${took(batch)}<div class="soft"><${Window} from=${batch.from_date} to=${batch.to_date} /> (${length(batch)})</div></td>
          <td data-label="Last good"><${Badge} state=${other.status} /> ${took(other)}<div class="soft"><${Window} from=${other.from_date} to=${other.to_date} /> (${length(other)})</div></td>
          <td data-label="Differs"></td></tr>
        ${jobs.map((each) => html`<tr key=${each.job} class=${each.job === data.first_job ? "first" : ""}>
          <th scope="row"><a href=${executionPath(workflow, batch.batch_id, each.job)}>${each.job}</a></th>
          <td data-label="This batch"><${Facts} facts=${each.batch} names=${each.params} /></td>
          <td data-label="Last good"><${Facts} facts=${each.other} names=${each.params} /></td>
          <td data-label="Differs">${each.differences.map((name) => DIFFERENCES[name] || name).join(", ")}</td>
        </tr>`)}
      </tbody></table></div>`;
}

function Facts({ facts, names }) {
  if (!facts) return null;
  const parts = [facts.seconds === null ? null : duration(facts.seconds * 1000), facts.output_bytes === null ? null : `output ${size(facts.output_bytes)}`, facts.bundle ? `bundle ${facts.bundle.slice(0, 12)}` : null].filter(Boolean);
  return html`<${Badge} state=${facts.outcome} /> ${parts.join(", ")}
    ${names.map((name) => html`<div class="mono" key=${name}>${name}=${name in facts.params ? JSON.stringify(facts.params[name]) : "not set"}</div>`)}`;
}
