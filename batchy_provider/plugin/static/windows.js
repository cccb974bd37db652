// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The windows of a workflow's batches over time, with gaps and overlaps in the data.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { encode } from "./api.js";
import { useData, useStore, zone } from "./live.js";
import { isAcknowledged } from "./holds.js";
import { Badge, Failure, Opener, Pager, batchPath, plural } from "./components.js";
import { ExpectedDurations } from "./durations.js";
import { LoadGap, Strips, length } from "./gaps.js";
import { When, Window, duration, formatDate, isBeginning, moment, useNow } from "./dates.js";

const DRAWN = 60;
const LIMIT = 30;
const SHOWN = 8;

export function Windows({ workflow, row, may }) {
  const [offset, setOffset] = useState(0);
  const [kind, setKind] = useState("");
  const path = `workflows/${encode(workflow)}/batches`;
  const drawn = useData(`${path}?limit=${DRAWN}`, { workflow });
  const listed = useData(`${path}?limit=${LIMIT}&offset=${offset}${kind}`, { workflow });
  const error = drawn.error || listed.error;
  if (error?.status === 404) return html`<div class="panel empty"><p>No batch yet. The first run opens the first one.</p></div>`;
  if (error) return html`<${Failure} error=${error} reload=${listed.reload} />`;
  if (!drawn.data || !listed.data) return html`<p class="quiet">Loading…</p>`;
  const batches = drawn.data.items.filter((batch) => batch.from_date && batch.to_date).reverse();
  return html`
    <p class="soft">A window is the data from its start (inclusive) to its end (exclusive).</p>
    ${batches.length ? html`<${Coverage} workflow=${workflow} row=${row} may=${may} /><h2>Windows of the last batches</h2><div class="panel pad"><${Timeline} batches=${batches} /></div>
      <h2>Durations</h2><${ExpectedDurations} workflow=${workflow} fallback=${html`<div class="panel pad"><${Durations} batches=${batches} /></div>`} />` : null}
    <div class="row between"><h2>Batches</h2>
      <label><span class="visually-hidden">Show</span><select value=${kind} onChange=${(event) => { setKind(event.target.value); setOffset(0); }}>
        <option value="">all</option><option value="&kind=live">live</option><option value="&kind=history">backfills and old windows</option><option value="&status=failed">failed</option>
      </select></label></div>
    ${listed.data.archive_error ? html`<div class="note warn"><p>The archive cannot be read, so older batches that only it has are missing here: ${listed.data.archive_error}</p></div>` : null}
    <${List} page=${listed.data} workflow=${workflow} go=${setOffset} />`;
}

function List({ page, workflow, go }) {
  if (!page.items.length) return html`<div class="panel empty"><p>No such batch.</p></div>`;
  return html`<div class="panel"><div class="scroll"><table class="cards">
    <caption class="visually-hidden">Batches of ${workflow}</caption>
    <thead><tr><th scope="col">Batch</th><th scope="col">State</th><th scope="col">Window</th><th scope="col">Started</th><th scope="col" class="number">Took</th><th scope="col">By</th><th scope="col">Why this window</th></tr></thead>
    <tbody>${page.items.map((batch) => html`<tr key=${batch.batch_id}>
      <th scope="row"><a href=${batchPath(workflow, batch.batch_id)}>${batch.batch_id}</a>${batch.kind === "history" ? html`<div class="soft">history only</div>` : null}${batch.archived ? html`<div class="soft">only in the archive</div>` : null}</th>
      <td data-label="State"><${Badge} state=${batch.status} />${batch.notes.length ? html`<div class="soft">${batch.status === "failed" && isAcknowledged(batch) ? "acknowledged, " : ""}${plural(batch.notes.length, "note")}</div>` : null}</td>
      <td data-label="Window"><${Window} from=${batch.from_date} to=${batch.to_date} /></td>
      <td data-label="Started"><${When} at=${batch.started} /></td>
      <td data-label="Took" class="number"><${Duration} batch=${batch} /></td>
      <td data-label="By">${batch.by ? html`<${Opener} by=${batch.by} />` : batch.run}</td>
      <td data-label="Reason" class="soft">${batch.reason}${batch.why ? html`<div>“${batch.why}”</div>` : null}</td>
    </tr>`)}</tbody></table></div><${Pager} page=${page} go=${go} /></div>`;
}

export function Duration({ batch }) {
  const now = useNow();
  if (!batch.started) return null;
  const end = batch.batch_end ? moment(batch.batch_end) : batch.status === "open" ? now : null;
  return end === null ? null : html`<span>${duration(end - moment(batch.started))}</span>`;
}

