/** POST /diagnose with a picture's bytes as the body; the answer is JSON. `node service.mjs BUNDLE [--port N] [...]` */
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import { Diagnoser, EdgeInferError, ImageTooLargeError, ortEngine, toRecord } from "edge-infer";
import { fromFolder, sharpDecoder } from "edge-infer/node";
import * as ort from "onnxruntime-node";
import sharp from "sharp";

const OPTIONS = { port: "8080", "max-bytes": "20000000", "max-pixels": "50000000", "body-seconds": "10" };
Object.assign(OPTIONS, { "answer-seconds": "30", "most-waiting": "8", "operating-point": "", prevalence: "" });
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(Object.entries(OPTIONS).map(([name, usual]) => [name, { type: "string", default: usual }])),
});
const number = (name) => Number(values[name]);

class ServiceError extends EdgeInferError {
  constructor(code, problem, remedy) {
    super(problem, remedy);
    this.code = code;
  }
}
const STATUS = { "not-found": 404, "body-timeout": 408, "image-too-large": 413, busy: 429, cancelled: 503 };
const statusOf = (code) => STATUS[code] ?? (code.startsWith("image-") ? 422 : 500);

/** The whole body, no larger and no slower than allowed. What comes after is not read. */
function bodyOf(request) {
  return new Promise((resolve, reject) => {
    const late = () => reject(new ServiceError("body-timeout", "The picture came too slowly.", "Send it again."));
    const timer = setTimeout(late, 1000 * number("body-seconds"));
    const parts = [];
    let size = 0;
    request.on("data", (part) => {
      size += part.length;
      if (size <= number("max-bytes")) parts.push(part);
      else reject(new ImageTooLargeError("The picture's file is too large.", "Save it smaller."));
    });
    request.on("end", () => resolve(new Uint8Array(Buffer.concat(parts))));
    request.on("error", reject);
    request.on("close", () => (clearTimeout(timer), late()));
  });
}

sharp.cache(false); // no picture is kept
const diagnoser = await Diagnoser.load(fromFolder(positionals[0] ?? "mobile"), {
  engine: ortEngine(ort),
  decoder: sharpDecoder(sharp),
  maxPixels: number("max-pixels"),
  ...(values["operating-point"] ? { operatingPoint: values["operating-point"] } : {}),
  ...(values.prevalence ? { prevalence: number("prevalence") } : {}),
});
await diagnoser.warmup();

let waiting = 0;
const server = createServer(async (request, response) => {
  const send = (status, value) => {
    const closing = request.complete ? {} : { connection: "close" };
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...closing });
    response.end(JSON.stringify(value));
  };
  waiting += 1;
  try {
    if (request.method !== "POST" || request.url !== "/diagnose") {
      throw new ServiceError("not-found", "There is nothing here.", "POST a picture's bytes to /diagnose.");
    }
    if (waiting > number("most-waiting")) throw new ServiceError("busy", "Too many wait already.", "Try again later.");
    const picture = await bodyOf(request);
    const signal = AbortSignal.timeout(1000 * number("answer-seconds"));
    send(200, toRecord(await diagnoser.diagnose(picture, { signal })));
  } catch (error) {
    const known = error instanceof EdgeInferError ? error : new ServiceError("internal", "This failed.", "Report it.");
    send(statusOf(known.code), { error: known });
  } finally {
    waiting -= 1;
  }
});
server.listen(number("port"), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/diagnose`));
process.on("SIGTERM", () => server.close(() => diagnoser.close()));
