// Signs in and out in Chromium, as a person would.
// browse.cjs CHROMIUM PROFILE LUX
const { chromium } = require("playwright-core");

const [executablePath, profile, lux] = process.argv.slice(2);

(async () => {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const page = await context.newPage();
  const failed = [];
  page.on("console", (message) => {
    if (message.text().includes("Content Security Policy")) failed.push(message.text());
  });
  // Cookies know no ports: the provider's are there as well.
  const cookies = async () =>
    (await context.cookies(lux))
      .filter(({ name }) => name.startsWith("lux"))
      .map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
  const status = async () => (await page.goto(`${lux}/openapi.json`)).status();
  const told = { before: await status() };

  await page.goto(`${lux}/auth/sign-in?next=/openapi.json`);
  told.link = await page.textContent("main a");
  await Promise.all([page.waitForURL(`${lux}/openapi.json`), page.click("main a")]);
  told.inside = await status();
  told.cookies = await cookies();
  told.readable = await page.evaluate(() => document.cookie);

  // A page of another site cannot sign anybody out, by a link or by a form.
  await page.goto("data:text/html,<a id=out>out</a><form method=post><button>out</button></form>");
  const leave = `${lux}/auth/replit_auth/replit-logout`;
  await page.evaluate((leave) => {
    document.querySelector("#out").href = leave;
    document.querySelector("form").action = leave;
  }, leave);
  await Promise.all([page.waitForURL(leave), page.click("button")]);
  told.afterForm = await status();
  await page.goto("data:text/html,<a id=out>out</a>");
  await page.evaluate((leave) => (document.querySelector("#out").href = leave), leave);
  await Promise.all([page.waitForURL(leave), page.click("#out")]);
  told.afterLink = await status();

  // The page that such a link shows has a button, which leads on to the provider and back.
  await page.goto("data:text/html,<a id=out>out</a>");
  await page.evaluate((leave) => (document.querySelector("#out").href = leave), leave);
  await Promise.all([page.waitForURL(leave), page.click("#out")]);
  told.errors = [...failed];
  await Promise.all([page.waitForURL(`${lux}/auth/sign-in`), page.click("main button")]);
  told.after = await status();
  told.left = await cookies();
  await context.close();
  console.log(JSON.stringify(told));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
