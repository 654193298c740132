// An operator follows the logs, pauses, finds, goes from error to error, filters, looks at a line
// in context, and loses the connection for a while.
module.exports = async ({ page, host, open, look, expect }) => {
  const find = page.getByRole("searchbox", { name: "Find in the logs" });
  const lines = page.getByRole("region", { name: "Log lines" });
  const number = (n) => lines.getByText(`number ${n}`, { exact: true });

  expect((await open("/logs?q=too+many+clients")) === 200, "the logs are there");
  await page.getByText(/^1 of \d+$/).waitFor();
  await look("logs");

  // Follow, pause, and catch up.
  await open("/logs");
  await host("talk", 500);
  await number(50).waitFor();
  await page.keyboard.press("Space");
  await page.getByText(/^Paused, [\d\u202f]+ new$/).waitFor();
  const before = await lines.getByText(/^number \d+$/).last().textContent();
  await page.getByText(/^Paused, [2-9]\d\d new$/).waitFor();
  expect((await lines.getByText(/^number \d+$/).last().textContent()) === before, "paused, and yet it moves");
  await look("logs-paused");
  await page.keyboard.press("Space");
  await page.getByText("Following", { exact: true }).first().waitFor();
  const written = await host("hush");
  await number(written - 1).waitFor();
  // None is missing, none is there twice.
  const shown = (await lines.getByText(/^number \d+$/).allTextContents()).map((text) => Number(text.slice(7)));
  expect(shown.every((value, index) => index === 0 || value === shown[index - 1] + 1), `not in a row: ${shown.find((value, index) => index > 0 && value !== shown[index - 1] + 1)}`);

  // Find, by keys alone.
  await page.keyboard.press("/");
  await page.keyboard.type("too many clients");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=too\+many\+clients/);
  // From error to error; what is not loaded is looked through as well.
  await page.keyboard.press("Shift+E");
  await page.getByText("Error", { exact: false }).first().waitFor();
  const chosen = () => page.evaluate(() => document.activeElement.textContent);
  await page.waitForFunction(() => document.activeElement?.matches("li"));
  const first = await chosen();
  await page.keyboard.press("Shift+E");
  await page.waitForFunction((was) => document.activeElement.textContent !== was, first);
  await page.keyboard.press("e");
  await page.waitForFunction((was) => document.activeElement.textContent === was, first);

  // A bad expression is told at the field.
  await find.fill("(open");
  await page.getByRole("checkbox", { name: "Regular expression" }).check();
  await page.getByText("This is no valid regular expression: unclosed group.").waitFor();
  expect((await find.getAttribute("aria-invalid")) === "true", "the field is not marked");
  await look("logs-expression");

  // Filter, then the full stream around one of what was found.
  await open("/logs?q=too+many+clients&mode=filter");
  await page.waitForFunction(() => document.querySelectorAll("#rows li").length > 5);
  expect((await lines.getByText("GET /cart").count()) === 0, "the filter lets others through");
  const line = lines.getByText("checkout failed").last();
  await line.click();
  await page.getByRole("button", { name: "Copy link" }).waitFor();
  await look("logs-line");
  await page.getByRole("link", { name: "View in context" }).click();
  await page.waitForURL(/record=/);
  await page.getByRole("link", { name: "Follow from now" }).waitFor();
  expect((await lines.getByText("pool exhausted").count()) > 0, "what stood around is not there");
  const marked = lines.getByRole("listitem").filter({ hasText: "checkout failed" });
  expect((await marked.count()) > 0, "the line is not there");
  await look("logs-context");

  // A link leads to the line; when the memory has lost it, the page says so and what to do.
  const gone = new URL(page.url());
  gone.searchParams.set("record", "abc-12");
  gone.searchParams.set("at", new Date(Date.now() - 600000).toISOString());
  gone.searchParams.set("source", "app");
  await open(gone.pathname + gone.search);
  await page.getByText("This line has left Lux's memory").waitFor();
  await page.getByText(/^sed -sn '1,32p' /).waitFor();
  await look("logs-gone");

  // Jump to a time, in the viewer's own zone.
  await open("/logs");
  await page.getByRole("button", { name: "Jump to time" }).click();
  const then = new Date(Date.now() - 900000);
  const two = (it) => String(it).padStart(2, "0");
  const local = await page.evaluate((at) => {
    const time = new Date(at);
    // A browser writes a full minute without its seconds, and refuses to be told otherwise.
    return `${lux.day(time)}T${lux.clock(time)}`.replace(/:00$/, "");
  }, then.getTime());
  await page.getByLabel("Date and time").fill(local);
  await look("logs-jump");
  await page.getByRole("button", { name: "Jump", exact: true }).click();
  await page.waitForURL(/at=/);
  const at = new Date(new URL(page.url()).searchParams.get("at"));
  expect(Math.abs(at - then) < 1000, `${at} is not ${then}, ${two(1)}`);

  // The connection is lost: it is said, and what was missed arrives. The countdown stands still, so
  // that it is the button that brings the stream back and not the page by itself a moment before.
  await open("/logs");
  await page.getByText("Following", { exact: true }).first().waitFor();
  await page.evaluate(() => { window.ticking = window.setInterval; window.setInterval = () => 0; });
  await host("cut");
  const lost = page.getByText(/The stream is lost/);
  await lost.waitFor();
  await look("logs-lost");
  const missed = async (text) => {
    const now = new Date().toISOString().slice(0, 23).replace("T", " ").replace(".", ",");
    await host("append", { log: "app", text: `${now} INFO shop: ${text}\n` });
    await host("join");
  };
  await missed("said while nobody heard");
  await page.getByRole("button", { name: "Try now" }).click();
  await lines.getByText("said while nobody heard").waitFor();
  await lost.waitFor({ state: "hidden" });

  // And by itself, when nobody presses anything.
  await page.evaluate(() => { window.setInterval = window.ticking; });
  await host("cut");
  await lost.waitFor();
  await missed("said while nobody looked");
  await lines.getByText("said while nobody looked").waitFor();
  await lost.waitFor({ state: "hidden" });
};
