// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// The address of a view: "#/part/part?key=value". A link to it shows the same view, with the same filters, order, page and
// time zone, and the browser's back and forward buttons work.

import { useEffect, useState } from "./vendor/preact-htm.js";

const readers = new Set();

// Return the address as { parts, params }: the decoded parts of the path, and URLSearchParams.
// Throws URIError if it cannot be decoded.
export function readAddress(hash = location.hash) {
  const text = hash.replace(/^#/, "");
  const at = text.indexOf("?");
  const path = at < 0 ? text : text.slice(0, at);
  return { parts: path.split("/").slice(1).map(decodeURIComponent), params: new URLSearchParams(at < 0 ? "" : text.slice(at + 1)) };
}

// Return the link to a view. `values`: parameters, as an object or URLSearchParams; a list is a repeated parameter.
export function addressOf(path, values = {}) {
  const query = values instanceof URLSearchParams ? values : write(new URLSearchParams(), values);
  const text = query.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

// Call `reader` after each change of the address: of the view, or of a parameter only. Returns a function that ends this.
export function watchAddress(reader) {
  readers.add(reader);
  return () => readers.delete(reader);
}

// Change parameters of the current view, and leave the others. null removes one. `replace`: change the current entry of
// the browser's history. Otherwise there is a new entry, and "back" leads to the address before.
export function setParams(changes, { replace = false } = {}) {
  const hash = withParams(changes);
  if (hash === (location.hash || "#/")) return;
  window.history[replace ? "replaceState" : "pushState"](null, "", hash);
  announce();
}

function withParams(changes) {
  const text = location.hash.replace(/^#/, "") || "/";
  const [path, ...query] = text.split("?");
  return addressOf(path, write(new URLSearchParams(query.join("?")), changes));
}

// What a view shows, kept in the address. `defaults`: parameter → its value if the address has none. The type of that value
// (text, number, boolean, list of texts) is the type of the parameter; a default is not written into the address.
// Returns [values, set]. `set({ page: 2 }, { replace: true })` changes some of them.
export function useParams(defaults) {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => watchAddress(() => setHash(location.hash)), []);
  const query = hash.includes("?") ? hash.slice(hash.indexOf("?") + 1) : "";
  const params = new URLSearchParams(query);
  const values = Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, read(params, key, value)]));
  const set = (changes, options) => setParams(Object.fromEntries(Object.entries(changes).map(([key, value]) => [key, same(value, defaults[key]) ? null : value])), options);
  return [values, set];
}

function read(params, key, fallback) {
  if (Array.isArray(fallback)) return params.has(key) ? params.getAll(key) : fallback;
  const text = params.get(key);
  if (text === null) return fallback;
  if (typeof fallback === "boolean") return text === "true";
  if (typeof fallback === "number") return text.trim() && Number.isFinite(Number(text)) ? Number(text) : fallback;
  return text;
}

function write(params, values) {
  for (const [key, value] of Object.entries(values)) {
    params.delete(key);
    if (value === null || value === undefined) continue;
    [].concat(value).forEach((each) => params.append(key, String(each)));
  }
  return params;
}

const same = (one, other) => one === other || (Array.isArray(one) && Array.isArray(other) && one.join("\n") === other.join("\n"));
const announce = () => readers.forEach((reader) => reader());

window.addEventListener("hashchange", announce);
