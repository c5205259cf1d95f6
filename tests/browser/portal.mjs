// The portal in a real browser: every role signs in, looks, and plays. Run by tests/browser.rs.
// PORTAL: https://localhost:PORT, PASSWORD: everybody's, SHOTS: a folder for screenshots.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
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
/** A file that left the fleet. */
let leak;
/** Secret and last step of everybody who has a second factor. */
const factors = new Map();
/** What `sign_in.step_up_after_s` is here, with room. */
const FRESH_MS = 10_500;

function unbase32(text) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...text].map((c) => letters.indexOf(c).toString(2).padStart(5, '0')).join('');
  return Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

/** The next code of an authenticator app that is never asked twice in a step. */
function code(login) {
  const factor = factors.get(login);
  factor.step = Math.max(factor.step + 1, Math.floor(Date.now() / 30_000));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(factor.step));
  const tag = createHmac('sha1', factor.secret).update(counter).digest();
  const at = tag[19] & 15;
  return String((tag.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

async function notWide(page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${what}: the page is ${wide} px wider than the screen`);
}

async function shot(page, name) {
  await notWide(page, name);
  await page.screenshot({ path: `${SHOTS}/${name}-${page.viewportSize().width}.png`, fullPage: true });
}

/** Sets a second factor up, or gives its code: whatever is asked after the password. */
async function secondFactor(page, login) {
  if (page.url().endsWith('/second-factor')) {
    const secret = (await page.getByTestId('secret').textContent()).replace(/\s/g, '');
    factors.set(login, { secret: unbase32(secret), step: 0 });
    assert.ok(await page.getByTestId('squares').isVisible(), 'a code to scan');
    assert.equal(await page.locator('nav a').count(), 0, 'nowhere to go before');
    await shot(page, 'second-factor');
    await page.getByTestId('code').fill(code(login));
    await Promise.all([page.waitForNavigation(), page.getByTestId('confirm-factor').click()]);
    assert.equal(await page.getByTestId('recovery-code').count(), 8);
    await shot(page, 'recovery-codes');
    await Promise.all([page.waitForNavigation(), page.getByTestId('kept').click()]);
  } else if (page.url().endsWith('/sign-in/code')) {
    await shot(page, 'code');
    await page.getByTestId('code').fill(code(login));
    await Promise.all([page.waitForNavigation(), page.getByTestId('give-code').click()]);
  }
}

/** Password or code again, for whatever waits for it. */
async function stepUp(page, given) {
  await page.getByTestId('step-up').fill('not the password');
  await Promise.all([page.waitForNavigation(), page.getByTestId('step-up-go').click()]);
  await page.getByTestId('step-up-problem').waitFor();
  await shot(page, 'step-up');
  await page.getByTestId('step-up').fill(given);
  await page.getByTestId('step-up-go').click();
}

/** Everybody's browser, signed in once: a code counts once, and nobody has one for every sign-in. */
const people = new Map();

async function signedIn(login) {
  // The demo fleet's own CA is not in the browser's store.
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: DESKTOP });
  const page = await context.newPage();
  await page.goto(`${PORTAL}/sign-in`);
  await page.getByTestId('login').fill(login);
  await page.getByTestId('password').fill(PASSWORD);
  await Promise.all([page.waitForNavigation(), page.getByTestId('sign-in').click()]);
  await secondFactor(page, login);
  await page.close();
  const person = { context, at: Date.now() };
  people.set(login, person);
  return person;
}

async function as(login, viewport, look) {
  const person = people.get(login) ?? await signedIn(login);
  const page = await person.context.newPage();
  await page.setViewportSize(viewport);
  // A wrong code and being asked again are answered with a status that the console notes.
  const noted = /status of 40[13]/;
  page.on('console', (m) => m.type() === 'error' && !noted.test(m.text()) && problems.push(`${login}: ${m.text()}`));
  page.on('pageerror', (e) => problems.push(`${login}: ${e.message}`));
  await page.goto(PORTAL);
  await look(page, () => page.waitForTimeout(Math.max(0, person.at + FRESH_MS - Date.now())));
  await notWide(page, login);
  await page.screenshot({ path: `${SHOTS}/${login}-${viewport.width}.png`, fullPage: true });
  await page.close();
  // The password may have been asked for up to now.
  person.at = Date.now();
}

/** Does something that may ask for the password once more first; gives what `done` waited for. */
async function sensitive(page, act, done) {
  await act();
  const again = page.getByTestId('step-up');
  const asked = await Promise.race([again.waitFor().then(() => true), done.then(() => false)]);
  if (asked) {
    await again.fill(PASSWORD);
    await page.getByTestId('step-up-go').click();
  }
  return done;
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
  // Taking a recording away: asked again, signed, downloaded; the list of sessions; a stolen cookie.
  await as('dana', PHONE, async (page, notFresh) => {
    await page.locator('[data-testid=my-event] a').first().click();
    await page.getByTestId('export-unfold').locator('summary').click();
    await notFresh();
    await Promise.all([page.waitForNavigation(), page.getByTestId('export-road').click()]);
    await page.getByTestId('step-up-page').waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      stepUp(page, PASSWORD),
    ]);
    assert.match(download.suggestedFilename(), /-road\.mp4$/);
    assert.ok((await stat(await download.path())).size > 10_000, 'the file holds the recording');
    await page.goto(`${PORTAL}/account`);
    assert.match(await page.getByTestId('this-session').locator('..').innerText(), /Chrome on Linux/);
    await shot(page, 'account');
    // The same cookie in another client of the same name: pages, but no picture.
    const event = await page.evaluate(async () => {
      const page = await (await fetch('/my')).text();
      return page.match(/\/events\/[0-9a-f-]{36}/)[0];
    });
    const cookies = await page.context().cookies();
    const thief = await browser.newContext({ ignoreHTTPSErrors: true, viewport: DESKTOP });
    await thief.addCookies(cookies);
    const stolen = await thief.newPage();
    await stolen.goto(`${PORTAL}${event}`);
    await stolen.getByTestId('watch').click();
    const said = stolen.locator('#gate-problem');
    await said.waitFor();
    assert.match(await said.innerText(), /the one that signed in/);
    assert.equal(await stolen.locator('video').count(), 0, 'no picture for a stolen cookie');
    await thief.close();
    await page.goto(`${PORTAL}/my`);
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
  await as('sam', DESKTOP, async (page) => {
    await newestEvent(page);
    assert.equal(await page.getByTestId('export-unfold').count(), 0, 'no export by one alone');
    const ask = page.getByTestId('ask-export');
    await ask.locator('summary').click();
    await ask.locator('select').selectOption('collision');
    await ask.getByTestId('ask-words').fill('The insurer asks for it.');
    await Promise.all([page.waitForNavigation(), ask.getByTestId('ask-send').click()]);
    assert.match(await page.getByTestId('asks').innerText(), /Export a file[^]*Waiting/);
    assert.equal(await page.getByTestId('grant').count(), 0, 'nobody is their own second person');
    await page.screenshot({ path: `${SHOTS}/sam-requests.png`, fullPage: true });
  });
  await as('pia', PHONE, async (page) => {
    await page.goto(`${PORTAL}/requests`);
    await page.screenshot({ path: `${SHOTS}/pia-requests.png`, fullPage: true });
    const held = page.getByTestId('asks').getByText('Holds').waitFor();
    await sensitive(page, () => page.getByTestId('grant').click(), held);
  });
  await as('sam', DESKTOP, async (page) => {
    await newestEvent(page);
    await page.getByTestId('export-unfold').locator('summary').click();
    const downloaded = page.waitForEvent('download');
    const ask = () => page.getByTestId('export-road').click();
    const download = await sensitive(page, ask, downloaded);
    leak = await readFile(await download.path());
    assert.ok(leak.length > 10_000, `an export of ${leak.length} bytes`);
    await page.screenshot({ path: `${SHOTS}/sam-event.png`, fullPage: true });
  });
  // What Sam took away is seen where it should not be.
  await as('ada', DESKTOP, async (page) => {
    await page.goto(`${PORTAL}/traces`);
    assert.equal(await page.getByTestId('trace-file').count(), 0, 'no file without a second person');
    await page.getByTestId('trace-words').fill('On a video site since this morning.');
    const waits = page.getByTestId('trace-wait').waitFor();
    await sensitive(page, () => page.getByTestId('trace-ask-send').click(), waits);
    await shot(page, 'traces-waiting');
  });
  await as('pia', PHONE, async (page) => {
    await page.goto(`${PORTAL}/requests`);
    const nothing = page.getByTestId('waiting').getByText('Nothing waits').waitFor();
    await sensitive(page, () => page.getByTestId('grant').click(), nothing);
  });
  await as('ada', DESKTOP, async (page) => {
    await page.goto(`${PORTAL}/traces`);
    await shot(page, 'traces-hand-in');
    await page.getByTestId('trace-file').setInputFiles({ name: 'leak.mp4', mimeType: 'video/mp4', buffer: leak });
    await Promise.all([page.waitForNavigation(), page.getByTestId('trace-send').click()]);
    await shot(page, 'trace-runs');
    await page.waitForFunction(
      () => !document.querySelector('meta[http-equiv=refresh]'),
      undefined,
      { timeout: 400_000 },
    );
    const said = await page.getByTestId('trace-said').innerText();
    assert.equal(await page.getByTestId('report-html').count(), 1, `the trace gives no report: ${said}`);
    assert.match(await page.getByTestId('trace-said').innerText(), /opened by Sam Ortiz, safety manager/);
    await shot(page, 'trace-ended');
    for (const [kind, begins] of [['html', '<!doctype html>'], ['pdf', '%PDF-']]) {
      const downloaded = page.waitForEvent('download');
      await page.getByTestId(`report-${kind}`).click();
      const report = await readFile(await (await downloaded).path());
      assert.ok(report.toString('latin1').toLowerCase().startsWith(begins.toLowerCase()), kind);
      await writeFile(`${SHOTS}/report.${kind}`, report);
    }
    const alone = await browser.newPage();
    await alone.goto(`file://${SHOTS}/report.html`);
    assert.match(await alone.getByText('What this does not show').innerText(), /./);
    for (const viewport of [DESKTOP, PHONE]) {
      await alone.setViewportSize(viewport);
      await shot(alone, 'report');
    }
    await alone.close();
  });
  await as('pia', PHONE, async (page) => {
    await page.goto(`${PORTAL}/traces`);
    assert.match(await page.getByTestId('trace').innerText(), /Ended[^]*Sam Ortiz/);
    await shot(page, 'traces');
  });
  await as('dana', PHONE, async (page) => {
    await page.goto(`${PORTAL}/access-log`);
    const log = await page.getByTestId('log').innerText();
    assert.match(log, /taken away as a file[^]*Sam Ortiz/);
    assert.match(log, /Granted as the second person: export a file[^]*Pia Laurent/);
    assert.match(log, /Asked a second person: export a file[^]*Sam Ortiz/);
    assert.match(log, /Recording opened[^]*road camera \d+[^]*Kai Lindner/, 'how long is told');
    assert.match(log, /viewings compared with a leaked file[^]*Ada Brandt/);
    await page.screenshot({ path: `${SHOTS}/dana-log.png`, fullPage: true });
  });
  await as('ada', DESKTOP, async (page) => {
    assert.ok((await page.getByTestId('log-row').count()) >= 2, 'the auditor sees both views');
  });
  // Somebody looks while the driver has the log open: it stands there without a reload, and what
  // was opened below stays open.
  await as('dana', PHONE, async (page) => {
    await page.goto(`${PORTAL}/access-log`);
    const rows = page.getByTestId('log-row');
    const [count, newest] = [await rows.count(), await rows.first().getAttribute('data-entry')];
    await page.getByTestId('check-proof').first().click();
    await page.getByTestId('proof-result').and(page.locator('.good')).waitFor();
    await as('kai', DESKTOP, async (watching) => {
      await newestEvent(watching);
      await watching.getByTestId('purpose-triage').check({ force: true });
      await watching.getByTestId('watch').click();
      await plays(watching, 2);
    });
    const fresh = page.locator('[data-testid=log-row].fresh');
    await fresh.filter({ hasText: /Recording opened[^]*Kai Lindner/ }).first().waitFor();
    assert.ok(await rows.count() > count, 'the older ones are still there');
    assert.notEqual(await rows.first().getAttribute('data-entry'), newest);
    await fresh.filter({ hasText: /road camera \d+/ }).first().waitFor();
    assert.equal(await page.getByTestId('proof-result').count(), 1);
    await page.evaluate(() => localStorage.removeItem('temoin-log'));
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
      // At the next width it is a device that has seen nothing yet.
      await page.evaluate(() => localStorage.removeItem('temoin-log'));
    });
  }
  await as('mia', PHONE, async (page) => {
    await page.getByTestId('empty').first().waitFor();
  });
  await as('sam', PHONE, async (page) => {
    assert.ok((await page.getByTestId('event-row').count()) > 0);
  });
  await as('sam', DESKTOP, async (page, notFresh) => {
    await page.getByTestId('account-link').click();
    assert.match(await page.getByTestId('codes-left').innerText(), /8 recovery codes/);
    await shot(page, 'account');
    await notFresh();
    await Promise.all([page.waitForNavigation(), page.getByTestId('new-codes').click()]);
    await stepUp(page, PASSWORD);
    await page.getByTestId('recovery-page').waitFor();
    await page.goto(`${PORTAL}/access-log`);
    const log = await page.getByTestId('log').innerText();
    for (const act of [/Signed in/, /Second factor set up/, /New recovery codes/, /before a sensitive act/]) {
      assert.match(log, act);
    }
  });
  assert.deepEqual(problems, [], 'errors in the console');
  console.log('browser: ok');
} finally {
  await browser.close();
}