// What each job has loaded and never loaded, by the ledger, and what successful batches loaded twice.
function Coverage({ workflow, row, may }) {
  const { data, error } = useData(`workflows/${encode(workflow)}/coverage`, { workflow });
  if (error && !data) return html`<${Failure} error=${error} />`;
  if (!data) return html`<p class="quiet">Looking for gaps…</p>`;
  if (!data.jobs.length) return html`<p class="soft">No batch has succeeded yet.</p>`;
  const { gaps, overlaps, reaching_back: back } = data;
  const batches = `the last ${plural(data.batches, "batch", "batches")}`;
  const meant = back ? ` ${back === 1 ? "One window reaches" : `${back} windows reach`} back over the one before, as configured.` : "";
  const strips = html`<h2>Loaded data</h2><div class="panel pad"><${Strips} coverage=${data} /></div>`;
  if (!gaps.length && !overlaps.length) return html`<p class="soft">No gap${back ? "" : " and no overlap"} in ${batches}.${meant}</p>${strips}`;
  const counts = [gaps.length ? plural(gaps.length, "gap") : null, overlaps.length ? plural(overlaps.length, "overlap") : null].filter(Boolean).join(" and ");
  const lines = [...gaps, ...overlaps].sort((a, b) => a.from_date.localeCompare(b.from_date));
  return html`<div class="note warn"><p>${counts}${overlaps.length ? ` in ${batches}` : ""}:</p>
    <ul>${lines.slice(-SHOWN).map((each) => html`<li key=${JSON.stringify(each)}><${CoverageLine} found=${each} jobs=${data.jobs} workflow=${workflow} /> ${may && !each.batches.length && each.jobs.some((job) => !row.disabled.includes(job)) ? html`<${LoadGap} gap=${{ ...each, workflow }} paused=${row.paused} />` : null}</li>`)}</ul>
    ${lines.length > SHOWN ? html`<p>This list leaves out ${lines.length - SHOWN} older ones.</p>` : null}${meant ? html`<p>${meant.trim()}</p>` : null}</div>${strips}`;
}

function CoverageLine({ found, jobs, workflow }) {
  const { batches } = found;
  const what = !batches.length ? "never loaded" : batches.length === 2 ? "loaded twice" : `loaded ${batches.length} times`;
  return html`${what}: <${Window} from=${found.from_date} to=${found.to_date} /> <span class="soft">${isBeginning(found.from_date) ? null : `(${length(found)})`}${found.jobs.length < jobs.length ? `, ${found.jobs.join(", ")}` : ""}${batches.length ? html`, by ${batches.map((id, at) => html`${at ? ", " : ""}<a key=${id} href=${batchPath(workflow, id)}>${id}</a>`)}` : null}</span>`;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

let library;
function chartLibrary() {
  library ||= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = new URL("./vendor/chart.js", import.meta.url).href;
    script.onload = () => done(window.Chart);
    script.onerror = failed;
    document.head.append(script);
  });
  return library;
}

export function Chart({ config, label, height, signature }) {
  const canvas = useRef(null);
  useEffect(() => {
    let chart;
    let gone = false;
    const draw = async () => {
      const Library = await chartLibrary();
      if (gone) return;
      chart?.destroy();
      chart = new Library(canvas.current, config({ grid: colour("line"), text: colour("soft"), colour }));
    };
    draw();
    const theme = new MutationObserver(draw);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
    return () => {
      gone = true;
      theme.disconnect();
      chart?.destroy();
    };
  }, [signature]);
  return html`<div class="chart" style=${{ height: `${height}px` }}><canvas ref=${canvas} role="img" aria-label=${label}></canvas></div>`;
}

const signatureOf = (batches, zoneId) => JSON.stringify([zoneId, ...batches.map((batch) => [batch.batch_id, batch.status, batch.from_date, batch.to_date, batch.batch_end])]);

// The time range that the chart shows. A first window of all data, or a one-off load of another year, would make all
// others too narrow to see. Such bars are cut at the edge of the chart.
function visibleRange(batches) {
  const bars = batches.map((batch) => ({ from: +moment(batch.from_date), to: +moment(batch.to_date), live: batch.kind === "live", whole: isBeginning(batch.from_date) }));
  const lengths = bars.filter((bar) => !bar.whole).map((bar) => bar.to - bar.from).sort((a, b) => a - b);
  const usual = 20 * Math.max(lengths[(lengths.length - 1) >> 1] ?? 0, 60000);
  const extent = (some) => [Math.min(...some.map((bar) => bar.from)), Math.max(...some.map((bar) => bar.to))];
  const ordinary = bars.filter((bar) => !bar.whole && bar.to - bar.from <= usual);
  const live = ordinary.filter((bar) => bar.live);
  let found = ordinary.length ? extent(ordinary) : [Math.max(...bars.map((bar) => bar.to)) - 86400000, Math.max(...bars.map((bar) => bar.to))];
  if (live.length) {
    const [low, high] = extent(live);
    if (found[1] - found[0] > 3 * Math.max(high - low, usual)) found = [low, high];
  }
  const pad = Math.max((found[1] - found[0]) * 0.02, 60000);
  return [found[0] - pad, found[1] + pad];
}

