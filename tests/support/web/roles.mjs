// Walks the screens as each role; see test_roles.sh.
import { accessible, begin, end, expect, given, launch, open, q, settled, signedIn, text, wrong } from './walk.mjs';

const MASKED = '‹e-mail›';
const QUESTION = q('count customers where did "Order Completed"');
const ALL = {
  Today: '/today',
  Customers: `/customers/${given.user}`,
  Audiences: '/audiences',
  Explore: QUESTION,
  KPIs: '/kpis',
  Sources: '/sources',
  'Set-up': '/setup',
};
const MORE = ['/customers', '/audiences/1', '/kpis/net', '/sources/tail', '/sources/quarantine', '/sources/plan', '/setup/keys', '/setup/me'];
const STRANGE = { '/setup/accounts': 'Accounts', '/setup/audit': 'Audit log' };

/* What a role sees: its pages, and words that must and must not stand on one. */
const ROLES = {
  marketing: {
    pages: ['Today', 'Customers', 'Audiences', 'Explore', 'KPIs', 'Sources', 'Set-up'],
    sees: { [`/customers/${given.user}`]: [MASKED], '/audiences': ['New audience'], '/audiences/1': ['Export CSV', 'Save'], '/kpis': ['New KPI'], '/customers': ['Type a whole user id'] },
    lacks: { [`/customers/${given.user}`]: [given.email], '/sources/plan': ['Edit as TOML'], '/setup': ['New source'] },
    tabs: [],
  },
  it: {
    pages: ['Today', 'Customers', 'Audiences', 'Explore', 'KPIs', 'Sources', 'Set-up'],
    sees: { [`/customers/${given.user}`]: [MASKED], '/sources/plan': ['Edit as TOML'], '/setup': ['New source'], '/kpis': ['New KPI', 'New touchpoint'] },
    lacks: { [`/customers/${given.user}`]: [given.email], '/audiences/1': ['Export CSV'] },
    tabs: [],
  },
  executive: {
    pages: ['Today', 'Audiences', 'Explore', 'KPIs', 'Set-up'],
    sees: { '/audiences': ['Buyers'], '/kpis': ['Net sales'] },
    lacks: { '/audiences': ['New audience'], '/audiences/1': ['Export CSV', 'What it is for', given.user], '/kpis': ['New KPI', 'New touchpoint'], '/kpis/net': ['Edit'], '/today': ['What became of events'] },
    tabs: [],
  },
  privacy_officer: {
    pages: ['Today', 'Customers', 'Audiences', 'Explore', 'KPIs', 'Sources', 'Set-up'],
    sees: { [`/customers/${given.user}`]: [given.email], '/setup/audit': ['looked at a customer', 'Verify the chain'], '/audiences/1': ['Export CSV'] },
    lacks: { '/audiences': ['New audience'], '/kpis': ['New KPI'] },
    tabs: ['Audit log'],
  },
  partner: {
    pages: ['KPIs', 'Set-up'],
    sees: { '/kpis': ['Net sales'], '/kpis/net': ['Values'], '/setup/keys': ['New key'] },
    lacks: { '/kpis': ['New KPI', 'New touchpoint'], '/kpis/net': ['Remove', 'Open in Explore'] },
    tabs: [],
  },
};

const pageOf = (path) => Object.keys(ALL).find((name) => new URL(ALL[name], given.url).pathname.split('/')[1] === path.split('?')[0].split('/')[1]);

async function asRole(browser, role, told) {
  const page = await signedIn(browser, given.links[role]); // a request that is refused is an error of the console: nothing that is refused may be asked
  const nav = await page.locator('.side .label').allInnerTexts();
  expect(nav.join() === told.pages.join(), `the navigation has ${nav}`);
  expect(page.url() === new URL(`/${told.pages[0].toLowerCase()}`, given.url).href, `it begins at ${page.url()}`);
  for (const path of [...Object.values(ALL), ...MORE, ...Object.keys(STRANGE)]) {
    begin(`${role}: ${path.slice(0, 40)}`);
    await open(page, path);
    const shown = await text(page, '#main');
    const strange = STRANGE[path];
    const allowed = told.pages.includes(pageOf(path)) && (!strange || told.tabs.includes(strange));
    expect(allowed !== shown.includes('not part of your role'), allowed ? 'is said not to be for it' : `shows ${shown.slice(0, 80)}`);
    expect((await page.locator('.failure').count()) === 0, `an error: ${(await text(page, '.failure')).slice(0, 200)}`);
    for (const words of told.sees[path] ?? []) expect(shown.includes(words), `lacks “${words}”`);
    for (const words of told.lacks[path] ?? []) expect(!shown.includes(words), `shows “${words}”`);
    if (!allowed) await accessible(page);
  }
  begin(`${role}: people of a touchpoint`);
  await open(page, '/kpis');
  const opens = page.locator('.kpi-tasks button.who-link');
  if (told.pages.includes('Explore')) {
    await opens.first().click();
    await page.waitForURL(/customers\+where/);
    await settled(page);
    const single = role === 'privacy_officer';
    expect(page.url().includes('q=list+') === single && page.url().includes('q=count+') !== single, `the number opens ${page.url()}`);
    expect((await page.locator('.failure').count()) === 0, `an error: ${(await text(page, '.failure')).slice(0, 200)}`);
  } else expect((await page.locator('.who-link').count()) === 0, 'a number opens what the role may not ask');
  begin(`${role}: palette`);
  await page.keyboard.press('Control+k');
  const offered = await text(page, '.palette');
  expect(offered.includes('KPIs'), 'the palette lacks a page');
  for (const name of Object.keys(ALL).filter((one) => !told.pages.includes(one))) expect(!offered.includes(name), `the palette offers ${name}`);
  await page.context().close();
}

const browser = await launch();
try {
  for (const [role, told] of Object.entries(ROLES)) await asRole(browser, role, told).catch((error) => wrong(error.message));
} finally {
  await browser.close();
}
end();
