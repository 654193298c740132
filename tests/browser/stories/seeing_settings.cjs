// An operator sees what is about them, and nothing that is for administrators.
module.exports = async ({ page, open, look, expect }) => {
  await open("/settings");
  const nav = page.getByRole("navigation", { name: "Settings" });
  await nav.waitFor();
  for (const name of ["People", "API tokens", "Audit"]) {
    expect((await nav.getByRole("link", { name }).count()) === 0, `${name} is shown`);
  }
  for (const path of ["/settings/people", "/settings/tokens", "/settings/audit", "/settings/audit/check"]) {
    expect((await open(path)) === 403, `${path} is served`);
  }
  await open("/settings/apps");
  expect((await page.getByRole("button", { name: "Add the application" }).count()) === 0, "apps are added by admins");
  await open("/settings/about");
  expect((await page.getByRole("table").count()) === 0, "settings are for admins");
  await look("settings-about-operator");
  await open("/settings/model");
  await page.getByText("Not set up").waitFor();
  await look("settings-model-off");
  await open("/repairs");
  expect((await page.getByText("Stop all actions").count()) === 0, "the switch is for admins");
  await open("/settings");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/auth\/sign-in/);
};
