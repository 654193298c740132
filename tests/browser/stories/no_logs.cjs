// The log that Lux was told of is not there yet; when its program begins to write, lines appear.
module.exports = async ({ page, host, open, look, expect }) => {
  expect((await open("/logs")) === 200, "the logs are there");
  await page.getByRole("heading", { name: "None of the logs can be read yet" }).waitFor();
  await page.getByRole("cell", { name: "not there", exact: true }).waitFor();
  // What is read does not jump while the page builds up; 0.1 is the bound of Lighthouse's best mark.
  const moved = await page.evaluate(async () => {
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    const seen = new PerformanceObserver(() => {});
    seen.observe({ type: "layout-shift", buffered: true });
    return seen.takeRecords().reduce((sum, shift) => sum + shift.value, 0);
  });
  expect(moved < 0.1, `the page moved by ${moved}`);
  await look("logs-none");
  await host("begin");
  await page.getByText("the first line").waitFor();
  expect((await page.getByRole("heading", { name: "None of the logs can be read yet" }).count()) === 0, "the empty state went");
  // Nothing that was ever said matches this; the way out is offered.
  await page.getByRole("searchbox", { name: "Find in the logs" }).fill("no such words");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.getByRole("heading", { name: "Nothing matches" }).waitFor();
  await look("logs-nothing");
  await page.getByRole("link", { name: "Show all lines" }).click();
  await page.getByText("the first line").waitFor();
};
