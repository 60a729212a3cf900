// How long interactions take, from the key or the button to what it shows, in milliseconds; and `cpu`,
// what the page's own thread worked for that, whatever else the machine does (the least of all
// rounds). A report, not a judgement; pages.mjs leaves it in build/web/speed.json.
import { begin, open, q, settled } from './walk.mjs';

const ROUNDS = 5;
const KPIS = '.side a[href="/kpis"]';
const TODAY = '.side a[href="/today"]';

/* Each: what is done, and what must stand there then. `before` is not measured. */
const interactions = (given) => ({
  'open the palette': { at: '/today', act: (page) => page.keyboard.press('Control+k'), ready: '[role=combobox]', after: (page) => page.keyboard.press('Escape') },
  'switch the page': { at: '/today', act: (page) => page.locator(KPIS).click(), ready: `${KPIS}[aria-current]`, after: (page) => page.locator(TODAY).click() },
  'switch the page, until its numbers are there': { at: '/today', act: (page) => page.locator(KPIS).click(), ready: '.kpi-value', after: (page) => page.locator(TODAY).click() },
  'open a customer, until the timeline is there': {
    at: q(`list customers where did "Order Completed" limit 5`),
    act: (page) => page.locator('tbody a').first().click(),
    ready: '.entry',
    after: (page) => page.goBack(),
  },
  'type in the builder, until the text says it': {
    at: '/audiences/new?q=did%20%22Order%20Completed%22%20at%20least%202%20times',
    before: (page, round) => page.locator('.condition input[type=number]').first().fill(String(round + 10)),
    act: (page, round) => page.keyboard.press(String((round % 8) + 1)),
    ready: (round) => `[data-said~="${round + 10}${(round % 8) + 1}"]`,
  },
  'ask a funnel, until it is drawn': {
    at: '/explore',
    before: (page) => page.locator('textarea').fill(given.funnelQuery),
    act: (page) => page.keyboard.press('Control+Enter'),
    ready: '.funnel',
    after: (page) => page.goBack(),
  },
});

/* In the page: the moment of the key or button, until the selector fits and was painted. */
const until = (page, selector) =>
  page.evaluate(
    (selector) =>
      new Promise((resolve) => {
        const begin = (event) => {
          const look = () => {
            const area = document.querySelector('textarea'); // a field's value is no attribute
            if (area) area.dataset.said = area.value;
            if (document.querySelector(selector)) requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - event.timeStamp)));
            else requestAnimationFrame(look);
          };
          look();
        };
        for (const kind of ['keydown', 'pointerdown']) addEventListener(kind, begin, { capture: true, once: true });
        window.armed = true;
      }),
    selector,
  );

export async function measure(page, given) {
  const told = {};
  const thread = await page.context().newCDPSession(page);
  await thread.send('Performance.setTimeDomain', { timeDomain: 'threadTicks' });
  await thread.send('Performance.enable');
  const worked = async () => (await thread.send('Performance.getMetrics')).metrics.find((metric) => metric.name === 'TaskDuration').value * 1000;
  for (const [name, one] of Object.entries(interactions(given))) {
    begin(`measuring: ${name}`);
    await open(page, one.at);
    const times = [];
    let cpu = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      await page.waitForTimeout(300); // what was begun before is over
      await one.before?.(page, round);
      await page.waitForTimeout(50);
      await page.evaluate(() => (window.armed = false));
      const time = until(page, typeof one.ready === 'function' ? one.ready(round) : one.ready);
      await page.waitForFunction(() => window.armed);
      const before = await worked();
      await one.act(page, round);
      times.push(Math.round(await time));
      cpu = Math.min(cpu, Math.round((await worked()) - before));
      await settled(page);
      await one.after?.(page);
      await settled(page);
    }
    times.sort((a, b) => a - b);
    told[name] = { cpu, least: times[0], median: times[times.length >> 1], most: times[times.length - 1] };
    console.log(`  ${name}: ${JSON.stringify(told[name])}`);
  }
  return told;
}
