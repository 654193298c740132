// The log that Lux was told of is not there yet; when its program begins to write, lines appear.
module.exports = async ({ page, host, open, look, expect }) => {
  expect((await open("/logs")) === 200, "the logs are there");
  await page.getByRole("heading", { name: "None of the logs can be read yet" }).waitFor();
  await page.getByRole("cell", { name: "not there", exact: true }).waitFor();
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
