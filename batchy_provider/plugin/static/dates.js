// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Dates: the API has UTC without a timezone; people see their own timezone or UTC.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { serverNow } from "./api.js";
import { useStore, zone } from "./live.js";

// The start of the first window of a job without an initial date: all data. Cut to midnight, it may lie before this moment.
const BEGINNING = "1776-07-04T23:59";
export const isBeginning = (text) => Boolean(text) && +moment(text) <= +moment(BEGINNING);

export const moment = (text) => (text ? new Date(/Z|[+-]\d\d:?\d\d$/.test(text) ? text : `${text.replace(" ", "T")}Z`) : null);

// A zone is "local", "utc" or a name such as "Europe/Berlin".
const timeZoneOf = (zoneId) => (zoneId === "utc" ? "UTC" : zoneId === "local" ? undefined : zoneId);

export function isZone(zoneId) {
  try {
    return Boolean(zoneId) && Boolean(new Intl.DateTimeFormat("en", { timeZone: timeZoneOf(zoneId) }));
  } catch {
    return false;
  }
}

const formats = {};
export function formatDate(date, zoneId, seconds = false) {
  const key = `${zoneId}${seconds}`;
  formats[key] ||= new Intl.DateTimeFormat("en-CA", {
    year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23", timeZone: timeZoneOf(zoneId),
  });
  return formats[key].format(date).replace(",", "");
}

export const zoneName = (zoneId) => timeZoneOf(zoneId) || Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

export function When({ at, seconds }) {
  const zoneId = useStore(zone);
  const date = moment(at);
  if (!date || Number.isNaN(+date)) return html`<span class="soft">—</span>`;
  if (isBeginning(at)) return html`<time datetime=${at} title=${`before all data: ${at}`}>the beginning</time>`;
  const other = zoneId === "local" ? "utc" : "local";
  return html`<time datetime=${date.toISOString()} title=${`${formatDate(date, other, true)} ${zoneName(other)}`}>${formatDate(date, zoneId, seconds)}</time>`;
}

export const Window = ({ from, to }) =>
  from || to ? html`<span class="window">${isBeginning(from) ? html`<span>from${"\u00a0"}</span>` : null}<${When} at=${from} /><span class="arrow" aria-label="to">→</span><${When} at=${to} /></span>` : null;

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

export function useNow(step = 10000) {
  const [now, set] = useState(serverNow());
  useEffect(() => {
    const timer = setInterval(() => set(serverNow()), step);
    return () => clearInterval(timer);
  }, []);
  return now;
}

// A past moment: never "in 5 s", even if the clocks differ.
export function Ago({ at }) {
  const now = useNow();
  const date = moment(at);
  if (!date) return html`<span class="soft">never</span>`;
  const past = now - date;
  return html`<${When} at=${at} /> <span class="soft nowrap">${past < 1000 ? "just now" : `${duration(past)} ago`}</span>`;
}

// For <input type=datetime-local>, which has no timezone: the one that is shown.
export const toInput = (date, zoneId) => formatDate(date, zoneId).replace(" ", "T");
export const fromInput = (text, zoneId) => (text ? (zoneId === "local" ? new Date(text) : inZone(text, zoneId)).toISOString().slice(0, 19) : null);

// The moment at which the clocks of a zone show `text`.
function inZone(text, zoneId) {
  const wanted = +new Date(`${text}Z`);
  let at = wanted;
  for (let round = 0; round < 2; round += 1) at += wanted - +new Date(`${toInput(new Date(at), zoneId)}Z`); // once more near a change of the clocks
  return new Date(at);
}
