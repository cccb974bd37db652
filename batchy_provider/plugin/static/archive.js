// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// After Redis lost data: what is missing, and how to restore it.

import { html, useState } from "./vendor/preact-htm.js";
import { Action } from "./actions.js";
import { change, encode } from "./api.js";
import { RestoreAll } from "./bulk.js";
import { notify, useData } from "./live.js";
import { Dialog, Why, plural, workflowPath } from "./components.js";

const RELATIONS = {
  lost: "Redis has lost the state of this workflow.",
  behind: "Redis has an old state of this workflow: newer changes are lost.",
  conflict: "Redis and the archive have different states of this workflow: neither is a successor of the other.",
};
const everyMinute = { background: true, every: () => 60000 };

// On the page of one workflow.
export function LostState({ name, may }) {
  const { data } = useData(`workflows/${encode(name)}/archive`, everyMinute);
  if (!data?.is_lost) return null;
  const stops = data.relation in RELATIONS;
  return html`<div class="note bad" role="alert">
    <p><b>${RELATIONS[data.relation] || `Redis lacks ${plural(data.missing.length, "batch", "batches")} of this workflow's history.`}</b> ${stops ? "No batch opens until you restore it: a batch would load data again." : "The windows are correct."}</p>
    ${stops ? html`<p>The archive has ${data.archive}. Redis has ${data.redis || "nothing"}.</p>` : null}
    ${data.in_the_way ? html`<p>In the way: ${data.in_the_way}.</p>` : null}
    ${data.unfinished.length ? html`<p>Jobs of batch ${data.unfinished.join(", ")} ran, but its end is not known. Its window is loaded again.</p>` : null}
    ${may ? html`<${Action} label="Restore…" of=${Restore} kept=${data} />` : null}
  </div>`;
}

function Restore({ kept, close }) {
  const [history, setHistory] = useState(true);
  const over = kept.relation === "conflict" || Boolean(kept.in_the_way);
  const act = async (form) => {
    const done = await change(`workflows/${encode(kept.workflow)}/restore`, { history, overwrite: over, why: form.get("why")?.trim() || undefined });
    notify(`Restored: ${[done.state ? "the state" : null, plural(done.batches, "batch", "batches")].filter(Boolean).join(", ")}.`);
  };
  return html`<${Dialog} title="Restore from the archive" submitLabel="Restore" danger=${over} close=${close} act=${act}
      text=${["This restores what Redis lacks, with the exact watermark: the next window starts where the last success in the archive ended.",
        over ? `This replaces what Redis has: ${kept.redis || "nothing"}.` : "Newer data in Redis does not change.",
        "Afterwards, clear runs in Airflow that failed to open a batch, or let the next run catch up."]}>
    <label class="check"><input type="checkbox" checked=${history} onChange=${(event) => setHistory(event.target.checked)} /> <span>The history too${kept.missing.length ? `: ${plural(kept.missing.length, "batch", "batches")}` : ""}. You can also restore it later, while nights run.</span></label>
    <${Why} required=${over} />
  <//>`;
}

// On the overview.
export function LostWorkflows({ may }) {
  const lost = useData("archive/lost", everyMinute).data?.workflows || [];
  if (!lost.length) return null;
  return html`<div class="note bad" role="alert">
    <p><b>Redis has lost the state of ${plural(lost.length, "workflow")}.</b> No batch of ${lost.length === 1 ? "it" : "them"} opens until you restore ${lost.length === 1 ? "it" : "them"}: each on its page, or all at once with <code>batchy restore --all</code>.</p>
    ${may ? html`<p><${RestoreAll} names=${lost} /></p>` : null}
    <p>${lost.slice(0, 20).map((name, at) => html`${at ? ", " : ""}<a key=${name} href=${workflowPath(name)}>${name}</a>`)}${lost.length > 20 ? ` and ${lost.length - 20} more` : ""}</p>
  </div>`;
}
