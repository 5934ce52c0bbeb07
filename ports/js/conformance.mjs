/**
 * Replays conformance vectors in Node: `node conformance.mjs [BUNDLE [VECTORS [REPORT.json]]]`, by default the bundle that
 * ships and its vectors. Exit code 0: all passed; 1: one did not.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import * as ort from "onnxruntime-node";
import sharp from "sharp";

import { conformanceReport } from "./dist/conformance.js";
import { Diagnoser, ortEngine } from "./dist/index.js";
import { fromFolder, sharpDecoder } from "./dist/node.js";

const exported = fileURLToPath(new URL("../../exported", import.meta.url));

/** The report of all vectors of a folder; the bundle may be left out where it lies in `exported/`. */
export async function replay(bundle, vectors = path.join(exported, "conformance")) {
  const index = JSON.parse(await readFile(path.join(vectors, "index.json"), "utf8"));
  const decoder = sharpDecoder(sharp);
  const diagnoser = await Diagnoser.load(fromFolder(bundle ?? path.join(exported, index.bundle.name)), {
    engine: ortEngine(ort, { intraOpNumThreads: 1 }),
    decoder,
  });
  try {
    const runtime = `Node ${process.versions.node}, sharp ${sharp.versions.sharp}, onnxruntime-node ${ort.env.versions.node}`;
    return await conformanceReport({ vectors: fromFolder(vectors), decoder, diagnoser, port: "node", runtime });
  } finally {
    await diagnoser.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [bundle, vectors, file] = process.argv.slice(2);
  const report = await replay(bundle, vectors);
  const failed = report.vectors.filter(({ status }) => status !== "passed");
  for (const { name, detail } of failed) console.log(`FAILED ${name}: ${detail}`);
  console.log(`${report.vectors.length - failed.length} passed, ${failed.length} failed`);
  if (file) await writeFile(file, JSON.stringify(report, null, 1));
  process.exitCode = failed.length ? 1 : 0;
}
