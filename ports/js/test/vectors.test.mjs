/** The conformance vectors, in Node: with the bundle's networks and sharp. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { replay } from "../conformance.mjs";

test("every vector", async (t) => {
  const { vectors } = await replay(process.env.EDGE_INFER_BUNDLE, process.env.EDGE_INFER_VECTORS);
  for (const { name, status, detail } of vectors) {
    await t.test(name, () => {
      assert.equal(status, "passed", detail);
    });
  }
});
