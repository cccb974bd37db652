// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The time axis: one row for each workflow, a bar for each run, marks for deadlines, a line for now.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { workflowPath } from "./components.js";
import { moment } from "./dates.js";
import { PROBLEMS, STATES, bandWords, runWords, stamp, ticks } from "./tonight_words.js";

export const runKey = (run) => (run.batch_id !== null ? `${run.batch_id}` : `due ${run.due || run.start || "unknown"}`);
const GLYPHS = { success: "✓", failed: "✕", open: "▶", pending: "…", expected: "" };
const MOST_LANES = 5;

// Where a moment is on the axis, in percent; clipped to it.
const share = (span, at) => Math.min(100, Math.max(0, ((at - span.from) / (span.to - span.from)) * 100));

function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}

// The parts of a bar: from when to when, and what that part means.
function parts(run, now) {
  const start = +moment(run.start || run.due);
  if (run.end) return [["done", start, +moment(run.end)]];
  const p50 = run.end_p50 && +moment(run.end_p50);
  const p90 = run.end_p90 && +moment(run.end_p90);
  const found = run.state === "open" ? [["done", start, now]] : [];
  const from = run.state === "open" ? now : start;
  if (p50) found.push(["likely", from, Math.max(from, p50)]);
  if (p50 && p90 > p50) found.push(["latest", Math.max(from, p50), Math.max(from, p90)]);
  return found;
}

// Runs that overlap get lanes, one below the other.
function lanes(runs, span, now) {
  const ends = [];
  return runs.map((run) => {
    const found = parts(run, now);
    const start = run.start || run.due ? +moment(run.start || run.due) : span.from;
    const end = Math.max(found.length ? found[found.length - 1][2] : start, start + (span.to - span.from) * 0.012);
    let lane = ends.findIndex((each) => each <= start);
    if (lane < 0) lane = Math.min(ends.length, MOST_LANES - 1);
    ends[lane] = Math.max(ends[lane] || 0, end);
    return { run, lane, found, start, end };
  });
}

export function Axis({ span, groups, now, zoneId, selected, chain, select, toggle }) {
  const [box, width] = useWidth();
  const tip = useRef(() => {});
  const lines = ticks(span.from, span.to, zoneId, Math.max(100, width - 230));
  const latest = useRef(select);
  latest.current = select;
  // A thousand rows are drawn again only if something in them has changed.
  const body = useMemo(() => {
    const rows = { span, now, zoneId, selected, chain, select: (...chosen) => latest.current(...chosen), show: showTip(tip), hide: () => tip.current(null) };
    return groups.map((group) => html`<section key=${group.name} aria-label=${group.name || "Workflows"}>
      ${group.name ? html`<${GroupHead} group=${group} toggle=${toggle} />` : null}
      ${group.folded ? null : html`<ul class="axis-rows">${group.rows.map((row) => html`<${Row} key=${row.workflow} row=${row} ...${rows} />`)}</ul>`}
    </section>`);
  }, [groups, span.from, span.to, now, zoneId, selected, chain]);
  return html`<div class="axis" ref=${box} onKeyDown=${move}>
    <div class="axis-head" aria-hidden="true"><div class="axis-name"></div><div class="axis-track">${lines.map((line) => line.label && html`<span key=${line.at} class=${`tick ${line.midnight ? "midnight" : ""} ${share(span, line.at) > 96 ? "end" : ""}`} style=${{ left: `${share(span, line.at)}%` }}>${line.label}</span>`)}${now >= span.from && now <= span.to ? html`<span class="tick now" style=${{ left: `${share(span, now)}%` }}>now</span>` : null}</div></div>
    <div class="axis-body">
      <div class="axis-lines" aria-hidden="true">
        ${lines.map((line) => html`<i key=${line.at} class=${line.midnight ? "midnight" : line.change ? "change" : ""} style=${{ left: `${share(span, line.at)}%` }}></i>`)}
        ${now > span.from ? html`<i class="past" style=${{ width: `${share(span, now)}%` }}></i>` : null}
        ${now >= span.from && now <= span.to ? html`<i class="now" style=${{ left: `${share(span, now)}%` }}></i>` : null}
      </div>
      ${body}
    </div>
    <${Tip} setter=${tip} />
  </div>`;
}

