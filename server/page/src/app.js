// What the parts of the page share, and how they tell each other that it changed.

export const app = {
  /** The text in the editor, the name it goes by, and the text under that name on the server (null where there is none). */
  text: "",
  name: "",
  own: false,
  saved: null,
  /** The params that differ from the graph's own defaults. */
  given: {},
  /** What POST /v1/check last said about `text`, and the last answer in which the graph could be drawn. */
  check: null,
  /** The names of the server's graphs, and node types by name. */
  graphs: new Set(),
  nodeTypes: new Map(),
  server: { scopes: [], owner: "", limits: {} },
  /** The job that is followed, and what is known of its run. */
  run: null,
};

const listeners = new Map();

/** Calls `listener` whenever `event` is told. */
export function on(event, listener) {
  if (!listeners.has(event)) listeners.set(event, []);
  listeners.get(event).push(listener);
}

/** Events: graph, text, given, check, run, jobs, connection, panel. */
export function tell(event, data) {
  for (const listener of listeners.get(event) ?? []) listener(data);
}

/** Whether the text is exactly a graph that the server has under `app.name`. */
export const unchanged = () => app.saved !== null && app.text === app.saved;

/**
 * What a check or a submission names as its graph: the server's own, whose relative paths it knows, or the text. Text is
 * told from a name by a line break, and an empty text is one, too.
 */
export function graphForServer() {
  if (unchanged()) return app.name;
  const text = app.text.trim() ? app.text : "#";
  return text.includes("\n") ? text : `${text}\n`;
}

export const may = (scope) => app.server.scopes.includes(scope);
