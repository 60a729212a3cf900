// Gives events 0 … N-1 to an SDK of Node and waits until it says that it is done.
//     node node.mjs segment|rudder|jitsu URL KEY N
// Prints "given K" after each ten, "done" at the end; run in the folder of node_modules.
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(process.cwd() + "/");
const [kind, url, key, count] = process.argv.slice(2);

const sdks = {
  segment() {
    const { Analytics } = require("@segment/analytics-node");
    const sdk = new Analytics({ writeKey: key, host: url, flushAt: 7, flushInterval: 100, maxRetries: 50 });
    sdk.on("error", (e) => console.error("segment:", e.code ?? "", e.reason?.message ?? e.reason ?? e));
    return {
      track: (id) => sdk.track({ userId: `u${id % 5}`, event: "Given", properties: { id } }),
      close: () => sdk.closeAndFlush({ timeout: 60000 }),
    };
  },
  rudder() {
    const Analytics = require("@rudderstack/rudder-sdk-node");
    const failures = [];
    const sdk = new Analytics(key, {
      dataPlaneUrl: url, flushAt: 7, flushInterval: 100, logLevel: "error",
      axiosRetryConfig: { retries: 100, retryDelay: () => 200 }, errorHandler: (e) => failures.push(e),
    });
    return {
      track: (id) => sdk.track({ userId: `u${id % 5}`, event: "Given", properties: { id } }),
      async close() {
        for (let i = 0; i < 20; i++) {
          await sdk.flush();
          await sleep(50);
        }
        if (failures.length) throw failures[0];
      },
    };
  },
  // Tries once: what it rejects is the application's to send again.
  jitsu() {
    const { jitsuAnalytics } = require("@jitsu/js");
    const sdk = jitsuAnalytics({ host: url, writeKey: `${key}:secret`, runtime: undefined });
    return {
      async track(id) {
        await sdk.track("Given", { id });
      },
      close: async () => {},
    };
  },
};

const sdk = sdks[kind]();
for (let id = 0; id < Number(count); id++) {
  await sdk.track(id);
  if (id % 10 === 9) {
    console.log(`given ${id + 1}`);
    await sleep(50);
  }
}
await sdk.close();
console.log("done");
process.exit(0);