const showTip = (tip) => (event, title, words) => {
  const place = event.currentTarget.getBoundingClientRect();
  const below = place.bottom < window.innerHeight - 180;
  tip.current({ title, words, place: { left: `${Math.min(Math.max(8, place.left), window.innerWidth - 348)}px`, ...(below ? { top: `${place.bottom + 6}px` } : { bottom: `${window.innerHeight - place.top + 6}px` }) } });
};

// What a bar means, beside the bar that the mouse or the focus is on. Escape and scrolling hide it. A screen reader reads
// the label of the bar, which says the same.
function Tip({ setter }) {
  const [tip, set] = useState(null);
  setter.current = set;
  useEffect(() => {
    const hide = (event) => (event.type === "scroll" || event.key === "Escape") && set(null);
    window.addEventListener("keydown", hide);
    window.addEventListener("scroll", hide, { passive: true });
    return () => {
      window.removeEventListener("keydown", hide);
      window.removeEventListener("scroll", hide);
    };
  }, []);
  if (!tip) return null;
  return html`<div class="axis-tip" aria-hidden="true" style=${tip.place}><b>${tip.title}</b>${tip.words.map((line, at) => html`<div key=${at}>${line}</div>`)}</div>`;
}

export const GroupHead = ({ group, toggle }) => html`<h2 class="axis-group"><button class="plain" aria-expanded=${!group.folded} onClick=${() => toggle(group.name)}><span aria-hidden="true">${group.folded ? "▸" : "▾"}</span> ${group.name} <span class="soft">${group.rows.length}${group.problems ? `, ${group.problems} with problems` : ""}</span></button></h2>`;

export const ProblemMarks = ({ row }) => row.problems.slice(0, 2).map((problem) => html`<span key=${problem} class=${`mark ${problem}`}>${PROBLEMS[problem] || problem.replaceAll("_", " ")}</span>`);

function Row({ row, span, now, zoneId, selected, chain, select, show, hide }) {
  const placed = lanes(row.runs, span, now);
  const height = Math.max(1, ...placed.map((each) => each.lane + 1));
  const role = chain.upstream.has(row.workflow) ? "upstream" : chain.downstream.has(row.workflow) ? "downstream" : selected?.workflow === row.workflow ? "chosen" : "";
  return html`<li class=${`axis-row ${role}`}>
    <div class="axis-name"><a href=${workflowPath(row.workflow)} title=${row.workflow}>${row.workflow}</a>
      <div class="marks">${role === "upstream" ? html`<span class="mark role">it depends on this</span>` : role === "downstream" ? html`<span class="mark role">affected</span>` : html`<${ProblemMarks} row=${row} />`}</div>
    </div>
    <div class=${`axis-track lanes-${height}`}>
      ${row.bands.map((band, at) => html`<${Band} key=${`band${at}`} ...${{ row, band, span, now, zoneId, show, hide }} />`)}
      ${placed.map((each) => html`<${Bar} key=${runKey(each.run)} ...${{ row, span, now, zoneId, select, show, hide, ...each }} pressed=${selected?.workflow === row.workflow && selected.key === runKey(each.run)} />`)}
      ${row.runs.map((run) => run.deadline && +moment(run.deadline) >= span.from && +moment(run.deadline) < span.to ? html`<span key=${`deadline${runKey(run)}`} aria-hidden="true" title=${`deadline ${stamp(run.deadline, zoneId, now)}`} class=${`deadline ${run.missed ? "missed" : run.missed === false ? "met" : run.miss_probability >= 0.5 ? "risk" : ""}`} style=${{ left: `${share(span, +moment(run.deadline))}%` }}></span>` : null)}
      ${row.hold && !row.runs.some((run) => run.state === "open") ? html`<span class="held" aria-hidden="true" style=${{ left: `${share(span, now)}%`, right: `${100 - share(span, row.hold.until ? +moment(row.hold.until) : span.to)}%` }}>on hold</span>` : null}
    </div>
  </li>`;
}

