/*
 * portal.mjs SCENARIO: one story in Chromium, told by portal.py.  Settings come as JSON in the environment variable STORY; lines on
 * standard output are JSON: {"at": "…"} says how far it is, the last one is the result.  Screenshots go to story.shots.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from '../node_modules/playwright-core/index.mjs';

const story = JSON.parse(process.env.STORY);
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const say = (x) => process.stdout.write(`${JSON.stringify(x)}\n`);
const complaints = [];

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-dev-shm-usage'],
});
const context = await browser.newContext({ viewport: { width: 1366, height: 768 }, colorScheme: story.scheme ?? 'dark', locale: 'fr-FR', bypassCSP: false });
const page = await context.newPage();
page.setDefaultTimeout(60000);
page.on('pageerror', (e) => complaints.push(`error: ${e.message}`));
page.on('console', (m) => {
  if (/Content Security Policy/.test(m.text())) complaints.push(m.text().slice(0, 300));
});
page.on('request', (r) => {
  if (!r.url().startsWith(story.base) && !/^(data|blob):/.test(r.url())) complaints.push(`foreign request: ${r.url()}`);
});

const shot = (name) => (story.shots ? page.screenshot({ path: `${story.shots}/${name}.png` }) : undefined);
const signIn = async () => {
  await page.goto(`${story.base}/#token=${story.token}`);
  await page.waitForSelector('tbody a');
};
const names = () => page.$$eval('tbody tr[data-uid] a', (l) => l.map((a) => a.textContent));

/* What axe finds serious or critical; run in the page, which the policy allows to a debugger only. */
async function axe() {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const r = await window.axe.run(document, { resultTypes: ['violations'] });
    return r.violations
      .filter((v) => v.impact === 'serious' || v.impact === 'critical')
      .map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')} ${v.nodes[0]?.any?.[0]?.message ?? ''}`);
  });
}

/* Grey levels of the reader's canvas at parts of the image's width and height. */
const greys = (at) =>
  page.evaluate((points) => {
    const c = document.getElementById('image');
    const side = Math.min(c.width, c.height); // a square image that fits
    return points.map(([x, y]) => c.getContext('2d').getImageData((c.width - side) / 2 + x * side, (c.height - side) / 2 + y * side, 1, 1).data[0]);
  }, at);

const exact = () => page.waitForSelector('#state[data-kind="exact"]');
const place = () => page.textContent('#place');
/* Another slice by a key: until the page says that it is there. */
const go = async (key) => {
  const before = await place();
  await page.keyboard.press(key);
  await page.waitForFunction((t) => document.querySelector('#place').textContent !== t, before);
  await exact();
};

