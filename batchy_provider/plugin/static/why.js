// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Why a workflow is not running, or not done, and which workflows are affected if it is late or fails.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { encode } from "./api.js";
import { Badge, Failure, workflowPath } from "./components.js";
import { useData } from "./live.js";
import { When } from "./dates.js";

const HIDDEN = "***";
const SAID_ELSEWHERE = ["done", "not_due", "no_schedule", "running"]; // by the other columns of a row
// A hold of this workflow is shown beside its state. That of one which it waits for is not.
const isOwnHold = ({ code, chain }) => code === "held" && chain.length === 1;

// The name of a workflow as a link. A workflow that this user may not see has none.
const Name = ({ name }) => (name === HIDDEN ? html`<span class="soft">a workflow that you may not see</span>` : html`<a href=${workflowPath(name)}>${name}</a>`);

// For the rows of the overview: workflow → its answer. One request for all of them.
export function useReasons(rows) {
  const names = rows.map((row) => row.workflow).sort();
  const query = new URLSearchParams(names.map((name) => ["workflow", name]));
  const { data, reload } = useData(names.length ? `why?${query}` : null, { every: () => 15000, background: true });
  const states = JSON.stringify(rows.map((row) => [row.workflow, row.batch_id, row.status, row.problem, row.activity?.doing]).sort());
  const before = useRef(states);
  useEffect(() => { // a new state has a new reason
    if (before.current !== states) reload();
    before.current = states;
  }, [states]);
  const told = (data || []).filter((each) => !SAID_ELSEWHERE.includes(each.code) && !isOwnHold(each));
  return Object.fromEntries(told.map((each) => [each.workflow, each]));
}

// On the page of a workflow: the root cause, and the way to it.
export function WhyLine({ workflow }) {
  const { data, error } = useData(`workflows/${encode(workflow)}/why`, { workflow, every: () => 15000 });
  if (!data) return error && error.status !== 404 ? html`<p class="soft">Why it is not done is not known: ${error.message}</p>` : null;
  if (isOwnHold(data)) return null;
  return html`<section class="panel pad why" aria-label="Why">
    <p><b>Why</b> <span class="soft">(${data.code.replaceAll("_", " ")})</span> ${data.text}</p>
    ${data.chain.length > 1 ? html`<details><summary>From ${workflow} to the root cause: ${data.chain.length} workflows</summary>
      <ol>${data.chain.map((link, at) => html`<li key=${at}><${Name} name=${link.workflow} /> <span class="soft">${link.code.replaceAll("_", " ")}</span><div>${link.text}</div></li>`)}</ol>
    </details>` : null}
  </section>`;
}

const SUPPOSED = [["", "as it is"], ["late=1h", "it ends 1 hour late"], ["late=2h", "it ends 2 hours late"], ["late=4h", "it ends 4 hours late"], ["failed=true", "it fails"]];

// Which workflows need this one, directly or through others, and which of their deadlines are missed.
export function Impact({ workflow }) {
  const [supposed, setSupposed] = useState("");
  const { data, error, reload } = useData(`workflows/${encode(workflow)}/impact${supposed && `?${supposed}`}`, { workflow, every: () => 60000 });
  return html`<section aria-label="Impact">
    <div class="row between top"><h2>Who needs it</h2>
      <label>Suppose <select value=${supposed} onChange=${(event) => setSupposed(event.target.value)}>${SUPPOSED.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select></label>
    </div>
    ${error ? html`<${Failure} error=${error} reload=${reload} />` : null}
    ${data && !data.downstream.length ? html`<div class="panel empty"><p>No workflow needs ${workflow}.</p></div>` : null}
    ${data?.downstream.length ? html`<div class="panel scroll"><table class="cards">
      <caption class="visually-hidden">Workflows that need ${workflow}</caption>
      <thead><tr><th scope="col">Workflow</th><th scope="col">Needs it through</th><th scope="col">Deadline</th><th scope="col">Missed</th></tr></thead>
      <tbody>${data.downstream.map((each) => html`<${Affected} key=${each.workflow} each=${each} />`)}</tbody>
    </table></div>` : null}
  </section>`;
}

const BY = { wait_for: "waits for", after: "starts after", until: "loads up to" };

function Affected({ each }) {
  const chance = each.miss_probability;
  return html`<tr>
    <th scope="row"><${Name} name=${each.workflow} /></th>
    <td class="among" data-label="Needs it through">${[...each.via].reverse().map((step, at) => html`${at ? ", which " : ""}${BY[step.by] || step.by} <${Name} key=${step.workflow} name=${step.workflow} />`)}</td>
    <td data-label="Deadline">${each.deadline ? html`<${When} at=${each.deadline} />` : null}</td>
    <td data-label="Missed">${each.deadline === null ? null : chance === null ? html`<span class="soft">not known</span>` : chance >= 1 ? html`<${Badge} state="failed">certainly<//>` : `${Math.round(chance * 100)} %`}</td>
  </tr>`;
}