function Bar({ row, run, lane, found, start, span, now, zoneId, select, show, hide, pressed }) {
  const end = found.length ? found[found.length - 1][2] : start;
  const left = share(span, start);
  const width = Math.max(0, share(span, end) - left);
  const words = runWords(run, zoneId, now);
  const unknown = !run.end && !run.end_p50;
  const inside = (at) => (width ? ((share(span, at) - left) / width) * 100 : 0);
  const title = `${row.workflow}: ${STATES[run.state]}${run.kind === "history" ? ", a past window" : ""}`;
  const on = (event) => show(event, title, words);
  return html`<button type="button" class=${`bar ${run.state} ${run.kind === "history" ? "past-window" : ""} ${unknown ? "unknown" : ""} ${start < span.from ? "before" : ""} ${end > span.to ? "after" : ""}`} tabindex="-1" data-row=${row.workflow} aria-pressed=${pressed} aria-label=${`${title}. ${words.join(" ")}`}
      style=${{ left: `${left}%`, width: `${width}%`, top: `${lane * 20 + 4}px` }} onClick=${(event) => select(row, run, event.currentTarget)} onMouseEnter=${on} onFocus=${on} onMouseLeave=${hide} onBlur=${hide}>
    ${found.map(([kind, from, to]) => html`<i key=${kind} class=${kind} style=${{ left: `${inside(from)}%`, width: `${inside(to) - inside(from)}%` }}></i>`)}
    <span class="glyph" aria-hidden="true">${unknown && run.state !== "open" ? "?" : GLYPHS[run.state]}</span>
  </button>`;
}

function Band({ row, band, span, now, zoneId, show, hide }) {
  const left = share(span, +moment(band.start));
  const words = bandWords(band, zoneId, now, row.more);
  const on = (event) => show(event, row.workflow, words);
  return html`<button type="button" class=${`bar band ${band.state}`} tabindex="-1" data-row=${row.workflow} aria-label=${`${row.workflow}: ${words.join(" ")}`} style=${{ left: `${left}%`, width: `${share(span, +moment(band.end)) - left}%`, top: "4px" }} onMouseEnter=${on} onFocus=${on} onMouseLeave=${hide} onBlur=${hide}><span class="count">${band.count}×${row.more && band.state === "expected" ? " …" : ""}</span></button>`;
}

// One stop of the Tab key for all bars. From there, arrows lead to the bar before, after, above and below.
function move(event) {
  const bar = event.target.closest?.(".bar");
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!bar || !steps || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll(".axis-row")].map((row) => [...row.querySelectorAll(".bar")].sort((a, b) => a.offsetLeft - b.offsetLeft)).filter((row) => row.length);
  const at = all.findIndex((row) => row.includes(bar));
  const [down, right] = steps;
  const row = all[Math.min(all.length - 1, Math.max(0, at + down))];
  const near = (each) => Math.abs(each.getBoundingClientRect().left - bar.getBoundingClientRect().left);
  const next = down ? row.reduce((best, each) => (near(each) < near(best) ? each : best)) : row[Math.min(row.length - 1, Math.max(0, row.indexOf(bar) + right))];
  stop(event.currentTarget, next);
  next.focus({ preventScroll: false });
}

// Let the Tab key lead to one bar.
function stop(axis, next) {
  axis.querySelectorAll('.bar[tabindex="0"]').forEach((each) => each.setAttribute("tabindex", "-1"));
  next.setAttribute("tabindex", "0");
}

// After each drawing: the Tab key leads to the bar that it led to, or else to the first one.
export function useOneStop(box, signature) {
  useEffect(() => {
    const axis = box.current?.querySelector(".axis");
    if (!axis || axis.querySelector('.bar[tabindex="0"]')) return;
    const first = axis.querySelector('.bar[aria-pressed="true"]') || axis.querySelector(".bar");
    if (first) stop(axis, first);
  }, [signature]);
}
