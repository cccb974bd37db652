// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// What the time axis says in words: times with their offset, the state of a run, its end, its deadline, problems.

import { duration, formatDate, moment, zoneName } from "./dates.js";

const HOUR = 3600000;

const offsets = {};
// The offset of a zone at a moment, such as "+01:00".
export function offset(date, zoneId) {
  offsets[zoneId] ||= new Intl.DateTimeFormat("en", { timeZoneName: "longOffset", timeZone: zoneId === "utc" ? "UTC" : zoneId === "local" ? undefined : zoneId });
  const text = offsets[zoneId].formatToParts(date).find((part) => part.type === "timeZoneName").value.replace(/^(GMT|UTC)/, "").replace("−", "-");
  return text || "+00:00";
}

// A time with its offset, and its weekday or date if that is another day than that of `now`.
export function stamp(at, zoneId, now) {
  const date = moment(at);
  const text = formatDate(date, zoneId);
  const isToday = text.slice(0, 10) === formatDate(new Date(now), zoneId).slice(0, 10);
  const day = isToday ? "" : Math.abs(date - now) < 6 * 24 * HOUR ? `${dayText(date, zoneId).slice(0, 3)} ` : `${text.slice(0, 10)} `;
  return `${day}${text.slice(11)} ${offset(date, zoneId)}`;
}

// The offsets that hold between two moments: one, or two where the clocks change.
export function zoneText(from, to, zoneId) {
  const before = offset(new Date(from), zoneId);
  const after = offset(new Date(to), zoneId);
  if (before === after) return `${zoneName(zoneId)} (UTC${before})`;
  return `${zoneName(zoneId)} (UTC${before}, then UTC${after}: the clocks ${after > before ? "go forward" : "go back"} in this time)`;
}

export const STATES = { success: "succeeded", failed: "failed", open: "running", pending: "due, not started", expected: "expected" };
export const PROBLEMS = {
  unreadable: "state unreadable", invalid_file: "invalid file", failed: "failed", missed: "deadline missed", at_risk: "deadline at risk",
  open_long: "open for more than a day", on_hold: "on hold", acknowledged: "failure acknowledged",
};
export const percent = (share) => (share > 0 && share < 0.01 ? "less than 1 %" : share < 1 && share > 0.99 ? "more than 99 %" : `${Math.round(share * 100)} %`);

const UNKNOWN = "When it ends is unknown: fewer than three successful runs are known, or what it waits for has an unknown end.";

function ending(run, at) {
  if (!run.end_p50) return UNKNOWN;
  if (!run.end_p90 || at(run.end_p50) === at(run.end_p90)) return `It is probably done at ${at(run.end_p50)}.`;
  return `It is probably done at ${at(run.end_p50)}, at the latest at ${at(run.end_p90)} in 9 of 10 nights.`;
}

function jobsText(run) {
  const counts = Object.entries(run.jobs).map(([outcome, count]) => `${count} ${outcome.replaceAll("_", " ")}`);
  if (!counts.length) return [];
  const failed = run.failed_jobs.length ? ` Failed: ${run.failed_jobs.slice(0, 5).join(", ")}${run.failed_jobs.length > 5 ? ` and ${run.failed_jobs.length - 5} more` : ""}.` : "";
  return [`Jobs: ${counts.join(", ")}.${failed}`];
}

function deadlineText(run, at) {
  if (!run.deadline) return [];
  const when = `Deadline ${at(run.deadline)}`;
  if (run.missed) return [`${when}: missed.`];
  if (run.missed === false) return [`${when}: met.`];
  if (run.miss_probability === null) return [`${when}: how likely it is missed is unknown.`];
  return [`${when}: missed with a probability of ${percent(run.miss_probability)}.`];
}

