// The Restate service of the benchmark: one run is `steps` durable steps of `bytes` bytes each.
// Usage: node service.cjs PORT   (CommonJS, because only require() looks into NODE_PATH)
"use strict";

const { createHash } = require("node:crypto");
const http2 = require("node:http2");

// The SDK calls it; Node has it from version 22 on.
Promise.withResolvers ??= function () {
  const parts = {};
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const restate = require("@restatedev/restate-sdk");

const HEX_CHARS_PER_BYTE = 2;

let counter = 0;

// The result of a step: hex of SHAKE128 over a counter; the DBOS peer makes the same string.
function payload(bytes) {
  const outputLength = Math.ceil(bytes / HEX_CHARS_PER_BYTE);
  counter += 1;
  const hash = createHash("shake128", { outputLength }).update(String(counter));
  return hash.digest("hex").slice(0, bytes);
}

const agent = restate.service({
  name: "Agent",
  handlers: {
    run: async (ctx, { steps, bytes }) => {
      for (let i = 0; i < steps; i++) {
        await ctx.run("step", () => payload(bytes));
      }
      return steps;
    },
  },
});

const endpoint = restate.endpoint().bind(agent);
http2.createServer(endpoint.http2Handler()).listen(Number(process.argv[2]), "127.0.0.1");
