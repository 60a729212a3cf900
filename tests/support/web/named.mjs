// Everything that people can name, with names that tests think of.
import { begin, given, send, signedIn, wrong } from './walk.mjs';

/* Audiences from 2 on, if there is one already; KPIs named0, named1, …; by somebody who may. */
async function everything(page, names) {
  const made = await page.evaluate(async (names) => {
    const { csrf } = await (await fetch('/api/v1/session')).json();
    const said = [];
    const call = async (method, path, body) => {
      const response = await fetch(path, { method, headers: { 'X-CSRF-Token': csrf, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      if (!response.ok) said.push(`${method} ${path}: ${response.status} ${await response.text()}`);
    };
    for (const [i, name] of names.entries()) {
      const id = `named${i}`;
      await call('POST', '/api/v1/segments?wait=10', { name, query: 'did "Order Completed"', purpose: name, description: name, owners: { marketing: name, it: name } });
      await call('POST', '/api/v1/kpis', { id, name, description: name, query: 'total of events', owner_marketing: name, owner_it: name });
      await call('PUT', '/api/v1/kpis', { touchpoint: { [id]: { name, start: '"Checkout Started"', end: '"Order Completed"' } } });
      await call('POST', '/api/v1/users', { login: id, name: name.slice(0, 100), role: 'partner' });
      await call('POST', '/api/v1/keys', { name: name.slice(0, 100), scopes: ['query'] });
      await call('POST', '/api/v1/questions', { name, description: name, query: 'count customers' });
    }
    return said;
  }, names);
  made.forEach(wrong);
}

/* A page of somebody who is signed in, where all of that has the names that are given. */
export async function named(browser) {
  begin('signing in');
  const page = await signedIn(browser, given.link);
  begin('making');
  await send(given.events);
  await everything(page, given.names);
  return page;
}
