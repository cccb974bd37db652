// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Tonight: the actual and the expected runs of all workflows on one time axis.

import { html } from "./vendor/preact-htm.js";
import { Heading, ZoneSwitch } from "./components.js";

export function Tonight() {
  return html`<${Heading} title="Tonight"><${ZoneSwitch} /><//>`;
}
