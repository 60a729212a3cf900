// Texts that hold scripts, in everything that events and people can name; see test_roles.sh.
import { begin, end, expect, given, launch, open, q, send, signedIn, wrong } from './walk.mjs';

const MARK = 'onerror=';
const REFUSED = [q(given.script), `/kpis/${encodeURIComponent(given.script)}`]; // 400 and 404 are errors of the console
/* In the page: does it stand in a text, or in a field? */
const shows = (mark) => [document.querySelector('#main').innerText, ...[...document.querySelectorAll('#main input, #main textarea, #main option')].map((field) => field.value)].some((text) => text.includes(mark));

/* Made by those who may: names and descriptions of everything. */
async function make(page) {
  const made = await page.evaluate(async (script) => {
    const { csrf } = await (await fetch('/api/v1/session')).json();
    const said = [];
    const call = async (method, path, body) => {
      const response = await fetch(path, { method, headers: { 'X-CSRF-Token': csrf, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      if (!response.ok) said.push(`${method} ${path}: ${response.status} ${await response.text()}`);
    };
    await call('POST', '/api/v1/segments?wait=10', { name: script, query: 'did "Order Completed"', purpose: script, description: script, owners: { marketing: script, it: script } });
    await call('POST', '/api/v1/kpis', { id: 'script', name: script, description: script, query: 'total of events', owner_marketing: script, owner_it: script });
    await call('PUT', '/api/v1/kpis', { touchpoint: { script: { name: script, start: '"Checkout Started"', end: '"Order Completed"' } } });
    await call('POST', '/api/v1/users', { login: 'script', name: script, role: 'partner' });
    await call('POST', '/api/v1/keys', { name: script, scopes: ['query'] });
    return said;
  }, given.script);
  made.forEach(wrong);
}

/* Where a script must stand, as text. */
const PAGES = {
  '/today': false,
  '/customers': true,
  [`/customers/${given.user}`]: true,
  [`/customers/${encodeURIComponent(`user_id=${given.script}`)}`]: true,
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
  [q(`list customers where trait name = ${JSON.stringify(given.script)} with trait name`)]: true,
  [q(`funnel ${JSON.stringify(given.script)}, page`)]: true,
  [q(given.script)]: true,
  '/kpis': true,
  '/kpis/script': true,
  '/sources/tail': true,
  '/sources/quarantine': true,
  '/sources/plan': false,
  '/setup': false,
  '/setup/accounts': true,
  '/setup/keys': true,
  '/setup/audit': false,
  [`/kpis/${encodeURIComponent(given.script)}`]: true,
};

const browser = await launch();
try {
  begin('signing in');
  const page = await signedIn(browser, given.link);
  begin('making');
  await send(given.events);
  await make(page);
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
