// Walks the screens as their administrator; see test_pages.sh.
import { PAGES } from './addresses.mjs';
import { accessible, begin, end, expect, fresh, given, launch, open, q, send, settled, sound, text, watch, wrong } from './walk.mjs';

/* Moves the pointer over the chart until a click there opens the people of that series; what its
 * legend says then. */
async function pointAt(page, series) {
  const box = await page.locator('.u-over').boundingBox();
  const legend = page.locator('.chart-legend span', { hasText: series }).first().locator('strong');
  for (let x = box.width * 0.45; x < box.width; x += box.width / 9)
    for (let y = box.height - 3; y > 0; y -= 6) {
      await page.mouse.move(box.x + x, box.y + y);
      if ((await page.locator('.opens-people').count()) === 0) continue;
      await page.waitForTimeout(30); // the legend follows
      return legend.innerText();
    }
  throw new Error(`no point of the chart opens its people`);
}

const steps = {
  async 'first account'({ page }) {
    await page.goto(`${given.url}/setup#${given.setup}`);
    await page.locator('input[name=login]').fill('anna');
    await accessible(page);
    await page.locator('input[name=name]').fill('Anna Berg');
    await page.locator('input[name=password]').fill('correct horse battery');
    await page.locator('button.primary').click();
    await page.locator('.topbar').waitFor();
    await settled(page);
    expect(page.url() === `${given.url}/today`, `after setting up: ${page.url()}`);
    expect((await text(page, '.topbar')).includes('Anna Berg'), 'the name is not in the bar');
    const cookies = await page.context().cookies();
    expect(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', `cookies: ${JSON.stringify(cookies)}`);
  },

  async 'customers by any identifier'({ page }) {
    for (const [what, by] of Object.entries({ user: given.user, device: given.device, email: given.email, 'part of it': given.email.slice(1, -3).toUpperCase() })) {
      await open(page, '/customers');
      await page.locator('.finder input').fill(by);
      if (what === 'user' || what === 'device') await page.waitForURL(/\/customers\/.+/);
      else await page.getByRole('link', { name: given.user, exact: true }).first().click();
      await page.locator('.ids').waitFor();
      const shown = await text(page, '#main');
      expect(shown.includes(given.user), `${what}: not the customer`);
      expect(shown.includes(given.email), `${what}: no e-mail address among the traits`);
      expect((await text(page, '.ids')).includes('seen together'), `${what}: does not say what joined the identifiers`);
    }
    expect((await page.locator('.day').count()) > 0, 'the timeline has no day');
    await page.getByText('In none of the saved audiences').waitFor();
    await open(page, '/customers?find=nobody-has-this');
    expect((await text(page, '#main')).includes('Nobody is called'), 'no empty state');
  },

  async 'a question and its picture'({ page }) {
    await open(page, '/explore');
    await page.locator('textarea').pressSequentially('funnel "Product V');
    const suggested = page.locator('[role=option]').first();
    await suggested.waitFor();
    expect((await suggested.innerText()).includes('Product Viewed'), `suggested: ${await suggested.innerText()}`);
    await page.keyboard.press('Tab');
    expect((await page.locator('textarea').inputValue()) === 'funnel "Product Viewed"', `completed: ${await page.locator('textarea').inputValue()}`);
    await page.locator('textarea').fill(given.funnelQuery);
    await page.keyboard.press('Control+Enter');
    await page.locator('.funnel').waitFor();
    await settled(page);
    const shown = (await page.locator('.funnel-what strong').allInnerTexts()).map((number) => number.replaceAll(',', ''));
    expect(shown.join() === given.funnel.join(), `funnel ${shown}, but the command says ${given.funnel}`);
    expect((await text(page, '.code')).includes(given.funnelQuery), 'the canonical question is not shown');
    expect(/Read [\d,]+ rows/.test(await text(page, '.cost')), 'the cost is not shown');
    await page.locator('.funnel-head button').first().click();
    await page.waitForURL(/stopped/);
    await settled(page);
    const lost = Number(given.funnel[0]) - Number(given.funnel[1]);
    expect((await page.locator('tbody tr').count()) === Math.min(200, lost), `who stopped: ${await page.locator('tbody tr').count()} rows, not ${lost}`);
    await page.goBack();
    await page.locator('.funnel').waitFor();
    await open(page, q('count custmers'));
    expect((await text(page, '.failure')).includes('did you mean "customers"'), 'the error does not help');
  },

  async 'an audience'({ page }) {
    await open(page, '/audiences');
    await page.getByRole('link', { name: 'New audience' }).first().click();
    await page.getByRole('button', { name: 'Add a condition' }).click();
    await page.locator('.condition select').nth(1).selectOption('Product Viewed');
    await page.locator('.condition input[type=number]').first().fill('3');
    await page.waitForFunction(() => document.querySelector('textarea').value === 'did "Product Viewed" at least 3 times');
    await page.locator('textarea').fill(given.condition);
    await page.locator('.condition').nth(1).waitFor();
    expect((await page.locator('.condition select').first().inputValue()) === 'measure', 'the builder does not follow the text');
    await page.waitForFunction((size) => document.querySelector('.how-many')?.textContent.replaceAll(',', '') === size, given.conditionSize);
    await page.keyboard.press('Escape');
    await accessible(page);
    await page.locator('input[name=name]').fill('Good customers');
    await page.getByRole('button', { name: 'Save' }).click();
    const row = page.locator('tr', { hasText: 'Good customers' });
    await row.getByText('live', { exact: true }).waitFor();
    expect((await row.locator('strong').innerText()).replaceAll(',', '') === given.conditionSize, 'the saved audience has another size');
    await open(page, q(`list customers where ${given.condition} limit 1`));
    await page.locator('tbody a').first().click();
    await page.locator('.memberships a', { hasText: 'Good customers' }).waitFor();
    await open(page, '/audiences');
    await row.getByRole('link', { name: 'Good customers' }).click();
    await settled(page);
    await page.locator('textarea').fill('identified');
    await page.getByText('would leave').waitFor();
  },

  async 'an audience is taken away and back'({ page }) {
    await open(page, '/audiences/1');
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.waitForURL(/\/audiences$/);
    await page.getByText('No audience yet').waitFor();
    await page.locator('.toast', { hasText: 'will be removed' }).getByRole('button', { name: 'Undo' }).click();
    await page.locator('tr', { hasText: 'Good customers' }).waitFor();
    await open(page, '/audiences/1');
    await page.locator('textarea').fill('did "Product Added" not followed by "Order Completed" within 1 day during last 14 days and identified');
    await page.waitForFunction(() => document.querySelector('.condition select')?.value === 'notThen');
    await page.locator('.condition').nth(1).getByRole('button', { name: 'Take away' }).click();
    await page.waitForFunction(() => !document.querySelector('textarea').value.includes('identified'));
    await page.locator('.toast', { hasText: 'taken away' }).getByRole('button', { name: 'Undo' }).click();
    await page.waitForFunction(() => document.querySelector('textarea').value.includes('identified'));
  },

  async 'pictures of questions'({ page }) {
    await open(page, PAGES.rfm);
    const asked = await page.locator('.rfm td strong').allInnerTexts();
    await page.getByRole('button', { name: 'Table' }).click();
    const sum = (texts) => texts.reduce((all, one) => all + Number(one.replaceAll(',', '')), 0);
    const listed = await page.locator('tbody tr td:nth-child(4)').allInnerTexts();
    expect(asked.length > 2 && sum(asked) === sum(listed), `the grid has ${sum(asked)} customers, the table ${sum(listed)}`);
    await open(page, PAGES.retention);
    const size = Number((await page.locator('.triangle tbody td.num').first().innerText()).replaceAll(',', ''));
    await page.locator('.triangle .who-link').first().click();
    await page.waitForURL(/list%20customers|list\+customers/);
    await settled(page);
    expect((await page.locator('tbody tr').count()) === Math.min(200, size), `the people of a cohort of ${size}: ${await page.locator('tbody tr').count()} rows`);
    await open(page, q('compare segment "Good customers" with others limit 20'));
    expect((await text(page, '.compare')).includes('did Order Completed'), 'no fact tells good customers apart');
    await open(page, PAGES.lifecycle);
    expect((await text(page, '.chart-legend')).includes('Lapsed'), 'no lapsed customers');
    await open(page, PAGES.attribution);
    expect((await text(page, '.owed')).includes('no touch') && (await text(page, '.owed')).includes('mail-'), 'no touches');
    await open(page, q(`count customers where ${given.condition}`));
    await page.getByRole('link', { name: 'Make it an audience' }).click();
    await page.waitForFunction((size) => document.querySelector('.how-many')?.textContent.replaceAll(',', '') === size, given.conditionSize);
  },

  async 'people behind numbers'({ page }) {
    const number = async (locator) => Number((await locator.innerText()).replaceAll(',', ''));
    const listed = async (size, what) => {
      await page.waitForURL(/list\+customers/);
      await settled(page);
      const rows = await page.locator('tbody tr').count();
      expect(size > 0 && rows === Math.min(200, size), `${what}: ${rows} rows, not ${size}`);
    };
    await open(page, PAGES.rfm);
    const cell = page.locator('.rfm .who-link').first();
    let size = await number(cell);
    await cell.click();
    await listed(size, 'a square of recency and frequency');
    await open(page, PAGES.retention);
    const cohorts = page.locator('.triangle tfoot .who-link');
    size = await number(cohorts);
    await cohorts.click();
    await listed(size, 'all cohorts');
    for (const [question, series] of [[PAGES.lifecycle, 'Lapsed'], [q('trend of unique customers of "Order Completed" by week during last 40 days'), 'unique customers']]) {
      await open(page, question);
      await page.locator('.u-over').waitFor();
      size = Number((await pointAt(page, series)).replaceAll(',', ''));
      await page.mouse.down();
      await page.mouse.up();
      await listed(size, series);
    }
    await open(page, '/audiences');
    size = await number(page.locator('tbody .who-link').first());
    await page.locator('tbody .who-link').first().click();
    await listed(size, 'an audience');
    await page.goBack();
    await page.waitForURL(/audiences$/);
    for (const column of [2, 3]) {
      await open(page, '/kpis');
      const task = page.locator(`.kpi-tasks tbody td:nth-child(${column}) button.who-link`).first();
      size = await number(task);
      await task.click();
      await listed(size, `column ${column} of a touchpoint`);
    }
    await open(page, '/kpis');
    await page.locator('.kpi-tasks tbody td:nth-child(4) a.who-link').first().click();
    await page.locator('.funnel').waitFor();
    for (const kpi of ['buyers', 'known_customers']) {
      await open(page, `/kpis/${kpi}`);
      const value = page.locator('.stats .value .who-link');
      size = await number(value);
      await value.click();
      await listed(size, `the value of ${kpi}`);
      expect((await text(page, '#main')).includes('As of') === (kpi === 'known_customers'), `${kpi}: of another moment?`);
    }
    await page.getByRole('button', { name: 'Ask as of now' }).click();
    await page.locator('.notice', { hasText: 'As of' }).waitFor({ state: 'detached' });
    await open(page, '/kpis/buyers');
    await page.locator('.u-over').waitFor();
    size = Number((await pointAt(page, 'Value')).replaceAll(',', ''));
    await page.mouse.down();
    await page.mouse.up();
    await listed(size, 'a point of a KPI');
    await open(page, '/kpis/checkout');
    await page.locator('.stats .value a.who-link').click();
    await page.locator('.funnel').waitFor();
  },

  async 'what is not there'({ page }) {
    page.removeAllListeners('console'); // 404 is what is asked for
    for (const [path, words, all] of [['/customers/user_id=nobody-has-this', 'Nobody has the identifier', '/customers'], ['/audiences/99', 'no such audience', '/audiences'], ['/kpis/none', 'There is no KPI', '/kpis']]) {
      await open(page, path);
      expect((await text(page, '.empty')).includes(words), `${path}: ${await text(page, '#main')}`);
      await accessible(page);
      await page.locator('.empty a.button').click();
      await page.waitForURL(given.url + all);
    }
    watch(page);
  },

  async 'a saved question'({ page }) {
    const list = page.locator('nav[aria-label=Saved]');
    const asked = 'trend of unique customers of "Order Completed" by day during last 30 days';
    await open(page, '/explore');
    await page.locator('textarea').fill(asked);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+s');
    await page.locator('.dialog input[name=name]').fill('Buyers a day');
    await page.locator('.dialog textarea').fill('Read it on Mondays');
    await page.locator('.dialog select[name=side]').selectOption('marketing');
    await accessible(page);
    await page.locator('.dialog button.primary').click();
    await page.waitForURL(/explore\?saved=1$/);
    await page.locator('h1', { hasText: 'Buyers a day' }).waitFor();
    await page.locator('.chart-place canvas').waitFor();
    await settled(page);
    expect((await text(page, '.page-head')).includes('Read it on Mondays · Marketing · Anna Berg'), `its head says ${await text(page, '.page-head')}`);

    await page.locator('textarea').fill('count custmers');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Save the change' }).click();
    await page.locator('.toast', { hasText: 'did you mean "customers"' }).waitFor();
    await page.locator('textarea').fill(asked.replace('by day', 'by week'));
    await page.keyboard.press('Control+s');
    await page.locator('.toast', { hasText: 'is saved' }).last().waitFor();
    await page.locator('.code', { hasText: 'by week' }).waitFor();
    await page.locator('.toast', { hasText: 'is saved' }).last().getByRole('button', { name: 'Undo' }).click();
    await page.locator('.code', { hasText: 'by day' }).waitFor();

    await page.getByRole('button', { name: 'Details' }).click();
    await page.locator('.dialog input[name=name]').fill('Daily buyers');
    await page.locator('.dialog button.primary').click();
    await page.locator('h1', { hasText: 'Daily buyers' }).waitFor();
    await open(page, '/explore?saved=1'); // the link still holds
    await page.locator('.chart-place canvas').waitFor();
    await page.evaluate(async () => {
      const { csrf } = await (await fetch('/api/v1/session')).json();
      for (let i = 1; i <= 8; i++)
        await fetch('/api/v1/questions', { method: 'POST', headers: { 'X-CSRF-Token': csrf, 'Content-Type': 'application/json' }, body: JSON.stringify({ name: `Count ${i}`, query: 'count customers' }) });
    });
    await open(page, '/explore');
    expect((await list.locator('a').count()) === 6, `${await list.locator('a').count()} questions are listed at first`);
    await list.locator('input').fill('mondays');
    expect((await list.locator('a').allInnerTexts()).join().includes('Daily buyers') && (await list.locator('a').count()) === 1, 'the search does not look at descriptions');
    await page.keyboard.press('Escape');
    await list.locator('input').fill('count 7');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: 'Count 7' }).waitFor();
    await settled(page);
    await accessible(page);
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.locator('.toast', { hasText: 'will be deleted' }).getByRole('button', { name: 'Undo' }).click();
    await list.locator('input').fill('count 7');
    await list.locator('a', { hasText: 'Count 7' }).waitFor();
    await page.locator('h1').click();
    await page.keyboard.press('/');
    await page.keyboard.type('daily bu');
    await page.locator('[role=option]', { hasText: 'Daily buyers' }).waitFor();
    await page.keyboard.press('Enter');
    await page.locator('h1', { hasText: 'Daily buyers' }).waitFor();
    await open(page, '/explore?saved=999');
    await page.getByText('no longer there').waitFor();
  },

  async 'a live event'({ page }) {
    await open(page, '/sources/tail');
    await send(given.live);
    const first = page.locator('.tail-line', { hasText: 'Product Viewed' }).first();
    await first.waitFor({ timeout: 5000 });
    await first.locator('summary').click();
    expect((await first.innerText()).includes('onerror='), 'the text of the event is not shown as text');
    await open(page, `/customers/${given.user}`);
    expect((await text(page, '.entry')).includes('onerror='), 'the timeline does not show the text');
    await open(page, q('top 50 events'));
    expect((await text(page, '.bars')).includes('onerror='), 'the ranking does not show the name');
    expect((await page.title()) !== 'owned' && (await page.locator('#main img').count()) === 0, 'a text of an event was run');
  },

  async quarantine({ page }) {
    await open(page, '/sources/quarantine');
    const line = page.locator('.tail-line').first();
    expect((await line.innerText()).includes('revenue: is missing'), `why: ${await line.innerText()}`);
    await line.locator('summary').click();
    await line.getByRole('button', { name: 'Replay' }).click();
    await page.locator('.toast').first().waitFor();
    expect((await text(page, '.toast')).includes('still against the plan'), `replay: ${await text(page, '.toast')}`);
    await open(page, '/sources/plan');
    await page.getByRole('button', { name: 'Edit as TOML' }).click();
    await page.locator('.plan-text').fill('[event."Order Completed".property]\nrevenue = { type = "number" }\n');
    await accessible(page);
    await page.getByRole('button', { name: 'Put in force' }).click();
    await page.locator('.dialog').waitFor({ state: 'detached' });
    await open(page, '/sources/quarantine');
    await page.locator('.tail-line summary').first().click();
    await page.locator('.tail-line').first().getByRole('button', { name: 'Replay' }).click();
    await page.locator('.toast', { hasText: '1 stored' }).waitFor({ timeout: 5000 });
    await page.getByText('Nothing is in quarantine').waitFor({ timeout: 5000 });
  },

  async 'sources and keys'({ page }) {
    await open(page, '/setup');
    await page.getByRole('button', { name: 'New source' }).click();
    await page.locator('.dialog input[name=name]').fill('kiosk');
    await page.locator('.dialog button.primary').click();
    await page.locator('td', { hasText: 'kiosk' }).first().waitFor();
    await page.locator('tr', { hasText: 'kiosk' }).getByRole('button', { name: 'Refuse its events' }).click();
    await page.locator('tr', { hasText: 'kiosk' }).getByText('off', { exact: true }).waitFor();
    await page.locator('.toast', { hasText: 'refused now' }).getByRole('button', { name: 'Undo' }).click();
    await page.locator('tr', { hasText: 'kiosk' }).getByRole('button', { name: 'Refuse its events' }).waitFor();
    await page.getByRole('button', { name: 'Send a test event' }).click();
    await page.locator('.toast', { hasText: 'on disk' }).waitFor();
  },

  async kpis({ page }) {
    const number = (said) => Number(said.replace(/[^0-9.−-]/g, '').replace('−', '-'));
    await open(page, '/kpis');
    const tree = page.locator('table').first();
    const rows = await tree.locator('tbody tr').allInnerTexts();
    expect(rows[0]?.includes('Net sales') && rows[1]?.includes('Gross sales'), `the tree begins with ${rows.slice(0, 2)}`);
    expect(rows.some((row) => row.includes('Refunds') && row.includes('Head of service') && row.includes('Lead of back office')), 'no owners of both sides');
    await page.locator('h3', { hasText: 'Find something to buy' }).waitFor();
    await tree.getByRole('link', { name: 'Net sales' }).click();
    await page.waitForURL(/\/kpis\/net/);
    await page.locator('.u-over').first().waitFor();
    await page.locator('.kpi-sum').waitFor();
    await settled(page);
    const parts = await page.locator('tr:has(.fall):has(a) td:nth-child(2)').allInnerTexts();
    const sum = parts.reduce((all, part) => all + Math.round(number(part) * 100), 0);
    const change = number((await text(page, '.kpi-sum')).split(':')[1]);
    expect(parts.length === 5 && sum === Math.round(change * 100), `the contributions ${parts} sum to ${sum / 100}, not ${change}`);
    await page.locator('.chart').getByRole('button', { name: 'Table' }).click();
    expect((await page.locator('.chart tbody tr').count()) === 35, `the table has ${await page.locator('.chart tbody tr').count()} days`);
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.locator('.dialog input[name=parts]').fill('gross, -nothing');
    await page.locator('.dialog button.primary').click();
    expect((await text(page, '.dialog [role=alert]')).includes('There is no KPI “nothing”'), 'an unknown part is not told');
    await accessible(page);
    await page.locator('.dialog input[name=parts]').fill('gross, -refunds');
    await page.locator('.dialog input[name=name]').fill('Net turnover');
    await page.locator('.dialog button.primary').click();
    await page.locator('h1', { hasText: 'Net turnover' }).waitFor();
    await page.locator('.toast', { hasText: 'version 2' }).getByRole('button', { name: 'Undo' }).click();
    await page.locator('h1', { hasText: 'Net sales' }).waitFor();
    expect((await text(page, '.kpi-said')).includes('CMO'), 'the owners are lost');
  },

  async touchpoints({ page }) {
    await open(page, '/kpis?new=touchpoint');
    const field = (name) => page.locator(`.dialog input[name=${name}]`);
    await field('id').fill('find');
    await field('start').fill('"Cart Viewed"');
    await field('end').fill('"Order Completed"');
    await page.locator('.dialog button.primary').click();
    await page.locator('.dialog [role=alert]').waitFor();
    await accessible(page);
    await field('id').fill('leave');
    await field('end').fill('"Order Completed"');
    await page.locator('.dialog button.primary').click();
    await page.locator('.kpi-task', { hasText: 'leave' }).getByRole('button', { name: 'Edit' }).click();
    await field('name').fill('Pay');
    await page.locator('.dialog button.primary').click();
    await page.locator('.kpi-task', { hasText: 'Pay' }).getByRole('button', { name: 'Remove' }).click();
    await page.locator('h3', { hasText: 'Pay' }).waitFor({ state: 'detached' });
    await page.locator('.toast', { hasText: 'is removed' }).getByRole('button', { name: 'Undo' }).click();
    await page.locator('h3', { hasText: 'Pay' }).waitFor();
  },

  async 'a KPI whose part is redefined'({ page }) {
    await open(page, '/kpis');
    const value = () => page.locator('tr', { hasText: 'Net sales' }).first().locator('.kpi-value strong').innerText();
    const before = await value();
    const put = (query) => page.evaluate(async (query) => {
      const { csrf } = await (await fetch('/api/v1/session')).json();
      const response = await fetch('/api/v1/kpis/sales', { method: 'PUT', headers: { 'X-CSRF-Token': csrf }, body: JSON.stringify({ name: 'Sales', query, unit: 'money' }) });
      return response.status;
    }, query);
    expect((await put('total of events of "Product Viewed"')) === 200, 'the part cannot be redefined');
    await open(page, '/kpis');
    await page.waitForFunction((before) => [...document.querySelectorAll('tr')].find((row) => row.textContent.includes('Net sales'))?.querySelector('.kpi-value strong')?.textContent !== before, before);
    expect((await put('total of sum("Order Completed".revenue)')) === 200, 'the part cannot be defined as before');
    await open(page, '/kpis');
    await page.waitForFunction((before) => [...document.querySelectorAll('tr')].find((row) => row.textContent.includes('Net sales'))?.querySelector('.kpi-value strong')?.textContent === before, before);
  },

  async 'accounts, keys and who did it'({ page }) {
    await open(page, '/setup/accounts');
    await page.getByRole('button', { name: 'New account' }).click();
    await page.locator('.dialog input[name=login]').fill('ben');
    await page.locator('.dialog select[name=role]').selectOption('executive');
    await accessible(page);
    await page.locator('.dialog button.primary').click();
    const row = page.locator('tr', { hasText: 'ben' });
    await row.getByRole('button', { name: 'Sign-in link' }).click();
    const link = await page.locator('.dialog .code').innerText();
    expect(link.startsWith(`${given.url}/login#`), `the link is ${link}`);
    await accessible(page);
    const other = await page.context().browser().newContext();
    const his = await other.newPage();
    await his.goto(link);
    await his.locator('.topbar').waitFor();
    await his.getByRole('link', { name: 'Set a password' }).click();
    await his.locator('input[name=new]').fill('a link that works once');
    expect((await his.locator('input[name=old]').count()) === 0, 'who came by a link is asked for a password he has not');
    await accessible(his);
    await his.getByRole('button', { name: 'Set the password' }).click();
    await his.locator('input[name=old]').waitFor();
    expect((await his.getByText('works once. Without').count()) === 0, 'who has a password is told to set one');
    await page.locator('.dialog button.primary').click();
    await row.getByRole('button', { name: 'Disable' }).click();
    await row.getByText('disabled').waitFor();
    await his.reload();
    await his.locator('input[name=password]').waitFor();
    await other.close();
    await page.locator('.toast', { hasText: 'no longer' }).getByRole('button', { name: 'Undo' }).click();
    await row.getByRole('button', { name: 'Disable' }).waitFor();

    await open(page, '/setup/keys');
    await page.getByText('No key yet').waitFor();
    await page.getByRole('button', { name: 'New key' }).click();
    await page.locator('.dialog input[name=name]').fill('dashboard');
    await page.locator('.dialog button.primary').click();
    expect((await text(page, '.dialog [role=alert]')).includes('at least one right'), 'a key without rights is not refused');
    await page.locator('.dialog input[type=checkbox]').first().check();
    await accessible(page);
    await page.locator('.dialog button.primary').click();
    const secret = await page.locator('.dialog .code').innerText();
    const asked = await fetch(`${given.url}/api/v1/session`, { headers: { Authorization: `Bearer ${secret}` } });
    expect(asked.status === 200 && (await asked.json()).rights.join() === 'query', 'the key does not work');
    await page.locator('.dialog button.primary').click();
    await open(page, '/setup/keys');
    expect(!(await page.content()).includes(secret), 'the secret is shown again');
    await page.locator('tr', { hasText: 'dashboard' }).getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('No key yet').waitFor();
    await page.locator('.toast', { hasText: 'will be revoked' }).getByRole('button', { name: 'Undo' }).click();
    await page.locator('tr', { hasText: 'dashboard' }).waitFor();

    await open(page, '/setup/audit');
    const log = await text(page, 'tbody');
    expect(['made an API key', 'changed an account', 'made a sign-in link', 'changed a KPI'].every((act) => log.includes(act)), `the log lacks an act: ${log.slice(0, 300)}`);
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('The chain holds').waitFor();
    await page.locator('.filters input').fill(given.user);
    await page.locator('.filters input').press('Enter');
    await page.waitForURL(/customer=/);
    await settled(page);
    await open(page, '/setup/me');
    expect((await text(page, '#main')).includes('this one'), 'its own session is not named');
  },

  async keyboard({ page }) {
    await open(page, '/today');
    await page.keyboard.press('Control+k');
    await page.locator('[role=combobox]').waitFor();
    await accessible(page);
    await page.keyboard.type('expl');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/explore/);
    await settled(page);
    await page.keyboard.press('g');
    await page.keyboard.press('t');
    await page.waitForURL(/\/today/);
    await page.keyboard.press('/');
    await page.locator('[role=combobox]').waitFor();
    await page.keyboard.type(given.user);
    await page.keyboard.press('Enter');
    await page.waitForURL(new RegExp(given.user));
    await page.locator('.ids').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('good cust');
    await page.locator('[role=option]', { hasText: 'Good customers' }).waitFor();
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/audiences\/1/);
    await settled(page);
    await page.keyboard.press('Control+k');
    for (const words of ['Quarantine', 'Audit log', 'New audience', 'New touchpoint', 'Copy the link', 'Print', 'Sign out'])
      expect((await text(page, '.palette')).includes(words), `the palette lacks ${words}`);
    await page.keyboard.press('Escape');
    await page.locator('h1').click();
    await page.keyboard.press('?');
    await page.locator('.dialog').waitFor();
    await page.keyboard.press('Escape');
    expect((await page.locator('.dialog').count()) === 0, 'Escape does not close');
  },

  async 'theme'({ page }) {
    await open(page, '/today');
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    const before = await theme();
    await page.locator('.topbar button[title^=Theme]').click();
    await page.locator('.topbar button[title^=Theme]').click();
    expect((await theme()) !== before, 'the theme does not change');
    await page.reload();
    await settled(page);
    expect((await theme()) !== before, 'the theme is forgotten');
    await page.evaluate(() => localStorage.removeItem('keel.theme'));
  },
};

const WRONG = ['a question and its picture', 'a saved question']; // ask what is wrong, on purpose

const browser = await launch();
try {
  const page = await fresh(browser);
  for (const [name, run] of Object.entries(steps)) {
    begin(name);
    if (WRONG.includes(name)) page.removeAllListeners('console');
    await run({ page }).catch((error) => wrong(error.message));
    if (name === 'first account' && !sound()) throw new Error('nothing goes without an account');
    if (WRONG.includes(name)) page.on('console', (message) => message.type() === 'error' && wrong(`console: ${message.text()}`));
  }
  begin('signing out');
  await page.locator('button[title="Sign out"]').click();
  await page.locator('input[name=password]').waitFor();
  await accessible(page);
} catch (error) {
  wrong(error.stack);
} finally {
  await browser.close();
}
end();
