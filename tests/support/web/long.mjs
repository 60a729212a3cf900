// Names as long as they can be, in scripts that are read from the right too, everywhere: nothing is
// wider than the screen or its card, and what is cut says the whole by its title. Then paper: without
// the frame, with all of a table. See test_shots.sh.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { named } from './named.mjs';
import { begin, end, expect, given, launch, open, q, wrong } from './walk.mjs';

const ON_SCREEN = 200; // rows of a table
const LISTED = 300;
const PAPER = 718; // pixels between the margins of A4
const WIDTHS = { 320: 640, 390: 844, 1280: 860, 1920: 1080 };
const [LONG] = given.names;
const quoted = JSON.stringify(LONG);
const PAGES = {
  today: '/today',
  customers: '/customers',
  customer: `/customers/${given.user}`,
  'customer-id': `/customers/${encodeURIComponent(`user_id=${LONG}`)}`,
  found: `/customers?find=${encodeURIComponent(LONG.slice(0, 12))}`,
  nobody: `/customers?find=${encodeURIComponent(`x${LONG}`)}`,
  audiences: '/audiences',
  audience: '/audiences/2',
  'audience-new': '/audiences/new',
  list: q(`list customers with trait name, trait plan, count("Product Viewed") order by trait name desc limit ${LISTED}`),
  events: q('top 50 events'),
  category: q('top 50 "Product Viewed".category'),
  trend: q('trend of events by week during last 30 days split by event'),
  'trend-table': `${q('trend of events by week during last 30 days split by event')}&view=table`,
  split: q('count customers by trait plan'),
  paths: q('paths of 3 events within 30 minutes limit 9000'),
  funnel: q(`funnel ${quoted}, page ${quoted}, "Order Completed" by channel`),
  compare: q('compare customers where trait plan exists with others with at least 1 customers limit 40'),
  attribution: q(`attribute events of "Order Completed" to last ${quoted}, "Email Link Clicked" by context.channel within 30 days`),
  saved: '/explore?saved=1',
  kpis: '/kpis',
  kpi: '/kpis/named0',
  tail: '/sources/tail',
  quarantine: '/sources/quarantine',
  plan: '/sources/plan',
  sources: '/sources',
  setup: '/setup',
  accounts: '/setup/accounts',
  keys: '/setup/keys',
  audit: '/setup/audit',
};

/* In the page. */
function misfits() {
  const said = [];
  for (const clip of document.querySelectorAll('.clip')) clip.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));
  const name = (element) => `${element.tagName.toLowerCase()}${element.className && typeof element.className === 'string' ? `.${element.className.trim().replaceAll(/\s+/g, '.')}` : ''} “${(element.textContent ?? '').slice(0, 30)}”`;
  const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
  const cuts = (element) => /hidden|clip/.test(getComputedStyle(element).overflowX);
  const beyond = document.documentElement.scrollWidth - innerWidth;
  if (beyond > 0) said.push(`the page is ${beyond} pixels too wide`);
  for (const element of document.querySelectorAll('#main *, .scrim *')) {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || !element.checkVisibility()) continue;
    const words = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim().length > 3);
    if (words && !element.closest('.hidden-text, svg') && box.width < 24 && box.height > 48) said.push(`a letter wide: ${name(element)}`);
    if (element.matches('.value') && /^[^a-z]+$/i.test(element.innerText) && box.height > 1.6 * parseFloat(getComputedStyle(element).lineHeight)) said.push(`a broken number: ${name(element)}`);
    if (element.matches('button, .button') && element.scrollWidth > element.clientWidth + 1) said.push(`beyond its button: ${name(element)}`);
    if (cuts(element) && element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1 && element.textContent.trim() && !element.closest('[title], [aria-label]:not(section, [role=region], nav, table)'))
      said.push(`cut, without a title: ${name(element)}`);
    let at = element.parentElement;
    while (at && !scrolls(at) && !cuts(at) && !at.matches('.card')) at = at.parentElement;
    const cell = element.parentElement.closest('td, th');
    if (cell && !cuts(cell) && !element.closest('.hidden-text') && getComputedStyle(element).position === 'static' && (box.right > cell.getBoundingClientRect().right + 1 || box.left < cell.getBoundingClientRect().left - 1)) said.push(`beyond its cell: ${name(element)}`);
    if (at?.matches('.card') && !scrolls(at) && !cuts(at) && box.right > at.getBoundingClientRect().right + 1) said.push(`beyond its card: ${name(element)}`);
  }
  return [...new Set(said)].slice(0, 8);
}

