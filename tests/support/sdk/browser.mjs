// Gives events 0 … N-1 to analytics.js in headless Chromium.
//     node browser.mjs single|batched URL KEY N CHROMIUM
// The page is served from an origin of its own, so that every request needs the server's permission.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.cwd() + "/");
const { chromium } = require("playwright-core");
const [mode, url, key, count, executablePath] = process.argv.slice(2);
const bundles = process.cwd() + "/node_modules/@segment/analytics-next/dist/umd/";

const page_html = `<!doctype html><title>shop</title><script src="/umd/index.js"></script><script>
  const batched = { deliveryStrategy: { strategy: "batching", config: { size: 8, timeout: 200 } } };
  window.analytics = window.AnalyticsNext.AnalyticsBrowser.load(
    { writeKey: ${JSON.stringify(key)}, cdnURL: ${JSON.stringify(url)} },
    { integrations: { "Segment.io": { apiHost: ${JSON.stringify(new URL(url).host + "/v1")}, protocol: "http",
      ...(${mode === "batched"} ? batched : {}) } } });
</script>`;
const site = createServer((request, response) => {
  const file = /^\/umd\/([\w.-]+\.js)$/.exec(request.url);
  response.setHeader("Content-Type", file ? "text/javascript" : "text/html");
  response.end(file ? readFileSync(bundles + file[1]) : page_html);
});
await new Promise((listening) => site.listen(0, "127.0.0.1", listening));

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
page.on("console", (message) => console.error("page:", message.text()));
await page.goto(`http://localhost:${site.address().port}/`);
for (let id = 0; id < Number(count); id += 10) {
  await page.evaluate((first) => {
    for (let id = first; id < first + 10; id++) window.analytics.track("Given", { id });
  }, id);
  console.log(`given ${id + 10}`);
  await page.waitForTimeout(100);
}
// It is done when nobody hears of an event for a while; the test closes the pipe then.
process.stdin.on("end", async () => {
  await browser.close();
  process.exit(0);
});
process.stdin.resume();
console.log("done");
