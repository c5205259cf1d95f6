// The portal in a real browser: every role signs in, looks, and plays. Run by tests/browser.rs.
// PORTAL: https://localhost:PORT, PASSWORD: everybody's, SHOTS: a folder for screenshots.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const { PORTAL, PASSWORD, SHOTS } = process.env;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});

const problems = [];

async function as(login, viewport, look) {
  // The demo fleet's own CA is not in the browser's store.
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport });
  const page = await context.newPage();
  page.on('console', (m) => m.type() === 'error' && problems.push(`${login}: ${m.text()}`));
  page.on('pageerror', (e) => problems.push(`${login}: ${e.message}`));
  await page.goto(`${PORTAL}/sign-in`);
  await page.getByTestId('login').fill(login);
  await page.getByTestId('password').fill(PASSWORD);
  await Promise.all([page.waitForNavigation(), page.getByTestId('sign-in').click()]);
  await look(page);
  // Nothing is wider than the screen.
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${login}: the page is ${wide} px wider than the screen`);
  await page.screenshot({ path: `${SHOTS}/${login}-${viewport.width}.png`, fullPage: true });
  await context.close();
}

async function plays(page, cameras) {
  await page.waitForFunction(
    (n) => {
      const videos = [...document.querySelectorAll('video')];
      return videos.length === n && videos.every((v) => v.currentTime > 1 && !v.error);
    },
    cameras,
    { timeout: 60_000 },
  );
  const times = await page.evaluate(() =>
    [...document.querySelectorAll('video')].map((v) => v.currentTime));
  const drift = Math.max(...times) - Math.min(...times);
  assert.ok(drift < 0.1, `the cameras are ${drift} s apart`);
}

async function newestEvent(page) {
  await page.locator('[data-testid=event-row] a[href^="/events/"]').first().click();
  await page.waitForLoadState();
}

try {
  await as('kai', DESKTOP, async (page) => {
    await newestEvent(page);
    assert.equal(await page.locator('video').count(), 0, 'no picture before a purpose is named');
    await page.getByTestId('purpose-triage').check({ force: true });
    await page.getByTestId('watch').click();
    await plays(page, 2);
    await page.getByTestId('seen-entry').first().waitFor();
  });
  await as('dana', PHONE, async (page) => {
    assert.ok((await page.getByTestId('my-event').count()) > 0, 'the driver sees own events');
    await page.getByTestId('watch-mine').first().click();
    await plays(page, 2);
    const seen = await page.getByTestId('seen-by').innerText();
    assert.match(seen, /Kai Lindner/, 'the driver sees who looked');
  });
  await as('dana', PHONE, async (page) => {
    await page.locator('[data-testid=my-event][data-kind=harsh_braking] a').first().click();
    await page.getByTestId('contest-unfold').locator('summary').click();
    await page.getByTestId('contest-text').fill('A child ran between two cars.');
    await Promise.all([page.waitForNavigation(), page.getByTestId('contest').click()]);
    assert.match(await page.getByTestId('contest-state').innerText(), /Contested/);
    await page.goto(`${PORTAL}/score`);
    assert.match(await page.getByTestId('score-left-out').innerText(), /contested, not answered yet/);
    await page.screenshot({ path: `${SHOTS}/dana-score.png`, fullPage: true });
    await page.locator('[data-testid=scored][data-kind=speeding] a').first().click();
    await page.getByTestId('limit-unfold').locator('summary').click();
    await page.getByTestId('limit-kmh').fill('130');
    await Promise.all([page.waitForNavigation(), page.getByTestId('propose-limit').click()]);
    assert.match(await page.getByTestId('limit-state').innerText(), /Waits for a decision/);
  });
  await as('sam', DESKTOP, async (page) => {
    await page.goto(`${PORTAL}/drivers`);
    await page.getByTestId('waiting-objection').getByRole('link').first().click();
    await page.getByTestId('answer-text').fill('The clip shows it.');
    await Promise.all([page.waitForNavigation(), page.getByTestId('overturn').click()]);
    assert.match(await page.getByTestId('contest-answer').innerText(), /Overturned/);
    await page.goto(`${PORTAL}/drivers`);
    await page.getByTestId('driver').first().click();
    assert.match(await page.getByTestId('score-left-out').innerText(), /contested and overturned/);
  });
  await as('fay', DESKTOP, async (page) => {
    await page.getByTestId('unit').first().waitFor();
    assert.equal(await page.locator('a[href^="/events/"]').count(), 0, 'no events for an administrator');
    await page.goto(`${PORTAL}/limits`);
    await page.screenshot({ path: `${SHOTS}/fay-limits.png`, fullPage: true });
    await Promise.all([page.waitForNavigation(), page.getByTestId('accept').click()]);
    assert.match(await page.getByTestId('decided').innerText(), /130 km\/h[^]*Accepted/);
    assert.match(await page.getByTestId('overrides').innerText(), /\(1\)/);
  });
  await as('ada', DESKTOP, async (page) => {
    assert.ok((await page.getByTestId('log-row').count()) >= 2, 'the auditor sees both views');
  });
  // 'Check the proof', at both widths: the first time, the second time, and with another history kept.
  for (const viewport of [DESKTOP, PHONE]) {
    await as('dana', viewport, async (page) => {
      const check = async (at) => {
        await page.getByTestId('check-proof').nth(at).click();
        const result = page.getByTestId('proof-result').nth(at);
        await result.and(page.locator('.good, .wrong')).waitFor({ timeout: 20_000 });
        return result;
      };
      await page.goto(`${PORTAL}/access-log`);
      assert.match(await (await check(0)).innerText(), /in the log \(entry \d+ of \d+\).*signature holds/);
      assert.match(await (await check(1)).innerText(), /has only grown since .* on this device/);
      await page.screenshot({ path: `${SHOTS}/proof-good-${viewport.width}.png`, fullPage: true });
      // As if this device had been shown other entries before.
      await page.evaluate(() => {
        const kept = JSON.parse(localStorage.getItem('temoin-log'));
        const lines = kept.note.split('\n');
        lines[2] = btoa('x'.repeat(32));
        localStorage.setItem('temoin-log', JSON.stringify({ ...kept, note: lines.join('\n') }));
      });
      const wrong = await check(0);
      assert.match(await wrong.innerText(), /Warning: The log has two histories/);
      assert.equal(await wrong.getByTestId('evidence').count(), 2, 'both checkpoints can be kept');
      await page.screenshot({ path: `${SHOTS}/proof-wrong-${viewport.width}.png`, fullPage: true });
      // A longer log than the server's, and another key.
      await page.evaluate(() => {
        const kept = JSON.parse(localStorage.getItem('temoin-log'));
        const lines = kept.note.split('\n');
        lines[1] = '100000';
        localStorage.setItem('temoin-log', JSON.stringify({ ...kept, note: lines.join('\n') }));
      });
      assert.match(await (await check(1)).innerText(), /has become shorter/);
      // The browser says in its console that the server has no such proof.
      problems.splice(0, problems.length, ...problems.filter((p) => !/404/.test(p)));
      await page.evaluate(() => {
        const kept = JSON.parse(localStorage.getItem('temoin-log'));
        localStorage.setItem('temoin-log', JSON.stringify({ ...kept, key: 'other' }));
      });
      assert.match(await (await check(1)).innerText(), /another key/);
    });
  }
  await as('mia', PHONE, async (page) => {
    await page.getByTestId('empty').first().waitFor();
  });
  await as('sam', PHONE, async (page) => {
    assert.ok((await page.getByTestId('event-row').count()) > 0);
  });
  assert.deepEqual(problems, [], 'errors in the console');
  console.log('browser: ok');
} finally {
  await browser.close();
}
