// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Warnings: a workflow will probably miss its deadline.

import { html } from "./vendor/preact-htm.js";
import { Badge } from "./components.js";
import { When } from "./dates.js";

const percent = (chance) => `${Math.round(chance * 100)} %`;
// The root cause; none where the workflow itself is all there is to say.
const root = ({ chain }) => (chain.length > 1 ? chain[chain.length - 1].text : "");

// On the page of the workflow. `row`: a row of the overview.
export function WarningNote({ row }) {
  const { warning } = row;
  if (!warning) return null;
  return html`<section class="note warn" aria-label="Warning">
    <p><b>It will probably miss its deadline</b> at <${When} at=${warning.deadline} />: the probability is ${percent(warning.chance)}${warning.expected_end ? html`, the expected end is <${When} at=${warning.expected_end} />` : null}.</p>
    <p class="soft">Warned since <${When} at=${warning.since} />. ${root(warning)}</p></section>`;
}

// The same in a row of a list.
export function WarningMark({ row }) {
  const { warning } = row;
  if (!warning) return null;
  return html`<div><${Badge} state="warn">deadline at risk<//> <span class="soft">${percent(warning.chance)}: <${When} at=${warning.deadline} /></span></div>`;
}
