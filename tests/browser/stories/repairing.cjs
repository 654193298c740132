// An operator looks at what a repair would do, lets it run, and watches: first the error goes on
// failing, then somebody mends the page while the checks run.
module.exports = async ({ page, host, open, look, expect }) => {
  const long = { timeout: 60000 };
  await open("/repairs");
  await page.getByRole("heading", { name: "No repair has run yet" }).waitFor();
  await look("repairs-empty");
  await host("it fails");
  // The list hears of it by itself.
  const button = page.getByRole("button", { name: "Repair 1 open error" });
  await button.waitFor(long);
  await button.click();
  await page.getByRole("heading", { name: "What a repair would do" }).waitFor();
  await page.getByText("Check GET /cart").waitFor();
  expect(await page.getByText("Nothing has been checked or run yet").isVisible(), "nothing is run before");
  await look("repair-preview");
  await page.getByRole("button", { name: "Start the repair" }).click();

  // Nobody mends it.
  const row = page.getByRole("article", { name: /KeyError/ });
  await row.getByText("Still failing").waitFor(long);
  await row.getByText(/^500 failed/).first().waitFor();
  await row.getByText("Internal Server Error").first().waitFor();
  await page.getByRole("list", { name: "What happened" }).getByText("Finished").waitFor();
  const green = () => page.getByRole("main").evaluate((main) => [...main.querySelectorAll("*")]
    .filter((it) => it.checkVisibility() && getComputedStyle(it).color === "rgb(74, 222, 155)")
    .map((it) => it.outerHTML.slice(0, 120)));
  expect((await green()).length === 0, `green: ${await green()}`);
  await look("repair-failing");

  // Once more, and now it is mended while the checks run.
  await row.getByRole("button", { name: /^Repair again/ }).click();
  const mended = host("mend it");
  const state = page.getByRole("main").getByText(/^Probing \d of 3$/);
  await state.waitFor(long);
  await mended;
  await look("repair-live");
  await row.getByText("Resolved", { exact: true }).waitFor(long);
  await row.getByText(/^500 failed/).waitFor();
  await row.getByText(/^200 passed/).waitFor();
  await row.getByText(/Evidence \d+/).waitFor();
  expect((await green()).length > 0, "what is proven is green");
  await look("repair-resolved");

  // A citation leads to what was captured.
  const quote = page.getByRole("list", { name: "Evidence for the diagnosis" }).getByRole("link");
  if (await quote.count()) {
    const to = await page.request.get(new URL(await quote.first().getAttribute("href"), page.url()).href, { maxRedirects: 0 });
    expect(to.status() === 303 && /^\/(errors|logs)/.test(to.headers().location), `leads to ${to.headers().location}`);
  }
  // The report is there to be taken along.
  const report = await page.getByRole("link", { name: "Download the report" }).getAttribute("href");
  const answer = await page.request.get(new URL(report, page.url()).href);
  expect((await answer.text()).includes("1 of 1 error resolved"), await answer.text());

  await open("/repairs");
  await page.getByRole("cell", { name: /^Run 2/ }).waitFor();
  await page.getByRole("heading", { name: "Under watch" }).waitFor();
  await page.getByRole("link", { name: "GET /cart" }).waitFor();
  await look("repairs");
};
