// Pictures of every page in both themes at three widths, each judged by axe and for what reaches beyond
// its width; then how long interactions take. See test_shots.sh.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FUNNEL, PAGES } from './addresses.mjs';
import { measure } from './speed.mjs';
import { accessible, begin, end, expect, given, launch, open, signedIn, watch, wrong } from './walk.mjs';

const WIDTHS = { 390: 844, 1280: 860, 1920: 1080 };

async function shoot(browser, storageState, colorScheme) {
  const context = await browser.newContext({ storageState, colorScheme });
  const page = await context.newPage();
  watch(page);
  for (const [name, path] of Object.entries(PAGES)) {
    begin(`${name}, ${colorScheme}`);
    if (name === 'wrong') page.removeAllListeners('console'); // 400 is what is asked for
    for (const [width, height] of Object.entries(WIDTHS)) {
      await page.setViewportSize({ width: Number(width), height });
      if (width === '390') await open(page, path).catch((error) => wrong(error.message));
      await page.waitForTimeout(60); // a resize is drawn
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(beyond <= 0, `${beyond} pixels wider than ${width}`);
      await page.screenshot({ path: join(given.shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      if (width === '1280' || (width === '390' && colorScheme === 'light')) await accessible(page);
    }
    if (name === 'wrong') watch(page);
  }
  await context.close();
}

/* Paper is light, whatever the screen is. */
async function printed(browser, storageState) {
  const context = await browser.newContext({ storageState, colorScheme: 'dark' });
  const page = await context.newPage();
  watch(page);
  await open(page, '/today');
  const becomes = (theme) => page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, theme, { timeout: 3000 });
  await becomes('dark').catch(() => wrong('the screen is not dark'));
  await page.emulateMedia({ media: 'print' });
  await becomes('light').catch(() => wrong('paper is dark'));
  expect(!(await page.locator('.side').isVisible()) && !(await page.locator('.topbar').isVisible()), 'the frame is printed');
  await context.close();
}

mkdirSync(given.shots, { recursive: true });
const browser = await launch();
try {
  begin('signing in');
  const page = await signedIn(browser, given.link);
  const state = await page.context().storageState();
  for (const theme of ['light', 'dark']) await shoot(browser, state, theme);
  begin('on paper');
  await printed(browser, state);
  writeFileSync(join(given.shots, '../speed.json'), `${JSON.stringify(await measure(page, { funnelQuery: FUNNEL }), null, 2)}\n`);
} catch (error) {
  wrong(error.stack);
} finally {
  await browser.close();
}
end();
