// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Requests to our REST API and to Airflow's own, with the cookie of Airflow's login.

const here = new URL(".", document.baseURI); // …/batchy/
export const apiUrl = (path) => new URL(`api/v1/${path}`, here).href;
export const airflowApiUrl = (path) => new URL(`../api/v2/${path}`, here).href;
export const airflowPage = (path) => new URL(`../${path}`, here).pathname;
export const encode = encodeURIComponent;

// An error response. This page decides by `code`; the message is for people.
class ServerError extends Error {
  constructor(status, body) {
    super(typeof body.detail === "string" ? body.detail : body.title || `the server answered ${status}`);
    this.status = status;
    this.code = body.code || null;
    this.diagnostics = body.errors || [];
  }
}

// The server's clock, from its answers: the clock of this computer may be minutes off.
let skew = 0;
export const serverNow = () => Date.now() + skew;
function readClock(answer) {
  const time = Date.parse(answer.headers.get("Date") || "");
  if (Number.isNaN(time)) return;
  const off = time + 500 - Date.now(); // the header has whole seconds
  skew = Math.abs(off) > 2000 ? off : 0;
}

export async function ask(url, { method = "GET", json, form, signal, headers = {} } = {}) {
  const options = { method, signal, credentials: "same-origin", headers: { Accept: "application/json", ...headers } };
  if (method !== "GET") options.headers["X-Batchy-Request"] = "1"; // a page of another site cannot send it
  if (json !== undefined) {
    options.body = JSON.stringify(json);
    options.headers["Content-Type"] = "application/json";
  }
  if (form) options.body = form;
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, { detail: "Airflow's API server does not answer." });
  }
  readClock(answer);
  const text = await answer.text();
  let body = {};
  try {
    body = text ? JSON.parse(text) : {};
  } catch {
    body = { detail: text.slice(0, 500) };
  }
  if (answer.status === 401) throw new ServerError(401, { detail: "Your login has ended. Reload the page to log in again." });
  if (!answer.ok) throw new ServerError(answer.status, body);
  return body;
}

export const get = (path, options) => ask(apiUrl(path), options);
export const change = (path, json = {}, method = "POST") => ask(apiUrl(path), { method, json });

// The run of a batch: "RUN" of the workflow's own DAG, "DAG/RUN" of another.
export function runOf(batch) {
  if (!batch.run) return null;
  const at = batch.run.indexOf("/");
  return at < 0 ? { dag: batch.workflow, run: batch.run } : { dag: batch.run.slice(0, at), run: batch.run.slice(at + 1) };
}
