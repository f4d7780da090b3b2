// Small dialogs: a question, a name, the shortcuts.

import { el } from "./dom.js";

/** Shows a dialog of these parts; gives what it was closed with, "" where it was left. */
export function ask(title, parts, actions) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "small", "aria-labelledby": "dialog-title" },
      el("form", { method: "dialog" }, el("h2", { id: "dialog-title", text: title }), ...parts, el("div", { class: "actions" }, ...actions)));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(dialog.returnValue); });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
    document.body.append(dialog);
    dialog.showModal();
  });
}

const leave = () => el("button", { type: "submit", value: "", formnovalidate: true, text: "Leave it" });

/** Whether the user agrees. */
export async function confirm(title, message, action) {
  return (await ask(title, [el("p", { text: message })], [leave(), el("button", { class: "danger", value: "yes", text: action })])) === "yes";
}

/** A line of text from the user, "" where there is none. */
export async function prompt(title, label, value, action) {
  const field = el("input", { id: "prompt", type: "text", value, required: true, autocomplete: "off", spellcheck: "false", autofocus: true, on: { focus: () => field.select() } });
  // The first button of a form is the one that Enter presses.
  const agree = el("button", { class: "primary last", value: "yes", text: action });
  const answer = await ask(title, [el("label", { for: "prompt", text: label }), field], [agree, leave()]);
  return answer === "yes" ? field.value.trim() : "";
}
