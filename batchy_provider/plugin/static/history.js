// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// History: the batches of all workflows, by time, result, batch or run.

import { html } from "./vendor/preact-htm.js";
import { Heading, ZoneSwitch } from "./components.js";

export function History() {
  return html`<${Heading} title="History"><${ZoneSwitch} /><//>`;
}
