// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Live data: one stream of events for all views, and requests that repeat.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { get, ours } from "./api.js";

function store(value) {
  const readers = new Set();
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      readers.forEach((reader) => reader(value));
    },
    watch(reader) {
      readers.add(reader);
      return () => readers.delete(reader);
    },
  };
}

export function useStore(one) {
  const [value, set] = useState(one.get());
  useEffect(() => {
    set(one.get());
    return one.watch(set);
  }, [one]);
  return value;
}

export const trouble = store(null); // a sentence about Redis or the server, or null
export const connected = store(false);
export const overdue = store(false); // an answer is late: a Redis that hangs sends no error
export const said = store(null); // what the user has just done
export const zone = store(stored("batchy-zone") === "utc" ? "utc" : "local");

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function setZone(value) {
  zone.set(value);
  try {
    localStorage.setItem("batchy-zone", value);
  } catch {
    // the choice holds for this page
  }
}

let toast;
export function tell(text) {
  said.set(text);
  clearTimeout(toast);
  toast = setTimeout(() => said.set(null), 6000);
}

const listeners = new Set();
export function listen() {
  const events = new EventSource(ours("events"), { withCredentials: true });
  events.onopen = () => {
    connected.set(true);
    listeners.forEach((each) => each({})); // something may have happened while nobody listened
  };
  events.onerror = () => connected.set(false);
  events.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.event === "lost") trouble.set("Redis does not answer. This page may show old data; it keeps trying.");
    if (event.event === "back") trouble.set(null);
    listeners.forEach((each) => each(event));
  };
}

const OVERDUE = 6000;
const pending = new Set();
const judge = () => overdue.set([...pending].some((since) => performance.now() - since >= OVERDUE));

// Watch for answers that are late.
async function timed(answer) {
  const since = performance.now();
  pending.add(since);
  const timer = setTimeout(judge, OVERDUE + 50);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
    pending.delete(since);
    judge();
  }
}

// After an action of this user: all views ask again.
export const nudge = () => listeners.forEach((each) => each({}));

// Ask `path` now, after each event of `workflow` (or of any workflow), and again after `every(data)` milliseconds. The old
// answer stays until the next one arrives. A `calm` request repeats only by time and after an action of this user, and the
// page shows no warning if it fails.
export function useAsked(path, { workflow, every, asking = get, calm = false } = {}) {
  const [state, setState] = useState({ path: null, data: undefined, error: null });
  const again = useRef(() => {});
  useEffect(() => {
    if (path === null) return undefined;
    let alive = true;
    let timer;
    let busy = false;
    let missed = false;
    async function go() {
      clearTimeout(timer);
      if (busy) {
        missed = true;
        return;
      }
      busy = true;
      let pause = 30000;
      try {
        const data = await timed(asking(path));
        if (!alive) return;
        if (asking === get && !calm) trouble.set(null);
        setState({ path, data, error: null });
        pause = (every && every(data)) || pause;
      } catch (error) {
        if (!alive) return;
        if (error.status === 503 && !calm) trouble.set(`${error.message} This page may show old data; it keeps trying.`);
        if (error.status === 0) trouble.set(error.message);
        setState((old) => ({ ...old, error }));
        pause = calm ? 60000 : 5000;
      }
      busy = false;
      if (missed) {
        missed = false;
        pause = 300; // many events at once are one question
      }
      if (document.hidden) pause = Math.max(pause, 15000);
      timer = setTimeout(go, pause);
    }
    go();
    again.current = go;
    const hear = (event) => {
      if (calm && event.event) return;
      if (!workflow || !event.workflow || event.workflow === workflow) {
        clearTimeout(timer);
        timer = setTimeout(go, 200);
      }
    };
    listeners.add(hear);
    return () => {
      alive = false;
      clearTimeout(timer);
      listeners.delete(hear);
    };
  }, [path]);
  return { ...state, reload: () => again.current(), old: state.path !== path };
}
