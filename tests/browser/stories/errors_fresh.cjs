// Nothing was reported yet; then something hostile arrives by itself, and is text; then all is quiet.
module.exports = async ({ page, host, open, look, expect }) => {
  expect((await open("/errors")) === 200, "the list is there");
  await page.getByRole("heading", { name: "No error has arrived yet" }).waitFor();
  await page.getByRole("link", { name: "Set up an application" }).waitFor();
  await look("errors-first");
  await host("report");
  // Without a reload it is there, and said once.
  await page.getByRole("link", { name: "<script>alert(1)</script>" }).waitFor();
  await page.getByText("<img src=x onerror=alert(").first().waitFor();
  await page.getByRole("link", { name: /^Errors ?1/ }).first().waitFor();
  expect((await page.locator("main img, main script").count()) === 0, "titles are text");
  await page.getByRole("link", { name: "<script>alert(1)</script>" }).click();
  await page.getByRole("heading", { name: "<script>alert(1)</script>" }).waitFor();
  expect((await page.locator("main img, main script").count()) === 0, "titles are text here, too");
  await look("error-hostile");
  await host("resolve");
  await open("/errors");
  await page.getByRole("heading", { name: "Nothing needs attention" }).waitFor();
  await page.getByText(/the last event came/).waitFor();
  await look("errors-quiet");
  await page.getByRole("link", { name: "Show all errors" }).click();
  await page.getByText("Resolved by hand").waitFor();
};