// A run in sentences.
export function runWords(run, zoneId, now) {
  const at = (text) => stamp(text, zoneId, now);
  const lines = [];
  const again = run.kind === "history" ? " It loads a past window." : "";
  if (run.state === "success" || run.state === "failed") {
    lines.push(`${run.state === "success" ? "Succeeded" : "Failed"}: ${at(run.start)} to ${run.end ? at(run.end) : "an unknown time"}${run.end ? `, ${duration(moment(run.end) - moment(run.start))}` : ""}.${again}`);
  } else if (run.state === "open") {
    lines.push(`Running${run.start ? ` since ${at(run.start)}, for ${duration(now - moment(run.start))}` : ""}.${again}`, ending(run, at));
  } else if (run.state === "pending") {
    lines.push(`${run.due ? `Was due at ${at(run.due)}` : "Is due"}, and has not started.`);
    if (run.start && moment(run.start) - now > 90000) lines.push(`It probably starts at ${at(run.start)}.`);
    lines.push(ending(run, at));
  } else {
    const begin = run.start ? `probably starts at ${at(run.start)}` : "when it starts is unknown";
    const same = run.start && run.due && Math.abs(moment(run.start) - moment(run.due)) < 60000;
    lines.push(run.due ? `Due at ${at(run.due)}${same ? "" : `, ${begin}`}.` : `Starts after another workflow: ${begin}.`, ending(run, at));
  }
  if (run.waits_for.length) lines.push(`Waits for ${run.waits_for.join(", ")}.`);
  lines.push(...deadlineText(run, at), ...jobsText(run));
  if (run.acknowledged) lines.push(`Acknowledged by ${run.acknowledged.by}${run.acknowledged.text ? `: ${run.acknowledged.text}` : "."}`);
  return lines;
}

// Many runs that are shown as one, in sentences.
export function bandWords(band, zoneId, now, more) {
  const longest = band.longest_seconds === null ? "" : ` The longest ${band.state === "expected" ? "is expected to take" : "took"} ${duration(band.longest_seconds * 1000)}.`;
  return [`${band.count} runs in a row, ${band.state === "expected" ? "expected" : `all ${STATES[band.state]}`}: ${stamp(band.start, zoneId, now)} to ${stamp(band.end, zoneId, now)}.${longest}${more && band.state === "expected" ? " More follow: the plan ends after 200 runs of one workflow." : ""}`];
}

const GAP = 6;
const widthOf = (label) => label.length * 6.6;

// The times at which the axis has a line: full hours of the zone's clock. `label` is null where there is no room.
export function ticks(from, to, zoneId, pixels) {
  const room = pixels / ((to - from) / HOUR);
  const step = [1, 2, 3, 6, 12, 24].find((hours) => room * hours >= 58) || 24;
  const found = [];
  let before = offset(new Date(from), zoneId);
  for (let at = from; at < to; at += HOUR) {
    const date = new Date(at);
    const text = formatDate(date, zoneId);
    const change = offset(date, zoneId) !== before;
    before = offset(date, zoneId);
    const midnight = text.slice(11) === "00:00";
    const line = midnight || change || Number(text.slice(11, 13)) % step === 0;
    if (line) found.push({ at, midnight, change, label: midnight ? dayText(date, zoneId) : `${text.slice(11)}${change ? ` ${before}` : ""}` });
  }
  // Days and changes of the clocks have their labels first; the others have one where there is still room.
  const taken = [];
  const important = (tick) => (tick.midnight || tick.change ? 0 : 1);
  [...found].sort((a, b) => important(a) - important(b) || a.at - b.at).forEach((tick) => {
    const middle = ((tick.at - from) / HOUR) * room;
    const half = widthOf(tick.label) / 2 + GAP / 2;
    const [left, right] = tick.at === from ? [0, 2 * half] : [middle - half, middle + half];
    if (taken.some(([start, end]) => left < end && right > start)) tick.label = null;
    else taken.push([left, right]);
  });
  return found;
}

const days = {};
export function dayText(date, zoneId) {
  days[zoneId] ||= new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: zoneId === "utc" ? "UTC" : zoneId === "local" ? undefined : zoneId });
  return days[zoneId].format(date).replace(",", "");
}
