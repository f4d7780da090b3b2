// Builds the page of the API into built/: docs.html, one script, one style sheet, the licences of Swagger UI in both.
import { build } from "esbuild";
import { copyFile, readFile, writeFile } from "node:fs/promises";

const SWAGGER = "node_modules/swagger-ui-dist";

await build({
  entryPoints: { docs: "docs/docs.js" },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2023",
  charset: "utf8",
  legalComments: "none",
  outdir: "built",
});
await build({ entryPoints: { docs: "docs/docs.css" }, bundle: true, minify: true, charset: "utf8", outdir: "built" });
await copyFile("docs/docs.html", "built/docs.html");
const { version } = JSON.parse(await readFile(`${SWAGGER}/package.json`, "utf8"));
const files = ["NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt"];
const texts = await Promise.all(files.map((file) => readFile(`${SWAGGER}/${file}`, "utf8")));
await writeFile("built/docs.LICENSES.txt", [`docs.js and docs.css contain Swagger UI ${version}.\n`, ...texts].join("\n"));
