// Completion in the editor: node types, their inputs and choices, nodes and their outputs, params.

import { app } from "./app.js";
import { outline, sectionAt, within } from "./outline.js";

const PARAM_TYPES = ["int", "float", "str", "bool", "File", "Folder", "[int]", "[float]", "[str]", "[bool]"];
const PARAM_KEYS = { type: "what it takes", default: "what it is unless given", min: "the least", max: "the most", choices: "what it may be", description: "a hint" };
const NODE_KEYS = { type: "the node type", inputs: "values and links", foreach: "once for each element of lists", when: "only where this is true" };
const TOP_KEYS = { latentgraph: "the format's version", description: "what the graph does", params: "the graph's own inputs", nodes: "the nodes", outputs: "what a run gives" };

/** CodeMirror's completion source. */
export function complete(context) {
  const text = context.state.doc.toString();
  const line = context.state.doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  if (/(^|\s)#/.test(before.replace(/"[^"]*"|'[^']*'/g, ""))) return null;
  const graph = outline(text);
  const section = sectionAt(text, line.number);

  const link = /\$(\w*)$/.exec(before) ?? /\$\((?:[^()]*\W)?(\w*)$/.exec(before);
  const port = /\$\(?(?:[^()$]*\W)?(\w+)\.(\w*)$/.exec(before);
  if (port) return found(context, port[2], ports(graph, port[1]));
  if (link) return found(context, link[1], nodesAndParams(graph, line.number));

  const value = /(?:^|[{,\s])(\w+)\s*:\s+["']?([\w[./-]*)$/.exec(before);
  if (value) return found(context, value[2], values(graph, section, value[1], line.number), context.explicit || value[2] !== "" || value[1] === "type");
  const key = /(?:^\s*|[{,]\s*)(\w*)$/.exec(before);
  if (!key || (!context.explicit && key[1] === "")) return null;
  return found(context, key[1], keys(graph, section, line.number, before, text.slice(0, context.pos)));
}

function found(context, typed, options, wanted = true) {
  if (!wanted || options.length === 0) return null;
  return { from: context.pos - typed.length, options, validFor: /^[\w[\]/-]*$/ };
}

function typeOf(node) {
  return node ? app.nodeTypes.get(node.type) : undefined;
}

function nodeAt(graph, line) {
  return graph.nodes.findLast((node) => node.line <= line);
}

function nodesAndParams(graph, line) {
  const self = nodeAt(graph, line)?.name;
  return [
    { label: "params", type: "namespace", detail: "the graph's own inputs", apply: "params." },
    ...graph.nodes.filter(({ name }) => name !== self).map((node) => ({ label: node.name, type: "variable", detail: node.type ?? "" })),
  ];
}

function ports(graph, name) {
  if (name === "params") return graph.params.map((param) => ({ label: param.name, type: "property", detail: /type\s*:\s*([^,}\n]+)/.exec(param.body)?.[1] ?? "" }));
  const outputs = typeOf(graph.nodes.find((node) => node.name === name))?.outputs ?? [];
  return outputs.map((output) => ({ label: output.name, type: "property", detail: output.type }));
}

function values(graph, section, key, line) {
  if (key === "type" && section === "params") return PARAM_TYPES.map((label) => ({ label, type: "type" }));
  if (key === "type" && section === "nodes") {
    return [...app.nodeTypes.values()].map((type) => ({ label: type.name, type: "class", detail: type.category, info: type.summary }));
  }
  if (section !== "nodes") return [];
  const input = typeOf(nodeAt(graph, line))?.inputs.find(({ name }) => name === key);
  const choices = input?.choices ?? (input?.type.split(" | ").includes("bool") ? [true, false] : []);
  return choices.map((choice) => ({ label: String(choice), type: "enum" }));
}

function keys(graph, section, line, before, above) {
  if (section === "" && !/^\s/.test(before)) return described(TOP_KEYS, app.text);
  if (section === "params") return /[{,]|^\s{4,}/.test(before) ? described(PARAM_KEYS) : [];
  if (section !== "nodes") return [];
  const node = nodeAt(graph, line);
  if (!node || node.line > line) return [];
  const type = typeOf(node);
  if (within(above, "inputs") || within(above, "foreach")) return type ? inputs(type, node) : [];
  return /[{,]/.test(before) || /^\s/.test(before) && !new RegExp(`^\\s{${node.column - 1}}\\w`).test(before) ? described(NODE_KEYS) : [];
}

function inputs(type, node) {
  const given = new Set([...node.body.matchAll(/(\w+)\s*:/g)].map((match) => match[1]));
  return type.inputs.filter(({ name }) => !given.has(name)).map((input) => ({
    label: input.name,
    type: "property",
    detail: input.type + (input.required ? ", required" : ""),
    info: input.description || undefined,
    apply: `${input.name}: `,
    boost: input.required ? 1 : 0,
  }));
}

function described(keys, without = "") {
  return Object.entries(keys)
    .filter(([label]) => !new RegExp(`^${label}\\s*:`, "m").test(without))
    .map(([label, detail]) => ({ label, detail, type: "keyword", apply: `${label}: ` }));
}
