// An operator sees how everything is, runs a probe before and after a repair, adds one and deletes it.
module.exports = async ({ page, host, open, look, expect }) => {
  expect((await open("/health")) === 200, "the page is there");
  await page.getByRole("heading", { name: "Lux can do its work" }).waitFor();
  for (const name of ["Database", "Disk", "Intake of errors", "Log sources", "Model"]) {
    await page.getByRole("heading", { name, exact: true }).first().waitFor();
  }
  await page.getByText("Has not run yet").waitFor();
  const run = page.getByRole("button", { name: "Run now: shop front" });
  await run.click();
  await page.getByRole("status").getByText(/shop front: Fails/).waitFor();
  await host("fix");
  await run.click();
  await page.getByRole("status").getByText(/shop front: Passes/).waitFor();
  await page.getByRole("img", { name: "1 of the last 2 results passed" }).waitFor();

  // Another probe: what is wrong with it stands at its fields.
  await page.getByRole("button", { name: "Add probe" }).first().click();
  const dialog = page.getByRole("dialog", { name: "Add a probe" });
  await dialog.getByLabel("Path").fill("checkout");
  await dialog.getByLabel("Expected status").fill("200");
  await look("health-add");
  await dialog.getByRole("button", { name: "Add probe" }).click();
  await dialog.getByText(/^Name is 1 to 100 characters/).waitFor();
  await dialog.getByText("An http probe needs a path that begins with /.").waitFor();
  expect((await dialog.getByLabel("Path").inputValue()) === "checkout", "what was typed is kept");
  await look("health-mistakes");
  await dialog.getByLabel("Name").fill("checkout <page>");
  await dialog.getByLabel("Path").fill("/checkout");
  await dialog.getByRole("button", { name: "Add probe" }).click();
  await page.getByText("Probe checkout <page> added").waitFor();
  await page.getByRole("button", { name: "Run now: checkout <page>" }).click();
  await page.getByRole("status").getByText(/checkout <page>: Passes/).waitFor();
  await look("health");

  // By itself the page goes on telling how it is.
  const before = await page.getByText(/answered in [\d.]+ ms/).textContent();
  await page.waitForFunction((was) => !document.body.textContent.includes(was), before);

  await page.getByRole("link", { name: "checkout <page>", exact: true }).click();
  await page.getByRole("heading", { name: "Results" }).waitFor();
  await look("health-results");
  await page.getByRole("link", { name: "All probes" }).click();
  await page.getByRole("button", { name: "Delete checkout <page>" }).click();
  await page.getByRole("button", { name: "Delete probe" }).click();
  await page.getByText("Probe checkout <page> deleted; its results stay").waitFor();
  expect((await page.getByRole("button", { name: "Run now: checkout <page>" }).count()) === 0, "it is still there");
  await page.getByRole("link", { name: "app", exact: true }).click();
  await page.getByText("a line", { exact: true }).waitFor();
};
