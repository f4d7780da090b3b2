// The checker's opinion of the text and the params, asked for whenever they rest.

import { post } from "./api.js";
import { app, graphForServer, on, tell } from "./app.js";
import { debounced } from "./dom.js";
import { failed } from "./toasts.js";

let asked = 0;

/** Asks the server, and tells `check`; an answer that another question has overtaken is dropped. */
export async function check() {
  const mine = ++asked;
  const name = app.name || "graph";
  try {
    const answer = await post("/v1/check", { graph: graphForServer(), name, params: app.given });
    if (mine !== asked) return;
    const { file } = answer.diagnostics.find(({ path, line }) => line && path) ?? {};
    for (const each of answer.diagnostics) each.here = Boolean(each.line) && isMain(each.file, name, file);
    app.check = answer;
    tell("check", answer);
  } catch (failure) {
    if (mine === asked && failure.code !== "unreachable") failed(failure);
  }
}

/** Whether a diagnostic is of the text in the editor, not of a graph file that it uses. */
function isMain(file, name) {
  if (!file) return true;
  const short = (path) => path.replace(/\.ya?ml$/, "");
  return file.startsWith("<") || short(file) === short(name) || short(file).endsWith(`/${short(name)}`);
}

const soon = debounced(check, 250);
on("text", soon);
on("given", soon);
on("graph", check);
