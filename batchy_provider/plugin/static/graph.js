// SPDX-License-Identifier: Apache-2.0
// Copyright the batchy_provider authors
// Graphs: the tasks of a workflow, and the workflows that wait for each other. dagre computes the layout.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { badgeClass, executionPath, jobState, stateText, workflowPath } from "./components.js";

const HEIGHT = 44;
const width = (node) => Math.max(90, 28 + short(node.label).length * 7.6, 24 + short(node.kind || "").length * 6.3);
const short = (text) => (text.length > 30 ? `${text.slice(0, 29)}…` : text);

// nodes: [{id, label, kind, look, href}], edges: [[from, to]]
function Graph({ nodes, edges, label }) {
  const [laid, setLaid] = useState(null);
  const signature = JSON.stringify([nodes.map((node) => node.id), edges]);
  useEffect(() => {
    let gone = false;
    import("./vendor/dagre.js").then(({ default: dagre }) => {
      if (gone) return;
      const graph = new dagre.graphlib.Graph().setGraph({ rankdir: "LR", nodesep: 18, ranksep: 46, marginx: 8, marginy: 8 }).setDefaultEdgeLabel(() => ({}));
      nodes.forEach((node) => graph.setNode(node.id, { width: width(node), height: HEIGHT }));
      edges.forEach(([from, to]) => graph.hasNode(from) && graph.hasNode(to) && graph.setEdge(from, to));
      dagre.layout(graph);
      setLaid({ size: graph.graph(), at: Object.fromEntries(graph.nodes().map((id) => [id, graph.node(id)])), lines: graph.edges().map((edge) => graph.edge(edge).points) });
    });
    return () => {
      gone = true;
    };
  }, [signature]);
  if (!laid) return html`<p class="quiet">Laying out…</p>`;
  return html`<div class="scroll"><svg class="graph" role="group" aria-label=${label} width=${laid.size.width} height=${laid.size.height} viewBox=${`0 0 ${laid.size.width} ${laid.size.height}`}>
    <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" /></marker></defs>
    <g aria-hidden="true">${laid.lines.map((points, at) => html`<path key=${at} class="edge" marker-end="url(#tip)" d=${`M${points.map((point) => `${point.x} ${point.y}`).join("L")}`} />`)}</g>
    ${nodes.filter((node) => laid.at[node.id]).map((node) => {
      const box = laid.at[node.id];
      const body = html`<g class=${`node ${node.look || ""}`} transform=${`translate(${box.x - box.width / 2} ${box.y - box.height / 2})`}>
        <title>${node.label}${node.kind ? `: ${node.kind}` : ""}</title>
        <rect width=${box.width} height=${box.height} rx="7" />
        <text x=${box.width / 2} y=${node.kind ? 19 : 27} text-anchor="middle">${short(node.label)}</text>
        ${node.kind ? html`<text class="kind" x=${box.width / 2} y="35" text-anchor="middle">${short(node.kind)}</text>` : null}
      </g>`;
      return node.href ? html`<a key=${node.id} href=${node.href} aria-label=${`${node.label}${node.kind ? `, ${node.kind}` : ""}`}>${body}</a>` : html`<g key=${node.id}>${body}</g>`;
    })}
  </svg></div>`;
}

export function Dependencies({ detail, tasks: running }) {
  const name = detail.summary.workflow;
  const jobs = Object.fromEntries(detail.job_states.map((job) => [job.job, job]));
  const tasks = Object.keys(detail.graph);
  const nodes = tasks.map((task) => {
    const job = jobs[task];
    if (job) {
      const state = jobState(job, running);
      const kind = job.disabled ? "disabled" : job.note || stateText(state);
      const look = job.disabled ? "disabled" : `${job.kind === "handler" ? "handler" : ""} ${badgeClass(state)}`;
      return { id: task, label: task, kind, look, href: job.batch_id ? executionPath(name, job.batch_id, task) : undefined };
    }
    const awaited = detail.summary.waits_for.find((other) => task === `wait_for_${other}`);
    return awaited ? { id: task, label: awaited, kind: "waits for", look: "wait", href: workflowPath(awaited) } : { id: task, label: task, look: "frame" };
  });
  const edges = tasks.flatMap((task) => detail.graph[task].map((before) => [before, task]));
  const { waits_for: before, waited_for_by: after } = detail.summary;
  const about = [...new Set([...before, ...after])];
  return html`
    <h2>Jobs</h2>
    ${nodes.length ? html`<div class="panel pad"><${Graph} nodes=${nodes} edges=${edges} label=${`Tasks of ${name}`} /></div>` : html`<p class="quiet">Without a valid file, the order of its jobs is not known.</p>`}
    <h2>Workflows</h2>
    ${about.length ? html`<div class="panel pad"><${Graph} label=${`Workflows that ${name} waits for, and that wait for it`}
      nodes=${[{ id: name, label: name, kind: detail.summary.status, look: "self" }, ...about.map((other) => ({ id: other, label: other, kind: before.includes(other) ? "is waited for" : "waits", href: workflowPath(other) }))]}
      edges=${[...before.map((other) => [other, name]), ...after.map((other) => [name, other])]} /></div>` : html`<p class="quiet">It waits for no workflow, and no workflow waits for it.</p>`}`;
}
