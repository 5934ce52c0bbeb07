/** Builds the page that replays conformance vectors in a browser: `node conformance/build.mjs FOLDER`. */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2]);
const require = createRequire(import.meta.url);

await mkdir(folder, { recursive: true });
await build({
  bundle: true,
  format: "esm",
  target: "es2022",
  absWorkingDir: here,
  entryPoints: ["page.ts"],
  outfile: join(folder, "page.js"),
  conditions: ["onnxruntime-web-use-extern-wasm"],
  logLevel: "warning",
});
for (const ending of ["mjs", "wasm"]) {
  const name = `ort-wasm-simd-threaded.${ending}`;
  await copyFile(require.resolve(`onnxruntime-web/${name}`), join(folder, name));
}
await copyFile(join(here, "../headers.json"), join(folder, "headers.json"));
const page = '<!doctype html><meta charset="utf-8"><title>Vectors</title><script type="module" src="/page.js"></script>';
await writeFile(join(folder, "index.html"), page);
