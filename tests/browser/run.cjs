// Lives through one story in headless Chromium.
// run.cjs CHROMIUM PROFILE LUX COOKIE STORY PICTURES LOOKS
// LOOKS is "no" where the same story is looked at on another database: pages are the same there.
//
// A story is a module that exports an async function. It is given:
//   page      a page of playwright, signed in (COOKIE "-": not signed in), 1280 pixels wide
//   lux       the server's address
//   host      asks the test in Rust to do something: `await host("break", {…})` gives its answer
//   open      opens a path and waits until it is there
//   look      takes pictures of the page, wide and narrow, and finds what is wrong with it
//   expect    throws unless its first argument holds
//   context   the browser's context, for a second page or to be offline
//   leave     names another origin that the person may go to (a provider's page)
// Whatever a page asks of another origin, what its policy blocks, and what a script throws, fails
// the story.
const { chromium } = require("playwright-core");
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const [executablePath, profile, lux, cookie, story, pictures, looks] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

async function host(ask, data = null) {
  tell({ ask, data });
  const { value, done } = await lines.next();
  if (done) throw new Error(`the test did not answer "${ask}"`);
  return JSON.parse(value);
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(typeof otherwise === "string" ? otherwise : JSON.stringify(otherwise));
}

(async () => {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    viewport: { width: 1280, height: 900 },
    reducedMotion: "reduce",
    timezoneId: "Europe/Berlin",
    // Axe is brought in by the driver; the server's policy is looked at as it is otherwise.
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  context.setDefaultTimeout(20000);
  if (cookie !== "-") {
    const [name, value] = cookie.split("=");
    await context.addCookies([{ name, value, url: lux, httpOnly: true, sameSite: "Lax" }]);
  }
  const wrong = [];
  let axing = false;
  const places = new Set();
  const leave = (origin) => places.add(origin);
  const watch = (page) => {
    page.on("pageerror", (error) => wrong.push(`a script threw: ${error.stack ?? error}`));
    page.on("console", (message) => {
      const text = message.text();
      if (!axing && /Content Security Policy|Trusted Type|TrustedHTML/.test(text)) wrong.push(text);
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      // A person may go there, a page of Lux may load nothing from there.
      const goes = places.has(url.origin) && (request.isNavigationRequest() || places.has(new URL(page.url()).origin));
      if (!goes && !["data:", "blob:", "about:"].includes(url.protocol) && url.origin !== lux) {
        wrong.push(`asked elsewhere: ${request.url()}`);
      }
    });
  };
  context.on("page", watch);
  context.pages().forEach(watch);
  const page = context.pages()[0] ?? (await context.newPage());

  const open = async (where, on = page) => {
    const answer = await on.goto(new URL(where, lux).href, { waitUntil: "load" });
    return answer.status();
  };

  /** Pictures at 1280 and 390 pixels; axe and overflow at both, overflow at 320 as well. */
  const look = async (name, on = page) => {
    if (looks === "no") return;
    const was = on.viewportSize();
    const found = [];
    for (const [width, height] of [[1280, 900], [390, 844], [320, 700]]) {
      await on.setViewportSize({ width, height });
      await on.waitForFunction(() => document.fonts.status === "loaded");
      const over = await on.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) found.push(`${name}, ${width} px wide: ${over} px too wide`);
      if (width === 320) continue;
      await on.screenshot({ path: path.join(pictures, `${name}-${width}.png`) });
      axing = true;
      const client = await context.newCDPSession(on);
      await client.send("Runtime.evaluate", { expression: axe });
      const run = "axe.run(document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa','best-practice']}).then(r => JSON.stringify(r.violations.map(v => [v.id, v.help, v.nodes.slice(0, 4).map(n => n.html.slice(0, 200) + ' :: ' + (n.failureSummary ?? '').slice(0, 300))])))";
      const { result, exceptionDetails } = await client.send("Runtime.evaluate", {
        expression: run, awaitPromise: true, returnByValue: true,
      });
      if (exceptionDetails) throw new Error(`axe: ${JSON.stringify(exceptionDetails)}`);
      await client.detach();
      axing = false;
      for (const [id, help, nodes] of JSON.parse(result.value)) {
        found.push(`${name}, ${width} px wide: ${id}: ${help}\n    ${nodes.join("\n    ")}`);
      }
    }
    await on.setViewportSize(was);
    if (found.length) throw new Error(found.join("\n"));
  };

  try {
    await require(path.resolve(story))({ page, lux, host, open, look, expect, context, leave });
    if (wrong.length) throw new Error(wrong.join("\n"));
  } catch (error) {
    const failed = path.join(pictures, `failed-${path.basename(story, ".cjs")}.png`);
    await page.screenshot({ path: failed }).catch(() => {});
    tell({ failed: `${error.stack ?? error}\nat ${page.url()}\n${wrong.join("\n")}` });
    await context.close();
    process.exit(1);
  }
  await context.close();
  tell({ done: true });
  process.exit(0);
})().catch((error) => {
  tell({ failed: String(error.stack ?? error) });
  process.exit(1);
});
