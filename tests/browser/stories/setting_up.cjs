// An administrator invites somebody, changes roles, makes and ends tokens, adds an application
// and rotates its key, and reads what was done.
module.exports = async ({ page, host, open, look, expect }) => {
  const sure = (name, button) => page.getByRole("dialog", { name }).getByRole("button", { name: button, exact: true }).click();
  const lacks = async (secret) => {
    for (const path of ["/settings", "/settings/people", "/settings/tokens", "/settings/audit"]) {
      await open(path);
      expect(!(await page.content()).includes(secret), `${path} shows the secret again`);
    }
  };

  await open("/settings");
  await page.getByText("This browser").waitFor();
  await look("settings");

  // People.
  await open("/settings/people");
  await page.getByLabel("E-mail (optional)").fill("ada@example.com");
  await page.getByRole("button", { name: "Create the invitation" }).click();
  const link = (await page.getByText(/\/auth\/link\//).innerText()).trim();
  await look("settings-people-link");
  await lacks(link.split("/").pop());
  await open("/settings/people");
  await page.getByText("ada@example.com").waitFor();
  await page.getByLabel("E-mail (optional)").fill("ada@nowhere");
  await page.getByRole("combobox", { name: "Role", exact: true }).selectOption("customer");
  await page.getByRole("button", { name: /^Withdraw/ }).click();
  await page.getByText("The invitation is withdrawn").waitFor();
  await page.getByRole("combobox", { name: "Role of operator" }).selectOption("customer");
  await page.getByRole("button", { name: "Change role of operator" }).click();
  await page.getByText("operator is customer now").waitFor();
  await page.getByRole("button", { name: "Deactivate operator" }).click();
  await sure("Deactivate operator?", "Deactivate");
  await page.getByText("operator is deactivated; their sessions are ended").waitFor();
  await look("settings-people");
  await page.getByRole("button", { name: "Reactivate operator" }).click();
  await page.getByText("operator may sign in again").waitFor();
  // The last administrator stays one.
  await page.getByRole("combobox", { name: "Role of admin" }).selectOption("operator");
  await page.getByRole("button", { name: "Change role of admin" }).click();
  await page.getByText("this is the last active administrator").waitFor();

  // Tokens.
  await open("/settings/tokens");
  await page.getByLabel("Name").fill("deploys");
  await page.getByLabel("What it may do").selectOption("read");
  await page.getByRole("button", { name: "Create the token" }).click();
  const token = (await page.getByText(/^lux_[\w-]{40,}$/).innerText()).trim();
  await look("settings-token-made");
  expect((await host("use", token)) === 200, "the token works");
  await lacks(token);
  await open("/settings/tokens");
  await page.getByText("deploys").first().waitFor();
  await look("settings-tokens");
  await page.getByRole("button", { name: "Revoke deploys" }).click();
  await sure("Revoke deploys?", "Revoke");
  await page.getByText("The token is revoked").waitFor();
  expect((await host("use", token)) === 401, "the token is refused");
  await page.getByLabel("Name").fill(" ");
  await page.getByRole("button", { name: "Create the token" }).click();
  await page.getByRole("alert").getByText("a token needs a name").waitFor();
  await look("settings-token-wrong");

  // Applications.
  await open("/settings/apps");
  await page.getByRole("heading", { name: "No application yet" }).waitFor();
  await look("settings-apps-empty");
  await page.getByLabel("Name").fill("shop");
  await page.getByLabel("Address (optional)").fill("ftp://shop");
  await page.getByRole("button", { name: "Add the application" }).click();
  await page.getByRole("alert").getByText(/base_url is the http/).waitFor();
  await page.getByLabel("Address (optional)").fill("http://127.0.0.1:8000");
  await page.getByRole("button", { name: "Add the application" }).click();
  await page.getByText("shop is added").waitFor();
  const dsn = (await page.getByText(/^http:\/\/[0-9a-f]{32}@/).first().innerText()).trim();
  await page.getByText("sentry_sdk.init").first().waitFor();
  expect((await host("report", dsn)) === 200, "the DSN takes events");
  await page.getByLabel("Name of a new key").fill("second");
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByText("Key second is made").waitFor();
  await page.getByRole("button", { name: "Revoke key first" }).click();
  await sure("Revoke the key first?", "Revoke");
  await page.getByText("The key is revoked").waitFor();
  expect([401, 403].includes(await host("report", dsn)), "the old key is refused");
  await page.getByLabel("Events a minute").fill("120");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("shop is changed").waitFor();
  await page.getByRole("rowheader", { name: "accepted" }).waitFor();
  await look("settings-app");
  await open("/settings/apps");
  await page.getByText("at most 120 events a minute").waitFor();
  await look("settings-apps");
  await page.getByRole("link", { name: "shop", exact: true }).click();
  await page.getByRole("button", { name: "Archive shop" }).click();
  await sure("Archive shop?", "Archive");
  await page.getByText("shop is archived").waitFor();

  // The model.
  await open("/settings/ledger");
  await page.getByRole("heading", { name: "Nothing has left this host" }).waitFor();
  await look("settings-ledger-empty");
  await host("ask the model");
  await open("/settings/model");
  await page.getByText("Last call answered").waitFor();
  await look("settings-model");
  await page.getByRole("link", { name: "Open the ledger" }).click();
  await look("settings-ledger");
  await page.getByRole("table").getByRole("link").first().click();
  await page.getByText("why is the cart slow?").first().waitFor();
  await look("settings-ledger-one");

  // What was done.
  await open("/settings/audit");
  await page.getByText("Whole", { exact: true }).waitFor();
  await look("settings-audit");
  await page.getByRole("link", { name: "token.create" }).first().click();
  await page.getByRole("cell", { name: "token.create" }).first().waitFor();
  expect((await page.getByRole("cell", { name: /^account\./ }).count()) === 0, "the filter filters");
  await page.getByLabel("Deed begins with").fill("nothing.");
  await page.getByRole("button", { name: "Filter" }).click();
  await page.getByRole("heading", { name: "No entry matches" }).waitFor();
  await look("settings-audit-none");
  await open("/settings/about");
  await page.getByRole("rowheader", { name: "repair.actions" }).waitFor();
  expect(!(await page.content()).includes("sk-scripted"), "the key is hidden");
  await look("settings-about");
};
