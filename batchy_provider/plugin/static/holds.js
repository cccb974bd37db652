// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Holds on workflows, and notes on batches.

import { html, useState } from "./vendor/preact-htm.js";
import { Action, MomentField, shown, text } from "./actions.js";
import { change, encode } from "./api.js";
import { notify } from "./live.js";
import { Badge, Dialog, HoldEnd, Why } from "./components.js";
import { When, moment } from "./dates.js";

// A person holds the workflow: until when, who, and why. `may`: the caller may release it.
export function HoldNote({ row, may }) {
  const { hold } = row;
  if (!hold) return null;
  return html`<div class="note warn"><p><b>On hold</b> <${HoldEnd} hold=${hold} />, by ${hold.by}: “${hold.why}”</p>
    <p>No batch opens. Runs wait until then, and load everything that came in meanwhile.</p>
    ${may ? html`<div class="row"><${Action} label="Release…" of=${Release} row=${row} /></div>` : null}</div>`;
}

// The same in a row of a list, whose state may say already that a run waits for the end of the hold.
export function HoldMark({ row }) {
  const { hold } = row;
  if (!hold) return null;
  return html`<div>${row.activity?.doing === "on_hold" && row.status !== "open" ? null : html`<${Badge} state="warn">on hold<//> `}<span class="soft"><${HoldEnd} hold=${hold} />, by ${hold.by}: ${hold.why}</span></div>`;
}

export function Hold({ row, close }) {
  const { workflow, hold } = row;
  const [until, setUntil] = useState(hold?.until || null);
  const past = until && moment(until) <= Date.now();
  return html`<${Dialog} title=${hold ? "Change the hold" : "Put on hold"} submitLabel=${hold ? "Replace the hold" : "Hold"} close=${close} valid=${!past}
      text=${["No batch of this workflow opens until this moment, or until somebody releases the hold. Runs that are due meanwhile wait. They go on by themselves afterwards, and load everything that came in.",
        ...(row.status === "open" ? [`Batch ${row.batch_id} is open and goes on.`] : []),
        ...(hold ? [`This replaces the hold of ${hold.by}: “${hold.why}”`] : [])]}
      act=${async (form) => {
        await change(`workflows/${encode(workflow)}/hold`, { why: text(form, "why"), until: until || undefined });
        notify(`${workflow} is on hold ${until ? `until ${shown(until)}` : "until it is released"}.`);
      }}>
    <${MomentField} name="until" label="Until; empty means until it is released" value=${until} set=${setUntil} />
    ${past ? html`<div class="note warn" role="alert"><p>This moment has passed.</p></div>` : null}
    <${Why} required=${true} most=${500} />
  <//>`;
}

export function Release({ row, close }) {
  return html`<${Dialog} title="Release" submitLabel="Release" close=${close}
      text=${`The hold of ${row.hold.by} ends now: “${row.hold.why}”. Runs that wait open their batches at once.`}
      act=${async (form) => {
        await change(`workflows/${encode(row.workflow)}/release`, { why: text(form, "why") });
        notify(`${row.workflow} is not on hold any more.`);
      }}><${Why} /><//>`;
}

// Who has acknowledged the failure of the latest batch of a workflow.
export function AcknowledgedMark({ note }) {
  if (!note) return null;
  return html`<div class="soft">acknowledged by ${note.by}${note.text ? `: ${note.text}` : ""}</div>`;
}

export function Notes({ batch, may }) {
  const { notes } = batch;
  if (!notes.length && !may) return null;
  return html`<h2>Notes</h2>
    <div class="panel pad">
      ${notes.length ? html`<ol class="notes">${notes.map((note, at) => html`<li key=${at}>
        <div class="soft"><b>${note.by}</b>, <${When} at=${note.at} /> ${note.ack ? html`<${Badge} state="success">acknowledged<//>` : null}</div>
        ${note.text ? html`<div class="text">${note.text}</div>` : null}</li>`)}</ol>` : html`<p class="soft">Nobody has written anything about this batch yet.</p>`}
      ${may ? html`<div class="row"><${Action} label="Write a note…" of=${WriteNote} batch=${batch} /></div>` : null}
    </div>`;
}

const TextField = ({ label, required }) => html`<div class="field"><label for="note">${label}</label><textarea id="note" name="note" rows="4" maxlength="1000" required=${required}></textarea></div>`;

function WriteNote({ batch, close }) {
  return html`<${Dialog} title="Write a note" submitLabel="Save" close=${close}
      text=${`The note stays with batch ${batch.batch_id}: in its history, in the archive and in exports.`}
      act=${async (form) => {
        await change(`workflows/${encode(batch.workflow)}/batches/${batch.batch_id}/note`, { text: text(form, "note") || "" });
        notify("The note is saved.");
      }}><${TextField} label="Note" required=${true} /><//>`;
}

export function Acknowledge({ batch, close }) {
  return html`<${Dialog} title="Acknowledge the failure" submitLabel="Acknowledge" close=${close}
      text=${[`Everyone sees that somebody knows of the failure of batch ${batch.batch_id}.`, "Nothing is loaded again by this, and the next batch is not affected."]}
      act=${async (form) => {
        await change(`workflows/${encode(batch.workflow)}/batches/${batch.batch_id}/ack`, { text: text(form, "note") });
        notify("The failure is acknowledged.");
      }}><${TextField} label="Note (not required)" /><//>`;
}

export const isAcknowledged = (batch) => batch.notes.some((note) => note.ack);