const stories = {
  async signin() {
    await page.goto(`${story.base}/`);
    await page.waitForSelector('input[autocomplete="current-password"]');
    const axeSignIn = await axe();
    await shot('sign-in');
    await page.fill('input[autocomplete="current-password"]', 'grn_wrong');
    await page.click('button[type="submit"]');
    const refusal = await page.textContent('[class*="InputWrapper-error"]');
    await page.fill('input[autocomplete="current-password"]', story.token);
    await page.keyboard.press('Enter');
    await page.waitForSelector('tbody a');
    await page.click('text=Se déconnecter');
    await page.waitForSelector('input[autocomplete="current-password"]');
    const after = await page.evaluate(() => fetch('/api/v1/session').then((r) => r.status));
    await page.goto(`${story.base}/#token=grn_wrong`);
    await page.waitForSelector('input[autocomplete="current-password"]');
    await signIn();
    const scriptCookie = await page.evaluate(() => document.cookie);
    return { refusal, after, url: page.url(), scriptCookie, axe: axeSignIn };
  },

  async list() {
    await signIn();
    await page.waitForTimeout(300);
    const all = await names();
    const axeDark = await axe();
    await shot('list-dark');
    await page.click('button[aria-label="Clair ou sombre"]');
    await page.waitForTimeout(300);
    const axeLight = await axe();
    await shot('list-light');
    await page.keyboard.press('Escape');
    await page.keyboard.press('/');
    await page.keyboard.type(story.search);
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr[data-uid]').length === n, story.found);
    const found = await names();
    const address = page.url();
    await page.reload();
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr[data-uid]').length === n, story.found);
    await page.fill('input[type="search"]', 'zzzz');
    await page.waitForSelector('text=Aucun examen ne correspond');
    await shot('list-empty');
    await page.click('text=Effacer les filtres');
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr[data-uid]').length === n, all.length);
    await page.click('th.c-name button');
    await page.waitForSelector('th.c-name[aria-sort="ascending"]');
    await page.waitForLoadState('networkidle').catch(() => undefined);
    await page.waitForTimeout(500);
    const sorted = await names();
    await page.click('text=English');
    const english = await page.textContent('h1');
    await page.keyboard.press('?');
    await page.waitForSelector('dl.keys');
    await shot('list-keys');
    const script = (await page.evaluate(() => window.__owned)) ?? null;
    return { all, found, address, sorted, english, script, axe: [...axeDark, ...axeLight] };
  },

  async live() {
    await signIn();
    const before = await names();
    say({ at: 'listening' });
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr[data-uid]').length > n, before.length);
    const after = await names();
    await page.hover('tbody tr[data-uid]');
    const row = await page.evaluate(() => document.querySelector('tbody tr[data-uid]').dataset.uid);
    say({ at: 'engaged' });
    const offer = await page.textContent('.fresh');
    const still = await page.evaluate(() => document.querySelector('tbody tr[data-uid]').dataset.uid);
    await shot('list-fresh');
    await page.keyboard.press('n');
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr[data-uid]').length > n, after.length);
    const growing = await page.$$eval('.growing', (l) => l.length);
    return { before, after, offer, kept: row === still, growing };
  },

  async read() {
    await signIn();
    await page.focus(`tr[data-uid="${story.study}"] a`);
    await page.waitForTimeout(500);
    await page.keyboard.press('Enter');
    await page.waitForURL('**/read/**');
    await exact();
    await page.waitForTimeout(300);
    const requests = await page.evaluate(() => performance.getEntriesByType('resource').filter((e) => /instances$/.test(e.name)).length);
    const first = { greys: await greys(story.points), place: await place(), window: await page.textContent('#window') };
    const axeRead = await axe();
    await shot('reader');
    await go('Home');
    const home = await place();
    await go('ArrowDown');
    const next = await place();
    await page.keyboard.press(story.preset);
    await page.waitForTimeout(300);
    const preset = { greys: await greys(story.points), window: await page.textContent('#window') };
    await page.keyboard.press('i');
    await page.waitForTimeout(300);
    const inverted = await greys(story.points);
    await page.keyboard.press('i');
    await page.keyboard.press('?');
    await shot('reader-keys');
    await page.click('#help-close');
    const title = await page.title();
    await page.keyboard.press('Escape');
    await page.waitForSelector(`tr[data-uid="${story.study}"][aria-selected="true"]`);
    await page.waitForFunction(() => document.activeElement?.closest('tr') != null);
    const focused = await page.evaluate(() => document.activeElement?.closest('tr')?.dataset.uid);
    return { first, home, next, preset, inverted, title, requests, focused, axe: axeRead, script: (await page.evaluate(() => window.__owned)) ?? null };
  },

  async full() {
    await signIn();
    await page.goto(`${story.base}/read/${story.study}`);
    await exact();
    await go('ArrowDown');
    await page.keyboard.press(story.preset);
    const here = await place();
    await page.keyboard.press('v');
    await page.waitForSelector('body[data-full="shown"]', { timeout: 120000 });
    await page.waitForTimeout(1000);
    await shot('full');
    const frame = page.frames().find((f) => f.url().includes('/viewer/'));
    const there = await frame.evaluate((points) => {
      const v = window.cornerstone.getEnabledElements()[0].viewport;
      const c = v.getCanvas();
      const ctx = c.getContext('2d');
      const side = Math.min(c.width, c.height);
      const { lower, upper } = v.getProperties().voiRange;
      return {
        image: v.getCurrentImageId(),
        lower,
        upper,
        greys: points.map(([x, y]) => ctx.getImageData((c.width - side) / 2 + x * side, (c.height - side) / 2 + y * side, 1, 1).data[0]),
      };
    }, story.points);
    await page.click('#full-button');
    await page.waitForSelector('body:not([data-full])');
    return { here, there };
  },

  /* A large study over a hospital's line: how long until pixels, and until all of them. */
  async line() {
    await signIn();
    await page.waitForTimeout(1500); // people look at the list first
    const cdp = await context.newCDPSession(page);
    await cdp.send('Network.enable');
    await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 40, downloadThroughput: 2.5e6, uploadThroughput: 2.5e6 });
    const kinds = [];
    await page.exposeFunction('sayKind', (k) => kinds.push(k));
    await page.addInitScript(() => {
      document.addEventListener('DOMContentLoaded', () => {
        const el = document.getElementById('state');
        if (el) new MutationObserver(() => window.sayKind(el.dataset.kind)).observe(el, { attributes: true, attributeFilter: ['data-kind'] });
      });
    });
    await page.focus(`tr[data-uid="${story.study}"] a`);
    await page.waitForTimeout(1500);
    const warm = await timed(() => page.keyboard.press('Enter'));
    const cold = await timed(() => page.goto(`${story.base}/read/${story.study}`)); // without hand-over
    await page.keyboard.press('End');
    await exact();
    return { warm, cold, kinds, frames: (await page.textContent('#place')).split('\n')[1] };

    async function timed(go) {
      await go();
      await page.waitForFunction(() => location.pathname.startsWith('/read/') && performance.getEntriesByName('garonne-first-exact').length > 0, null, { timeout: 60000 });
      return page.evaluate(() => Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name.replace('garonne-first-', ''), Math.round(m.startTime)])));
    }
  },

  /* Any study: what the reader says about it, and whether something is on the canvas. */
  async glance() {
    await signIn();
    const seen = {};
    for (const [name, [uid, sop]] of Object.entries(story.studies)) {
      await page.goto(`${story.base}/read/${uid}?${sop}#sop=${sop}`); // the question only makes it another page
      await page
        .waitForFunction(() => !document.getElementById('message').hidden || /exact|lossy|rendered/.test(document.getElementById('state').dataset.kind ?? ''), null, { timeout: 30000 })
        .catch(() => undefined);
      await page.waitForTimeout(300);
      await shot(`glance-${name}`);
      seen[name] = await page.evaluate(() => {
        const c = document.getElementById('image');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        const levels = new Set();
        for (let i = 0; i < d.length; i += 4 * 97) levels.add(d[i]);
        return { kind: document.getElementById('state').dataset.kind, message: document.getElementById('message').textContent, levels: levels.size };
      });
    }
    return seen;
  },
};

let result;
try {
  result = await stories[process.argv[2]]();
} catch (e) {
  await shot(`failed-${process.argv[2]}`);
  complaints.push(String(e.message ?? e).slice(0, 1500));
}
say({ result, complaints });
await browser.close();
