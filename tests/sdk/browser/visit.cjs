// Opens a page in Chromium, clicks as a person would, and waits until the SDK has sent all.
// visit.cjs CHROMIUM PROFILE URL CLICKS
const { chromium } = require("playwright-core");

const [executablePath, profile, url, clicks] = process.argv.slice(2);

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
  page.on("pageerror", (error) => failed.push(String(error)));
  await page.goto(url);
  for (let click = 0; click < Number(clicks); click++) await page.click("#buy");
  await page.evaluate(() => window.told());
  await context.close();
  console.log(JSON.stringify({ failed }));
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
