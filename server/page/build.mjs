// Builds the page into built/: one script, one style sheet, the licences of what is in them. The same sources give the same bytes.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";

const OUT = "built";

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT);
const { metafile } = await build({
  entryPoints: { page: "src/main.js" },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  outdir: OUT,
});
await build({ entryPoints: { page: "style.css" }, bundle: true, minify: true, charset: "utf8", outdir: OUT });
for (const file of ["index.html", "icon.svg"]) await copyFile(file, `${OUT}/${file}`);
await writeFile(`${OUT}/LICENSES.txt`, await licences(Object.keys(metafile.inputs)));
await import("./build-docs.mjs");

/** The licences of the packages that the bundle has parts of. */
async function licences(inputs) {
  const packages = new Set(inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]).filter(Boolean));
  const parts = ["page.js contains parts of the following packages.\n"];
  for (const name of [...packages].sort()) {
    const folder = `node_modules/${name}`;
    const { version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    const text = file ? (await readFile(`${folder}/${file}`, "utf8")).trim() : license;
    parts.push(`${"-".repeat(78)}\n${name} ${version} (${license})\n\n${text}\n`);
  }
  return parts.join("\n");
}