async function onPaper(page, name, path) {
  await page.setViewportSize({ width: PAPER, height: 1000 });
  await open(page, path);
  await page.emulateMedia({ media: 'print' });
  const seen = await page.evaluate(() => ({
    frame: ['.side', '.topbar', '.toasts'].filter((part) => document.querySelector(part)?.checkVisibility()),
    wide: [...document.querySelectorAll('.scroll-x, .card, .card > .body')].filter((part) => part.scrollWidth > part.clientWidth + 1).length,
  }));
  expect(seen.frame.length === 0, `the frame is printed: ${seen.frame}`);
  expect(seen.wide === 0, `${seen.wide} parts of ${name} are wider than paper`);
  await page.screenshot({ path: join(given.shots, `paper-${name}.png`), fullPage: true });
  await page.emulateMedia({ media: 'screen' });
}

/* A table that is longer than the screen shows; the printer waits for nothing but what is drawn at once. */
async function allOnPaper(page) {
  const rows = () => document.querySelectorAll('#main tbody tr').length;
  await open(page, PAGES.list);
  expect((await page.evaluate(rows)) === ON_SCREEN, `${await page.evaluate(rows)} rows on the screen`);
  await page.evaluate(() => matchMedia('print').addEventListener('change', () => (window.printed = document.querySelectorAll('#main tbody tr').length)));
  await page.emulateMedia({ media: 'print' });
  await page.waitForFunction(() => window.printed);
  expect((await page.evaluate(() => window.printed)) === LISTED, `${await page.evaluate(() => window.printed)} rows on paper`);
}

mkdirSync(given.shots, { recursive: true });
const browser = await launch();
try {
  const page = await named(browser);
  for (const [name, path] of Object.entries(PAGES)) {
    begin(`long names: ${name}`);
    for (const [width, height] of Object.entries(WIDTHS)) {
      await page.setViewportSize({ width: Number(width), height });
      if (width === '320') {
        await open(page, path);
        if (name === 'tail') await page.locator('#main details').nth(given.events.length - 1).waitFor();
        for (const line of await page.locator('#main details').all()) await line.evaluate((details) => (details.open = true));
      }
      await page.waitForTimeout(60); // a resize is drawn
      for (const misfit of await page.evaluate(misfits)) wrong(`${width}: ${misfit}`);
      await page.screenshot({ path: join(given.shots, `long-${name}-${width}.png`), fullPage: true });
    }
  }
  begin('long names in layers');
  for (const [width, height] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width: Number(width), height });
    await open(page, '/explore');
    await page.locator('textarea').pressSequentially(`funnel "${LONG.slice(0, 3)}`);
    await page.locator('.editor-list li').first().waitFor();
    for (const misfit of await page.evaluate(misfits)) wrong(`${width}, suggestions: ${misfit}`);
    await page.keyboard.press('Escape');
    await open(page, '/kpis/named0');
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.locator('.dialog input[name=name]').waitFor();
    for (const misfit of await page.evaluate(misfits)) wrong(`${width}, a form: ${misfit}`);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    await page.keyboard.type(LONG.slice(0, 8));
    await page.locator('.palette [role=option]', { hasText: LONG.slice(0, 20) }).nth(2).waitFor();
    for (const misfit of await page.evaluate(misfits)) wrong(`${width}, palette: ${misfit}`);
    await page.keyboard.press('Escape');
  }
  begin('long names on paper');
  for (const name of ['today', 'customer', 'audiences', 'list', 'trend', 'funnel', 'kpis', 'kpi', 'quarantine', 'audit']) await onPaper(page, name, PAGES[name]);
  await allOnPaper(page);
} catch (error) {
  wrong(error.stack);
} finally {
  await browser.close();
}
end();
