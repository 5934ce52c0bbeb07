/** Replays conformance vectors in this browser, with its own decoder and ONNX Runtime Web. No part of the kiosk. */

import * as ort from "onnxruntime-web/wasm";
import { bitmapDecoder } from "../../js/src/browser";
import { conformanceReport, type Report } from "../../js/src/conformance";
import { Diagnoser, fromUrl, ortEngine } from "../../js/src/index";

declare global {
  interface Window {
    /** All outcomes, once the page is asked for them. */
    replay: () => Promise<Report>;
  }
}

ort.env.wasm.wasmPaths = { mjs: "/ort-wasm-simd-threaded.mjs", wasm: "/ort-wasm-simd-threaded.wasm" };
ort.env.wasm.numThreads = 1;

window.replay = async () => {
  const decoder = bitmapDecoder();
  const engine = ortEngine(ort, { executionProviders: ["wasm"] });
  const diagnoser = await Diagnoser.load(fromUrl("/bundle"), { engine, decoder });
  const [browser] = /Chrome\/[\d.]+|Firefox\/[\d.]+|Version\/[\d.]+/.exec(navigator.userAgent) ?? ["a browser"];
  const runtime = `${browser}, onnxruntime-web ${ort.env.versions.web ?? ""}`;
  return conformanceReport({ vectors: fromUrl("/vectors"), decoder, diagnoser, port: "browser", runtime });
};
