// The load of the Restate benchmark: `agents` closed loops of runs over HTTP ingress.
// Usage: node client.cjs INGRESS_URL COMMAND_JSON
// Prints {"event":"start"} and {"event":"stop"} around the measured time, then the result, each on
// a line, and stays until its stdin closes, so that its CPU can be read from outside.
"use strict";

const http = require("node:http");
const { performance } = require("node:perf_hooks");
const { setTimeout: sleep } = require("node:timers/promises");

const REQUEST_TIMEOUT_MS = 120_000;
const MS = 1000;
const HTTP_OK = 200;

const [url, commandJson] = process.argv.slice(2);
const { agents, seconds, steps, bytes, warmup_seconds: warmupSeconds } = JSON.parse(commandJson);
const target = new URL("/Agent/run", url);
const body = JSON.stringify({ steps, bytes });
const keepAlive = new http.Agent({ keepAlive: true, maxSockets: agents });

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

function run() {
  return new Promise((resolve, reject) => {
    const request = http.request(
      target,
      {
        method: "POST",
        agent: keepAlive,
        timeout: REQUEST_TIMEOUT_MS,
        headers: { "content-type": "application/json", "content-length": body.length },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          if (response.statusCode === HTTP_OK) resolve();
          else reject(new Error(`ingress answered ${response.statusCode}: ${text}`));
        });
      },
    );
    request.on("timeout", () => request.destroy(new Error("a run took too long")));
    request.on("error", reject);
    request.end(body);
  });
}

const percentile = (sorted, share) => sorted[Math.ceil(sorted.length * share) - 1];
const round = (x) => Math.round(x * 1000) / 1000;

async function main() {
  const runs = []; // [end, latency] of every run, in ms
  let stopping = false;
  const agent = async () => {
    while (!stopping) {
      const begin = performance.now();
      await run();
      const end = performance.now();
      runs.push([end, end - begin]);
    }
  };
  const all = Promise.all(Array.from({ length: agents }, agent));
  const during = (s) => Promise.race([sleep(s * MS), all]); // an agent that fails ends the wait

  await during(warmupSeconds);
  const windowBegin = performance.now();
  say({ event: "start" });
  await during(seconds);
  const windowEnd = performance.now();
  say({ event: "stop" });
  stopping = true;
  await all;

  const latencies = runs
    .filter(([end]) => end >= windowBegin && end < windowEnd)
    .map(([, latency]) => latency)
    .sort((a, b) => a - b);
  if (latencies.length === 0) {
    throw new Error("no run ended within the measured time: measure for longer");
  }
  const measured = (windowEnd - windowBegin) / MS;
  const p50 = percentile(latencies, 0.5);
  const p99 = percentile(latencies, 0.99);
  const max = latencies.at(-1);
  say({
    value: round((latencies.length * steps) / measured),
    unit: "steps/s",
    p50_ms: round(p50 / steps),
    p99_ms: round(p99 / steps),
    max_ms: round(max / steps),
    run_p50_ms: round(p50),
    run_p99_ms: round(p99),
    run_max_ms: round(max),
    count: latencies.length * steps,
    seconds: round(measured),
  });
}

main()
  .catch((error) => say({ error: error.message || error.code || String(error) }))
  .finally(() => process.stdin.resume().on("end", () => process.exit()));
