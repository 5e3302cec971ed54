// Builds the assets of the pages: hashed names, and a manifest that says which is which.
import { build } from "esbuild";
import { rm, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const source = "services/gateway/assets";
const target = "services/gateway/static/dist";

await rm(target, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ["pages.js", "chart.js", "pages.css", "icon.svg"].map((name) => `${source}/${name}`),
  outdir: target,
  entryNames: "[name]-[hash]",
  bundle: true,
  format: "iife",
  target: ["es2022"],
  loader: { ".svg": "copy" },
  minify: true,
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const manifest = {};
for (const [path, { entryPoint }] of Object.entries(metafile.outputs)) {
  if (entryPoint) manifest[basename(entryPoint)] = basename(path);
}
await writeFile(`${target}/manifest.json`, JSON.stringify(manifest, null, 2));
