// Texts that hold scripts, in everything that events and people can name; see test_roles.sh.
import { named } from './named.mjs';
import { begin, end, expect, given, launch, open, q, wrong } from './walk.mjs';

const [SCRIPT] = given.names;
const MARK = 'onerror=';
const REFUSED = [q(SCRIPT), `/kpis/${encodeURIComponent(SCRIPT)}`]; // 400 and 404 are errors of the console
/* In the page: does it stand in a text, or in a field? */
const shows = (mark) => [document.querySelector('#main').innerText, ...[...document.querySelectorAll('#main input, #main textarea, #main option')].map((field) => field.value)].some((text) => text.includes(mark));

/* Where a script must stand, as text. */
const PAGES = {
  '/today': false,
  '/customers': true,
  [`/customers/${given.user}`]: true,
  [`/customers/${encodeURIComponent(`user_id=${SCRIPT}`)}`]: true,
  '/customers?find=onerror': true,
  '/audiences': true,
  '/audiences/1': true,
  '/audiences/2': true,
  '/audiences/new': false,
  [q('top 50 events')]: true,
  [q('top 50 "Product Viewed".category')]: true,
  [q('count customers by trait plan')]: true,
  [`${q('trend of events by day during last 7 days split by event')}&view=table`]: true,
  [q('paths of 2 events within 30 minutes limit 9000')]: false,
  [q(`list customers where trait name = ${JSON.stringify(SCRIPT)} with trait name`)]: true,
  [q(`funnel ${JSON.stringify(SCRIPT)}, page`)]: true,
  [q(SCRIPT)]: true,
  '/kpis': true,
  '/kpis/named0': true,
  '/sources/tail': true,
  '/sources/quarantine': true,
  '/sources/plan': false,
  '/setup': false,
  '/setup/accounts': true,
  '/setup/keys': true,
  '/setup/audit': false,
  [`/kpis/${encodeURIComponent(SCRIPT)}`]: true,
};

const browser = await launch();
try {
  const page = await named(browser);
  for (const [path, shown] of Object.entries(PAGES)) {
    begin(path.slice(0, 60));
    if (REFUSED.includes(path)) page.removeAllListeners('console');
    await open(page, path);
    for (const line of await page.locator('details').all()) await line.evaluate((details) => (details.open = true));
    if (shown) await page.waitForFunction(shows, MARK, { timeout: 3000 }).catch(() => wrong('the text is not shown'));
    const made = await page.evaluate(() => document.querySelectorAll('#main img, #main script, #main [onerror], #main a[href^="javascript:" i]').length);
    expect(made === 0, `${made} elements were made of a text`);
    expect(!(await page.title()).startsWith('owned'), 'the script ran');
    if (REFUSED.includes(path)) page.on('console', (message) => message.type() === 'error' && wrong(`console: ${message.text()}`));
  }
} catch (error) {
  wrong(error.stack);
} finally {
  await browser.close();
}
end();
