// An operator reads one error, follows its request through the logs, and decides about it.
module.exports = async ({ page, context, host, open, look, expect }) => {
  const { group, event, sdk } = await host("where");
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const copied = () => page.evaluate(() => navigator.clipboard.readText());

  await open(`/errors/events/${sdk}`);
  expect(page.url().endsWith(`/errors/${group}?event=${event}`), page.url());
  await page.getByRole("heading", { name: /Exhausted/ }).waitFor();
  await page.getByText("5, 5 users").waitFor();
  await page.getByRole("img", { name: /5 events in the last 24 hours/ }).waitFor();
  await look("error");

  // The application's own frames, the raise line marked; then all of them.
  const trace = page.getByRole("region", { name: "Traceback" });
  const frames = trace.getByRole("group").filter({ has: page.locator("summary") });
  await trace.getByText("raised here").first().waitFor();
  await trace.getByText("this line:").first().waitFor();
  await trace.getByText("raise Exhausted(self.size)").waitFor();
  expect(!(await trace.getByText("flask/app3.py").isVisible()), "foreign frames are folded away");
  await trace.getByText("shop/views.py").click();
  await trace.getByText("db = pool.connect()").waitFor();
  await trace.getByText("pool.checkedout").waitFor();
  await trace.getByText("All 15", { exact: true }).click();
  await trace.getByText("flask/app3.py").waitFor();
  expect((await frames.count()) === 15, `${await frames.count()} frames`);
  const source = await page.content();
  expect(!source.includes("hunter2hunter2") && source.includes("DATABASE_URL"), "the password is masked");
  expect(!source.includes("abcdefghijklmnop"), "the token is masked");
  await trace.getByRole("button", { name: "Copy traceback" }).click();
  await page.getByText("Copied").waitFor();
  const text = await copied();
  expect(text.includes("shop/views.py") && text.includes("all 15 connections are in use"), text);
  await page.getByRole("button", { name: "Copy as Markdown" }).click();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith("# Error"));
  await look("error-frames");

  // The same request in all logs.
  const request = page.getByRole("region", { name: "The same request in all logs" });
  await request.getByRole("link", { name: /POST \/checkout\?rid=7f3a91c2d4e8/ }).waitFor();
  const line = request.getByRole("link", { name: /pool has no free connection/ });
  expect((await line.getAttribute("href")).startsWith("/logs?record="), "it leads to the line");
  expect((await request.getByText("another request").count()) === 0, "only this request");
  await request.getByText("this event").waitFor();

  // Events before and after, tags and users.
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByRole("link", { name: "Newer" }).click();
  await page.waitForURL((url) => url.href.endsWith(`event=${event}`));
  await page.getByRole("link", { name: "14 days" }).click();
  await page.getByText("Last 14 days, by day in UTC").waitFor();
  await page.getByText("As a table").click();
  await page.getByRole("columnheader", { name: "Events" }).waitFor();
  const spread = page.getByRole("region", { name: "Whom and what it hits" });
  await spread.getByText("customer-2").waitFor();
  await spread.getByRole("progressbar", { name: "Firefox 128: 100 %" }).waitFor();
  const ask = await page.getByRole("link", { name: "Ask Lux" }).getAttribute("href");
  expect(ask.startsWith("/chat?ask=") && decodeURIComponent(ask).includes(`error+${group}`), ask);

  const timeline = page.getByRole("region", { name: "Repair timeline" });
  await timeline.getByText("Deploy v2.14", { exact: true }).waitFor();
  await timeline.getByText(/after deploy v2.14/).waitFor();

  // Muted and back, resolved with a reason and reopened: all of it is in the timeline.
  await page.getByRole("button", { name: "Mute", exact: true }).click();
  await page.getByText("1 error muted").waitFor();
  await page.getByRole("button", { name: "Unmute" }).click();
  await page.getByText("1 error reopened").waitFor();
  await page.getByRole("button", { name: "Resolve", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Resolve by hand" });
  await dialog.getByRole("textbox").fill("the pool has 40 connections now");
  await dialog.getByRole("button", { name: "Resolve" }).click();
  await timeline.getByText(/the pool has 40 connections now \(/).waitFor();
  await page.getByRole("button", { name: "Reopen" }).click();
  await timeline.getByText("Reopened").first().waitFor();
  await timeline.getByText("Muted", { exact: true }).waitFor();
  await look("error-decided");

  // One with a plain stack, one without any.
  const [plain, bare] = await host("plain");
  await open(`/errors/${bare}`);
  await page.getByText("The reporter told no traceback.").waitFor();
  await open(`/errors/${plain}`);
  await page.getByRole("group", { name: "Traceback as text" }).getByText("return PRICES[item]").waitFor();

  // Proven by checks that failed before; the page follows by itself. Then it comes back.
  await host("verify", plain);
  await page.getByText("Resolved, verified").waitFor();
  await timeline.getByText("Marked resolved").waitFor();
  await timeline.getByRole("row", { name: /500 failed 200 passed/ }).first().waitFor();
  // What can be done follows the state.
  await page.getByRole("button", { name: "Reopen" }).waitFor();
  expect((await page.getByRole("button", { name: "Re-test now" }).count()) === 0, "a proven error is not tested again");
  await look("error-verified");
  await host("again");
  await page.getByText("Regressed in v2.15").waitFor();
  await timeline.getByText("Came back").waitFor();

  // Split by what its events differ in, and one again.
  await page.getByText("Split this error").click();
  await page.getByLabel("By what its events differ in").selectOption("endpoint");
  await page.getByRole("button", { name: "Split", exact: true }).click();
  await page.getByRole("button", { name: "Split error" }).click();
  await page.getByText("Split by endpoint: new events count for its parts.").waitFor();
  await page.getByRole("button", { name: "Count as one error again" }).click();
  await page.getByText(/New events count for this error again/).waitFor();

  // Re-tested with a key.
  await open(`/errors/${group}`);
  await page.keyboard.press("r");
  await page.waitForURL(/\/repairs\/\d+$/);
};
