// Files dropped anywhere on the page: graph files, and pictures that tell the graph that drew them.

import { upload } from "./api.js";
import { app } from "./app.js";
import { el } from "./dom.js";
import { fileParams, remember } from "./fields.js";
import { give } from "./form.js";
import { openFile } from "./load.js";
import { showPanel } from "./panels.js";
import { shown, toast } from "./toasts.js";

/** Takes what is dropped. */
export function takeDrops() {
  document.body.append(el("div", { class: "drop-here", "aria-hidden": "true" }, el("p", { text: "Drop a graph file, or a picture that latentgraph drew" })));
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth++;
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) document.body.classList.remove("dropping");
  });
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", () => { depth = 0; document.body.classList.remove("dropping"); }, true);
  // Before the editor, which would paste a file's text.
  document.addEventListener("drop", shown(async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file || event.target.closest?.(".file-zone")) return;
    event.preventDefault();
    event.stopPropagation();
    if (await openFile(file)) showPanel("work");
    else refuse(file);
  }), true);
}

function refuse(file) {
  const [param] = fileParams(app.check?.params ?? []);
  const isPicture = file.type.startsWith("image/");
  const take = shown(async () => {
    const known = await upload(file);
    remember(known);
    give(param, known.upload);
    showPanel("run");
  });
  toast(isPicture ? `${file.name} does not tell the graph that drew it.` : `${file.name} is neither a graph file nor a picture.`, { kind: "error", actions: isPicture && param ? [[`Use it as ${param}`, take]] : [] });
}
