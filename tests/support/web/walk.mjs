// What walks of the screens in Chromium share. What a step finds wrong is printed, and the walk goes
// on: one run shows all. See tests/web.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { getuid } from 'node:process';

export const given = JSON.parse(process.argv[2]);
const require = createRequire(given.modules);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'];
const began = Date.now();
let problems = 0;
let step = 'start';

const seconds = () => ((Date.now() - began) / 1000).toFixed(1);

export function begin(name) {
  step = name;
  console.log(`${seconds()} s: ${name}`);
}

export function wrong(what) {
  problems++;
  console.log(`${seconds()} s: WRONG ${step}: ${what}`);
}

export const expect = (truth, what) => truth || wrong(what);
export const sound = () => problems === 0;

export const launch = () => chromium.launch({ executablePath: given.chromium, args: getuid() === 0 ? ['--no-sandbox'] : [] });

export function end() {
  console.log(`${problems} problems in ${seconds()} s`);
  process.exit(problems ? 1 : 0);
}

export function watch(page) {
  page.on('console', (message) => message.type() === 'error' && wrong(`console: ${message.text()}`));
  page.on('pageerror', (error) => wrong(`exception: ${error.message}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== given.url) wrong(`request to ${url.origin}`);
  });
  page.on('dialog', (dialog) => {
    wrong(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
}

/* A page of a laptop's size whose errors count. */
export async function fresh(browser) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: 'light' })).newPage();
  page.setDefaultTimeout(8000);
  watch(page);
  return page;
}

/* The same, of somebody who followed his sign-in link. */
export async function signedIn(browser, link) {
  const page = await fresh(browser);
  await page.goto(`${given.url}/login#${link}`);
  await page.locator('.topbar').waitFor();
  await settled(page);
  return page;
}

/* Nothing is being loaded any more. */
export async function settled(page) {
  await page.waitForFunction(() => document.querySelector('h1') && !document.querySelector('.skeleton') && !document.querySelector('[aria-busy=true]'), null, { timeout: 15000 });
}

export async function open(page, path) {
  await page.goto(given.url + path);
  await settled(page);
}

export async function accessible(page) {
  await page.evaluate(axe);
  // What is fading in has not its contrast yet.
  await page.evaluate(() => Promise.allSettled(document.getAnimations()
    .filter((animation) => animation.effect?.getComputedTiming().iterations !== Infinity)
    .map((animation) => animation.finished)));
  const found = await page.evaluate((tags) => window.axe.run(document, { runOnly: tags }), RULES);
  for (const violation of found.violations)
    wrong(`axe ${violation.id}: ${violation.help}; ${violation.nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ''}`).join(' | ')}`);
}

export async function text(page, selector) {
  return (await page.locator(selector).allInnerTexts()).join(' ');
}

export async function send(events) {
  const response = await fetch(`${given.url}/v1/batch`, { method: 'POST', headers: { Authorization: given.basic }, body: JSON.stringify({ batch: events }) });
  expect(response.status === 200, `the collector answered ${response.status}`);
}

export const q = (question) => `/explore?q=${encodeURIComponent(question)}`;
