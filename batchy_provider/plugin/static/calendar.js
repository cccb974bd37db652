// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The calendar of a workflow: when it is due in the next two months, which days are left out and why, and how the runs
// of the last weeks ended.

import { html, useRef, useState } from "./vendor/preact-htm.js";
import { encode } from "./api.js";
import { useData } from "./live.js";
import { Badge, Failure, batchPath, plural } from "./components.js";

const WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

// Days have no timezone: UTC stands for the timezone of the workflow.
const dateOf = (day) => new Date(`${day}T00:00:00Z`);
const weekday = (day) => (dateOf(day).getUTCDay() + 6) % 7; // Monday is 0
const nextDay = (day, step) => new Date(+dateOf(day) + step * 86400000).toISOString().slice(0, 10);
const longDay = (day) => `${WEEKDAYS[weekday(day)]} ${dateOf(day).getUTCDate()} ${MONTHS[dateOf(day).getUTCMonth()]} ${day.slice(0, 4)}`;
const clock = (moment) => moment.slice(11, 16);
const offset = (moment) => moment.slice(-6);

export function Calendar({ workflow }) {
  const { data, error, reload } = useData(`workflows/${encode(workflow)}/calendar`, { workflow, every: () => 300000 });
  const [chosen, setChosen] = useState(null); // the day that has the focus
  const [pointed, setPointed] = useState(null); // the day below the pointer
  const box = useRef(null);
  if (error && !data) return html`<${Failure} error=${error} reload=${reload} />`;
  if (!data) return html`<p class="quiet">Loading…</p>`;
  const byDay = Object.fromEntries(data.days.map((each) => [each.day, each]));
  const current = byDay[chosen] ? chosen : data.today;
  const go = (event) => {
    const day = target(event, current);
    if (!day) return;
    event.preventDefault();
    const [first, last] = [data.days[0].day, data.days[data.days.length - 1].day];
    const found = day < first ? first : day > last ? last : day;
    box.current.querySelector(`[data-day="${found}"]`)?.focus();
  };
  return html`
    <p class="soft">All days and times are in <b>${data.timezone}</b>, the timezone of this workflow. ${data.calendar ? html`Calendar: <b>${data.calendar}</b>.` : null}</p>
    ${data.notes.length ? html`<div class="note warn">${data.notes.map((note) => html`<p key=${note.code}>${note.text.startsWith(workflow) ? `${note.text}.` : sentence(note.text)}</p>`)}</div>` : null}
    <div class="panel pad calendar">
      <p id="calendar-keys" class="visually-hidden">The arrow keys go to another day, Page Up and Page Down to another month.</p>
      <div class="months" ref=${box} role="group" aria-label="Calendar" aria-describedby="calendar-keys" onKeyDown=${go} onMouseLeave=${() => setPointed(null)}>
        ${months(data.days).map((days) => html`<${Month} key=${days[0].day} days=${days} data=${data} current=${current} choose=${setChosen} point=${setPointed} />`)}
      </div>
      <${Detail} day=${byDay[pointed] || byDay[current]} today=${data.today} workflow=${workflow} />
      <${Legend} calendar=${data.calendar} />
    </div>`;
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function months(days) {
  const found = {};
  days.forEach((each) => (found[each.day.slice(0, 7)] ||= []).push(each));
  return Object.values(found);
}

// The day that a key leads to, or null.
function target(event, day) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7, Home: -weekday(day), End: 6 - weekday(day) };
  if (event.key in steps) return nextDay(day, steps[event.key]);
  if (event.key !== "PageUp" && event.key !== "PageDown") return null;
  const date = dateOf(day);
  const first = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + (event.key === "PageUp" ? -1 : 1), 1));
  const length = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  return nextDay(first.toISOString().slice(0, 10), Math.min(date.getUTCDate(), length) - 1);
}

function Month({ days, data, current, choose, point }) {
  const { day } = days[0];
  const cells = [...Array(weekday(day)).fill(null), ...days];
  const weeks = [];
  for (let at = 0; at < cells.length; at += 7) weeks.push(cells.slice(at, at + 7));
  return html`<table class="month">
    <caption>${MONTHS[dateOf(day).getUTCMonth()]} ${day.slice(0, 4)}</caption>
    <thead><tr>${WEEKDAYS.map((name) => html`<th key=${name} scope="col" abbr=${name}>${name.slice(0, 2)}</th>`)}</tr></thead>
    <tbody>${weeks.map((week, at) => html`<tr key=${at}>${Array.from({ length: 7 }, (_, place) => week[place] || null).map((each, place) => html`<td key=${place}>
      ${each ? html`<button type="button" data-day=${each.day} class=${`day ${look(each, data.today)}`} tabindex=${each.day === current ? 0 : -1}
          aria-label=${describe(each, data.today)} aria-current=${each.day === data.today ? "date" : undefined}
          onFocus=${() => choose(each.day)} onClick=${() => choose(each.day)} onMouseEnter=${() => point(each.day)}>
        <span>${Number(each.day.slice(8))}${each.holiday ? html`<i class="holiday"></i>` : null}</span><small>${mark(each)}</small></button>` : null}
    </td>`)}</tr>`)}</tbody>
  </table>`;
}

