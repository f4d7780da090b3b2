// The dialog that asks for a token.

import { el } from "./dom.js";

let asked = null;

/** A token from the user; all who ask at once get the same. Raises where the user gives none. */
export function askToken(refused) {
  asked ??= shown(refused).finally(() => (asked = null));
  return asked;
}

function shown(refused) {
  return new Promise((resolve, reject) => {
    const field = el("input", {
      id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
      "aria-describedby": refused ? "token-refused" : null,
    });
    const dialog = el("dialog", { class: "small", "aria-labelledby": "token-title" },
      el("form", { method: "dialog" },
        el("h2", { id: "token-title", text: "This server asks for a token" }),
        el("p", { class: "muted", text: "It is kept for this tab only, until you close it." }),
        refused && el("p", { id: "token-refused", class: "wrong", role: "alert", text: "The server did not take that token." }),
        el("label", { for: "token", text: "Token" }),
        field,
        el("div", { class: "actions" }, el("button", { class: "primary", text: "Continue" })),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      const given = field.value.trim();
      if (given && dialog.returnValue !== "cancelled") resolve(given);
      else reject(Object.assign(new Error("the server asks for a token; reload the page to give one"), { code: "unauthorized" }));
    });
    dialog.addEventListener("cancel", () => (dialog.returnValue = "cancelled"));
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}
