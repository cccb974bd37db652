// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Live data: one stream of events for all views, and requests that repeat.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { setParams } from "./address.js";
import { apiUrl, get } from "./api.js";

export function createStore(value) {
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

export const outage = createStore(null); // a sentence about Redis or the server, or null
export const connected = createStore(false);
export const overdue = createStore(false); // an answer is late: Redis sends no error while it hangs
export const toastText = createStore(null); // the result of the last action of the user
export const zone = createStore(stored("batchy-zone") === "utc" ? "utc" : "local"); // the address may have another one

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

// Show times in another zone: here, in the address, and at the next visit.
export function setZone(value) {
  zone.set(value);
  setParams({ tz: value === "local" ? null : value }, { replace: true });
  try {
    localStorage.setItem("batchy-zone", value);
  } catch {
    // the choice holds for this page
  }
}

let toastTimer;
export function notify(text) {
  toastText.set(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toastText.set(null), 6000);
}

const listeners = new Set();
export function listen() {
  const events = new EventSource(apiUrl("events"), { withCredentials: true });
  events.onopen = () => {
    connected.set(true);
    listeners.forEach((each) => each({})); // there may have been events without a connection
  };
  events.onerror = () => connected.set(false);
  events.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.event === "lost") outage.set("Redis does not answer. This page may show old data; it keeps trying.");
    if (event.event === "back") outage.set(null);
    listeners.forEach((each) => each(event));
  };
}

const OVERDUE = 6000;
const pending = new Set();
const checkOverdue = () => overdue.set([...pending].some((since) => performance.now() - since >= OVERDUE));

// Wait for an answer, and set `overdue` if it is late.
async function timed(answer) {
  const since = performance.now();
  pending.add(since);
  const timer = setTimeout(checkOverdue, OVERDUE + 50);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
    pending.delete(since);
    checkOverdue();
  }
}

// After an action of this user: all views ask again.
export const refreshAll = () => listeners.forEach((each) => each({}));

// Fetch `path` now, after each event of `workflow` (or of any workflow), and again after `every(data)` milliseconds. The old
// data stays until the next answer arrives. A `background` request repeats only by time and after an action of this user,
// and the page shows no warning if it fails.
export function useData(path, { workflow, every, fetcher = get, background = false } = {}) {
  const [state, setState] = useState({ path: null, data: undefined, error: null });
  const again = useRef(() => {});
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    let timer;
    let due = Infinity;
    let busy = false;
    let missed = false;
    let urgent = false; // this user has done something, and waits to see it
    let answered = -Infinity; // when the last answer came, and how long it took
    let took = 0;
    // The next request is the earliest one that was asked for: events that go on coming must not put it off.
    const next = (pause) => {
      const at = performance.now() + pause;
      if (due <= at) return;
      clearTimeout(timer);
      due = at;
      timer = setTimeout(load, pause);
    };
    // A server or a network that needs long for an answer gets time for other requests.
    const soon = (pause) => Math.max(pause, answered + 2 * took - performance.now());
    async function load() {
      clearTimeout(timer);
      due = Infinity;
      if (busy) {
        missed = true;
        return;
      }
      busy = true;
      let pause = 30000;
      const since = performance.now();
      try {
        const data = await timed(fetcher(path, { signal: stop.signal }));
        if (stop.signal.aborted) return;
        if (fetcher === get && !background) outage.set(null);
        setState({ path, data, error: null });
        pause = (every && every(data)) || pause;
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error.status === 503 && !background) outage.set(`${error.message} This page may show old data; it keeps trying.`);
        if (error.status === 0) outage.set(error.message);
        setState((old) => ({ ...old, error }));
        pause = background ? 60000 : 5000;
      }
      answered = performance.now();
      took = answered - since;
      busy = false;
      if (missed) {
        pause = urgent ? 300 : soon(300); // many events at once cause one request
        missed = urgent = false;
      }
      if (document.hidden) pause = Math.max(pause, 15000);
      next(pause);
    }
    load();
    again.current = load;
    const onEvent = (event) => {
      if (background && event.event) return;
      if (workflow && event.workflow && event.workflow !== workflow) return;
      urgent = urgent || (busy && !event.event);
      next(event.event ? soon(200) : 200);
    };
    listeners.add(onEvent);
    return () => {
      stop.abort(); // an answer to an earlier question is not wanted any more
      clearTimeout(timer);
      listeners.delete(onEvent);
    };
  }, [path]);
  return { ...state, reload: () => again.current(), old: state.path !== path };
}
