// The API as a page: the operations over HTTP with Swagger UI, the websocket below, both from the server's own documents.

import SwaggerUI from "swagger-ui-dist/swagger-ui-bundle.js";
import { showWebSocket } from "./websocket.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Swagger UI's dark colours are a class; the theme is the page's, where one was chosen there. */
function colour() {
  const chosen = localStorage.getItem("latentgraph.theme");
  const isDark = chosen === "dark" || (chosen !== "light" && dark.matches);
  document.documentElement.classList.toggle("dark-mode", isDark);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}

colour();
dark.addEventListener("change", colour);
addEventListener("storage", colour);

SwaggerUI({
  url: "/v1/openapi.json",
  domNode: document.getElementById("http"),
  presets: [SwaggerUI.presets.apis],
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});

const answer = await fetch("/v1/asyncapi.json");
showWebSocket(document.getElementById("websocket"), await answer.json());
