// An administrator looks after customers: the numbers, who waits, an answer, notes, a role, calls.
module.exports = async ({ page, host, open, look, expect }) => {
  const customer = await host("customer");
  expect((await open("/interactions")) === 200, "the page is there");
  const figures = page.locator("dl.figures");
  for (const name of ["Conversations", "Calls", "New contacts", "Errors", "Repairs"]) {
    await figures.getByText(name, { exact: true }).waitFor();
  }
  await page.getByText("Waits for a person").waitFor();
  await look("interactions");
  await page.getByRole("link", { name: "Closed" }).click();
  await page.getByText("None of these").waitFor();
  await page.getByRole("link", { name: "Waiting" }).click();

  // Who waits is answered.
  await page.getByRole("link", { name: /^When do you open/ }).click();
  await page.getByText("They wait for a person of the team.").waitFor();
  await page.getByText("Can somebody call me?").waitFor();
  await page.getByRole("textbox", { name: "Answer as the team" }).fill("Of course: at three.");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Of course: at three.").waitFor();
  await page.getByText("With the team").waitFor();
  await look("conversation-team");

  // The customer's page.
  await page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link", { name: "Customers" }).click();
  await page.getByRole("heading", { name: "Customers", level: 1 }).waitFor();
  await page.getByRole("row").filter({ hasText: "Analytical Engines" }).waitFor();
  await look("customers");
  await page.getByRole("searchbox", { name: "Search customers" }).fill("nobodyhere");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.getByText("Nobody fits").waitFor();
  await page.getByRole("link", { name: "Show everybody" }).click();
  // Words are indexed a moment after they are written.
  for (let tries = 0; tries < 100; tries += 1) {
    await open("/customers?q=analytical");
    if ((await page.getByRole("row").filter({ hasText: "Analytical Engines" }).count()) === 1) break;
  }
  await page.getByRole("row").filter({ hasText: "Analytical Engines" }).getByRole("link").click();
  await page.getByRole("region", { name: "Conversations" }).getByRole("link", { name: /^When do you open/ }).waitFor();
  await page.getByRole("link", { name: "offer.txt" }).waitFor();
  await page.getByRole("link", { name: /KeyError/ }).waitFor();
  await page.getByRole("textbox", { name: "Note" }).fill("Wants a call at three.");
  await page.getByRole("button", { name: "Add note" }).click();
  await page.getByText("Wants a call at three.").waitFor();
  await look("customer-team");
  await page.getByLabel("Role").selectOption("operator");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("Saved").waitFor();
  expect((await page.getByLabel("Role").inputValue()) === "operator", "the role is stored");
  await page.getByLabel("Role").selectOption("customer");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("Saved").waitFor();
  expect(page.url().includes(`/customers/${customer}`), page.url());

  // Calls.
  await open("/interactions/calls");
  await page.getByText("No call yet").waitFor();
  await host("call");
  await open("/interactions/calls");
  await page.getByText("1:01", { exact: true }).waitFor();
  await look("calls");
  await page.getByRole("link", { name: "+442079460018" }).click();
  await page.getByText("hello, who is there?").waitFor();
  await look("call");

  // The agents at one look.
  await open("/settings/agents");
  expect((await page.getByRole("link", { name: /^Schedule of/ }).count()) === 11, "eleven");
  await look("settings-agents");
  await page.getByRole("button", { name: "Switch off Analytics & Optimization" }).click();
  await page.getByRole("button", { name: "Switch on Analytics & Optimization" }).click();
  await page.getByRole("button", { name: "Switch off Analytics & Optimization" }).waitFor();
};
