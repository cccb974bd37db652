// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// How long past runs took, of the whole workflow or of one job, and how long the next one will probably take.

import { html } from "./vendor/preact-htm.js";
import { useParams } from "./address.js";
import { encode } from "./api.js";
import { useData, useStore, zone } from "./live.js";
import { duration, formatDate, moment } from "./dates.js";
import { Chart } from "./windows.js";

// `fallback`: what to show where no successful run is known.
export function ExpectedDurations({ workflow, fallback }) {
  const [{ of }, set] = useParams({ of: "" });
  const { data } = useData(`workflows/${encode(workflow)}/durations`, { workflow, every: () => 60000 });
  if (!data || !data.whole.runs.length) return fallback;
  const shown = data.jobs.find((each) => each.job === of) || data.whole;
  return html`<div class="panel pad">
    <div class="row between">
      <p>${shown.p50 === null ? "How long the next run takes is not known." : html`The next run takes at most <b>${duration(shown.p50 * 1000)}</b> in half of all cases, and at most <b>${duration(shown.p90 * 1000)}</b> in nine of ten.`}</p>
      <label class="row"><span class="soft">Of</span> <select value=${shown.job || ""} onChange=${(event) => set({ of: event.target.value })}><option value="">the whole run</option>${data.jobs.map((each) => html`<option key=${each.job} value=${each.job}>${each.job}</option>`)}</select></label>
    </div>
    <${Runs} shown=${shown} />
    <p class="soft">${shown.runs.length} successful runs. ${shown.notes.map((note) => `${note.text[0].toUpperCase()}${note.text.slice(1)}.`).join(" ")}</p>
  </div>`;
}

function Runs({ shown }) {
  const zoneId = useStore(zone);
  const { runs, p50, p90 } = shown;
  const longest = Math.max(...runs.map((run) => run.seconds), p90 || 0, 1);
  const [unit, name] = longest > 7200 ? [3600, "hours"] : longest > 120 ? [60, "minutes"] : [1, "seconds"];
  const expected = (value, more) => ({ type: "line", data: runs.map(() => value / unit), pointRadius: 0, borderWidth: 1.5, ...more });
  const config = ({ grid, text, colour: of }) => ({
    type: "bar",
    data: {
      labels: runs.map((run) => formatDate(moment(run.start), zoneId)),
      datasets: [
        ...(p50 === null ? [] : [
          expected(p90, { label: "P90", borderColor: of("open"), borderDash: [6, 4], fill: "+1", backgroundColor: of("open-bg") }),
          expected(p50, { label: "P50", borderColor: of("open") }),
        ]),
        { label: "took", data: runs.map((run) => run.seconds / unit), backgroundColor: of("success"), borderRadius: 3, minBarLength: 2, maxBarThickness: 40, order: 1 },
      ],
    },
    options: {
      maintainAspectRatio: false, animation: false,
      plugins: { legend: { display: p50 !== null, labels: { color: text, boxHeight: 2 } }, tooltip: { callbacks: { label: (item) => `${item.dataset.label} ${duration(item.raw * unit * 1000)}${item.dataset.label === "took" ? `, window ${duration(runs[item.dataIndex].window_seconds * 1000)}` : ""}` } } },
      scales: { x: { grid: { display: false }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 16 } }, y: { beginAtZero: true, grid: { color: grid }, ticks: { color: text }, title: { display: true, text: name, color: text } } },
    },
  });
  const label = `How long the last ${runs.length} successful runs took: ${duration(Math.min(...runs.map((run) => run.seconds)) * 1000)} to ${duration(Math.max(...runs.map((run) => run.seconds)) * 1000)}${p50 === null ? "" : `; expected are ${duration(p50 * 1000)} to ${duration(p90 * 1000)}`}.`;
  return html`<${Chart} signature=${JSON.stringify([shown, zoneId])} config=${config} height=${220} label=${label} />`;
}
