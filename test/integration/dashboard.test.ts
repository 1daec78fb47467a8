/** The dashboard as a person sees it: a real cluster, a real browser. */
import { spawnSync } from 'node:child_process';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Henge } from '../../src/index.js';
import { scratch, TestDaemon } from '../support/daemon.js';

const isInstalled = spawnSync('chromium', ['--version']).status === 0;
if (!isInstalled && process.env.CI === 'true') throw new Error('CI needs chromium: apt-get install chromium');
if (!isInstalled) console.warn('skipped: the dashboard in a browser, which is not installed (chromium)');

describe.skipIf(!isInstalled)('the dashboard', () => {
  const folder = scratch();
  let daemon: TestDaemon;
  let client: Henge;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    daemon = await TestDaemon.start(folder.path);
    client = await Henge.connect({ seeds: daemon.address });
    await client.setMany(Array.from({ length: 1_234 }, (_, i) => [`key-${i}`, i] as const));
    // Root may not use Chromium's sandbox, and the page is our own.
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    page = await browser.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('requestfailed', (request) => complaints.push(request.url()));
    await page.goto(`${daemon.http}/`);
  });

  afterAll(async () => {
    await browser?.close();
    await client?.close();
    await daemon?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  it('shows the cluster, its items and its node, and asks nobody else', async () => {
    await page.getByText('epoch 1 · 1 node · 1 copy of each item').waitFor();
    await expect.poll(() => page.locator('#items').textContent()).toBe('1,234');
    const row = page.locator('#nodes tr');
    expect(await row.count()).toBe(1);
    expect(await row.textContent()).toContain(`a${daemon.address}defaultin16,3841,234`);
    expect(await page.locator('#shares').textContent()).toBe('a 100.0 %');
    expect(complaints).toEqual([]);
  });

  it('draws traffic as it comes', async () => {
    await client.getMany(Array.from({ length: 1_000 }, (_, i) => `key-${i * 2}`));
    await expect.poll(() => page.locator('#ratio').textContent(), { timeout: 20_000 }).toMatch(/^6[12]\.\d %$/);
    await expect
      .poll(() => page.locator('#curve').getAttribute('d'), { timeout: 20_000 })
      .toMatch(/^M[\d.,]+(L[\d.,]+)+$/);
  });

  it('says when data may not move, and nothing of it otherwise', async () => {
    const tell = (action: string) =>
      fetch(`${daemon.http}/v1/rebalance/${action}`, { method: 'POST', headers: { 'x-henge-operator': 'test' } });
    const moving = page.locator('#moving');
    expect(await moving.isHidden()).toBe(true);
    await tell('pause');
    await moving.getByText('Nothing moves, and nothing will while it is paused').waitFor();
    expect(await daemon.metric('henge_rebalance_paused')).toBe(1);
    expect(await daemon.metric('henge_rebalance_slots{state="left"}')).toBe(0);
    await tell('resume');
    await moving.waitFor({ state: 'hidden' });
    expect(complaints).toEqual([]);
  });

  it('says so when the node does not answer, and recovers', async () => {
    daemon.signal('SIGSTOP');
    await page.getByText('this node does not answer').waitFor();
    daemon.signal('SIGCONT');
    await expect.poll(() => page.locator('#trouble').textContent(), { timeout: 20_000 }).toBe('');
  });
});