function Timeline({ batches }) {
  const zoneId = useStore(zone);
  const bars = batches.map((batch) => [+moment(batch.from_date), +moment(batch.to_date)]);
  const [low, high] = visibleRange(batches);
  const stub = (high - low) / 100;
  const drawn = bars.map(([from, to]) => [Math.min(Math.max(from, low), high - stub), Math.max(Math.min(to, high), low + stub)]);
  const cut = bars.some(([from, to]) => from < low || to > high);
  const past = batches.some((batch) => batch.kind === "history");
  const config = ({ grid, text, colour: of }) => ({
    type: "bar",
    data: { labels: batches.map((batch) => formatDate(moment(batch.started), zoneId)), datasets: [{ data: drawn, backgroundColor: batches.map((batch) => `${of(batch.status)}${batch.kind === "history" ? "55" : ""}`), borderColor: batches.map((batch) => of(batch.status)), borderWidth: 1, borderSkipped: false, borderRadius: 3, minBarLength: 4, barPercentage: 0.8, categoryPercentage: 0.9 }] },
    options: {
      indexAxis: "y", maintainAspectRatio: false, animation: false,
      plugins: { legend: { display: false }, tooltip: { callbacks: {
        title: ([item]) => `Batch ${batches[item.dataIndex].batch_id}, ${batches[item.dataIndex].status}${batches[item.dataIndex].kind === "history" ? ", history only" : ""}`,
        label: (item) => [batches[item.dataIndex].from_date, batches[item.dataIndex].to_date].map((each) => (isBeginning(each) ? "the beginning" : formatDate(moment(each), zoneId))).join(" → "),
      } } },
      scales: {
        x: { type: "linear", min: low, max: high, grid: { color: grid }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 20, callback: (value) => formatDate(new Date(value), zoneId) } },
        y: { reverse: false, grid: { display: false }, ticks: { color: text, autoSkip: true, font: { size: 11 } }, title: { display: true, text: "opened at", color: text } },
      },
      onClick: (event, [hit]) => { if (hit) location.hash = batchPath(batches[hit.index].workflow, batches[hit.index].batch_id); },
      onHover: (event, hits) => { event.native.target.style.cursor = hits.length ? "pointer" : "default"; },
    },
  });
  return html`<${Chart} signature=${signatureOf(batches, zoneId)} config=${config} height=${Math.max(160, 60 + batches.length * 18)}
    label=${`Windows of the last ${batches.length} batches over time, the oldest at the top; the table below has the same.`} />
    ${cut || past ? html`<p class="soft">${[past ? "Pale bars are backfills and one-off loads." : null, cut ? "A bar at the left or right edge continues beyond it." : null].filter(Boolean).join(" ")}</p>` : null}`;
}

function Durations({ batches }) {
  const zoneId = useStore(zone);
  const ended = batches.filter((batch) => batch.started && batch.batch_end);
  const longest = Math.max(...ended.map((batch) => moment(batch.batch_end) - moment(batch.started)), 1000);
  const [unit, name] = longest > 7200000 ? [3600000, "hours"] : longest > 120000 ? [60000, "minutes"] : [1000, "seconds"];
  const config = ({ grid, text, colour: of }) => ({
    type: "bar",
    data: { labels: ended.map((batch) => formatDate(moment(batch.started), zoneId)), datasets: [{ data: ended.map((batch) => (moment(batch.batch_end) - moment(batch.started)) / unit), backgroundColor: ended.map((batch) => of(batch.status)), borderRadius: 3, minBarLength: 2, maxBarThickness: 40 }] },
    options: {
      maintainAspectRatio: false, animation: false, plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => duration(item.raw * unit) } } },
      scales: { x: { grid: { display: false }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 16 } }, y: { beginAtZero: true, grid: { color: grid }, ticks: { color: text }, title: { display: true, text: name, color: text } } },
      onClick: (event, [hit]) => { if (hit) location.hash = batchPath(ended[hit.index].workflow, ended[hit.index].batch_id); },
    },
  });
  if (!ended.length) return html`<p class="quiet">No batch has ended yet.</p>`;
  return html`<${Chart} signature=${signatureOf(ended, zoneId)} config=${config} height=${200} label=${`How long the last ${ended.length} batches took; the table below has the same.`} />`;
}