// The runs of a day count as its last live run: a failure that a later run has repaired is none any more.
function result(day) {
  const live = day.runs.filter((run) => run.kind === "live");
  return (live.length ? live : day.runs).at(-1)?.status;
}

function look(day, today) {
  const run = result(day);
  // Weekends, and the days that a rule such as "the last business day" passes over, are not worth a look.
  const unusual = day.left_out && (day.holiday || day.note.startsWith("moved"));
  return [run ? `run ${run}` : day.fires.length ? "due" : "", unusual ? "left-out" : "", day.business_day === false ? "off" : "", day.day === today ? "today" : ""].filter(Boolean).join(" ");
}

const SIGNS = { success: "✓", failed: "✗", open: "…" };
function mark(day) {
  const count = day.runs.length > 1 ? day.runs.length : "";
  if (day.runs.length) return `${SIGNS[result(day)] || "·"}${count}`;
  if (day.more_fires) return `${day.fires.length}+`;
  return day.fires.length > 1 ? `${day.fires.length}×` : day.fires.length ? clock(day.fires[0]) : "\u00a0";
}

function times(day) {
  if (!day.fires.length) return null;
  const shown = day.fires.slice(0, 4).map(clock).join(", ");
  const first = new Set(day.fires.map(offset)).size === 1 ? ` (${offset(day.fires[0])})` : "";
  if (day.more_fires) return `due more than ${day.fires.length} times, first at ${clock(day.fires[0])}`;
  return day.fires.length > 4 ? `due ${day.fires.length} times, from ${clock(day.fires[0])} to ${clock(day.fires.at(-1))}${first}` : `due at ${shown}${first}`;
}

// What is on a day, one thing after the other; without the links to its runs.
function facts(day) {
  const counts = {};
  day.runs.forEach((run) => (counts[run.status] = (counts[run.status] || 0) + 1));
  const runs = Object.entries(counts).map(([status, count]) => `${count} ${status}`).join(", ");
  return [
    day.holiday && !(day.left_out && day.note === day.holiday) ? `holiday: ${day.holiday}` : null,
    day.left_out ? (day.note.startsWith("moved") ? day.note : `left out: ${day.note}`) : null,
    times(day),
    !day.left_out && day.note && day.fires.length ? day.note : null,
    day.runs.length ? `${plural(day.runs.length, "run")}: ${runs}` : null,
  ].filter(Boolean);
}

const describe = (day, today) => [`${longDay(day.day)}${day.day === today ? ", today" : ""}`, ...facts(day)].join("; ");

const LINKS = 8;
function Detail({ day, today, workflow }) {
  const known = facts(day);
  const runs = day.runs.slice(-LINKS);
  return html`<div class="detail">
    <b>${longDay(day.day)}${day.day === today ? ", today" : ""}</b>
    <span>${known.length ? sentence(known.join("; ")) : day.day < today ? "No run." : "Nothing is due."}</span>
    ${runs.length ? html`<ul>${runs.map((run) => html`<li key=${run.batch_id}><${Badge} state=${run.status} /> ${clock(run.started)} <a href=${batchPath(workflow, run.batch_id)}>batch ${run.batch_id}</a>${run.kind === "history" ? html` <span class="soft">history only</span>` : null}</li>`)}</ul>` : null}
  </div>`;
}

const Legend = ({ calendar }) => html`<ul class="legend" aria-label="Legend">
  <li><span class="day due">1</span> due</li>
  <li><span class="day run success">✓</span> success</li>
  <li><span class="day run failed">✗</span> failed</li>
  <li><span class="day run open">…</span> open</li>
  ${calendar ? html`<li><span class="day off">1</span> not a business day</li><li><span class="day off">1<i class="holiday"></i></span> holiday</li><li><span class="day left-out">1</span> moved, or left out for a holiday</li>` : null}
  <li><span class="day today"><span>1</span></span> today</li>
</ul>`;
