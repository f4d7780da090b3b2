// Light or dark: as the system says, or as chosen here.

import { byId } from "./dom.js";
import { icon } from "./icons.js";

const KEY = "latentgraph.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
const WORDS = { auto: "as the system", light: "light", dark: "dark" };

/** Makes the button go through the themes, and takes up what was chosen before. */
export function makeTheme() {
  const button = byId("theme");
  const show = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.replaceChildren(icon(ICONS[theme]));
    button.title = `Theme: ${WORDS[theme]}`;
    button.setAttribute("aria-label", button.title);
  };
  let theme = localStorage.getItem(KEY) ?? "auto";
  if (!(theme in NEXT)) theme = "auto";
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    localStorage.setItem(KEY, theme);
    show(theme);
  });
  show(theme);
}
