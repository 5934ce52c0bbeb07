/**
 * Builds the kiosk into `dist/`, or into the folder that is named: `node build.mjs [FOLDER]`. Every file but `index.html` and `sw.js` carries the hash of its content in its name, so
 * that a page of one release never gets a script of another.
 */
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = process.argv[2] ? resolve(process.argv[2]) : join(here, "dist");
const require = createRequire(import.meta.url);

const common = {
  bundle: true,
  minify: true,
  write: false,
  target: "es2022",
  absWorkingDir: here,
  conditions: ["onnxruntime-web-use-extern-wasm"],
  legalComments: "none",
  logLevel: "warning",
};

/** Writes a file under a name with its hash, and returns that name. */
async function hashed(name, content) {
  const ending = extname(name);
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 12);
  const full = `${name.slice(0, -ending.length)}-${hash}${ending}`;
  await writeFile(join(dist, full), content);
  return full;
}

async function script(entry, define = {}, format = "esm") {
  const texts = Object.fromEntries(Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)]));
  const result = await build({ ...common, entryPoints: [entry], define: texts, format });
  return result.outputFiles[0].contents;
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await cp(join(here, "static"), dist, { recursive: true });
await cp(join(here, "headers.json"), join(dist, "headers.json"));

// The smallest of ONNX Runtime's builds: WebAssembly on the processor, no WebGPU, no WebNN.
const ort = async (ending) => {
  const name = `ort-wasm-simd-threaded.${ending}`;
  return hashed(name, await readFile(require.resolve(`onnxruntime-web/${name}`)));
};
const worker = await hashed(
  "worker.js",
  await script("src/worker.ts", { __ORT_MJS__: await ort("mjs"), __ORT_WASM__: await ort("wasm") }),
);
const main = await hashed("main.js", await script("src/main.ts", { __WORKER__: worker }));
const css = await build({ ...common, entryPoints: ["src/style.css"] });
const style = await hashed("style.css", css.outputFiles[0].contents);
await writeFile(join(dist, "sw.js"), await script("src/sw.ts", {}, "iife"));

const headers = JSON.parse(await readFile(join(here, "headers.json"), "utf8"));
// Browsers take `frame-ancestors` from headers alone and complain where a page says it.
const policy = headers["Content-Security-Policy"].replace(/; frame-ancestors [^;]+/, "");
const page = await readFile(join(here, "src/index.html"), "utf8");
await writeFile(
  join(dist, "index.html"),
  page.replace("{{policy}}", policy).replace("{{main}}", main).replace("{{style}}", style),
);

let total = 0;
for (const name of (await readdir(dist)).sort()) {
  const { size } = await stat(join(dist, name));
  total += size;
  console.log(`${(size / 1e6).toFixed(3).padStart(8)} MB  ${name}`);
}
console.log(`${(total / 1e6).toFixed(3).padStart(8)} MB  in all, without a bundle`);
