// The rough structure of a graph's text, found line by line, so that it is there while the text is still being written.

const TOP = /^([A-Za-z_][\w-]*)\s*:/;
const ENTRY = /^(\s+)(["']?)([A-Za-z_]\w*)\2\s*:/;

/**
 * The entries of `params`, `nodes` and `outputs`: each `{name, line, column, last, body}`, lines from 1, `last` the last
 * line that belongs to it; nodes have `type`, outputs `source` (`{node, output}`), too.
 */
export function outline(text) {
  const lines = text.split("\n");
  const found = { params: [], nodes: [], outputs: [] };
  let entries = null;
  let indent = null;
  lines.forEach((line, index) => {
    const top = TOP.exec(line);
    if (top) {
      entries = found[top[1]] ?? null;
      indent = null;
      return;
    }
    if (!entries) return;
    const entry = ENTRY.exec(line);
    if (entry && (indent === null || entry[1].length === indent)) {
      indent = entry[1].length;
      entries.push({ name: entry[3], line: index + 1, column: indent + 1, last: index + 1 });
    } else if (entries.length && line.trim() && !/^\s*#/.test(line)) entries.at(-1).last = index + 1;
  });
  for (const entry of Object.values(found).flat()) entry.body = lines.slice(entry.line - 1, entry.last).join("\n");
  for (const node of found.nodes) node.type = /[{,\s]type\s*:\s*["']?([^\s,}"']+)/.exec(node.body)?.[1] ?? null;
  for (const output of found.outputs) {
    const source = /:\s*["']?\$(\w+)(?:\.(\w+))?/.exec(output.body);
    output.source = source ? { node: source[1], output: source[2] ?? null } : null;
  }
  return found;
}

/** Which of `params`, `nodes`, `outputs` a line (from 1) is in; "" where it is in none. */
export function sectionAt(text, line) {
  const lines = text.split("\n");
  for (let index = line - 1; index >= 0; index--) {
    const top = TOP.exec(lines[index]);
    if (top) return index === line - 1 ? "" : top[1];
  }
  return "";
}

/** Whether what comes next, after `before`, is within the mapping `key` of a node: `{` still open, or lines indented below it. */
export function within(before, key) {
  const flow = new RegExp(`\\b${key}\\s*:\\s*\\{([^{}]*)$`).exec(before);
  if (flow) return true;
  const lines = before.split("\n");
  let depth = /^\s*/.exec(lines.at(-1))[0].length;
  for (let index = lines.length - 2; index >= 0; index--) {
    const line = lines[index];
    if (!line.trim()) continue;
    const indent = /^\s*/.exec(line)[0].length;
    if (indent >= depth) continue;
    if (new RegExp(`^\\s*${key}\\s*:\\s*$`).test(line)) return true;
    depth = indent;
  }
  return false;
}
