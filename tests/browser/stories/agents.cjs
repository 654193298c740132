// The eleven agents: what their tiles say, a run with what it read, a draft that becomes a segment,
// and a pause that holds them all.
module.exports = async ({ page, open, look, expect, host }) => {
  await open("/");
  const tile = (key) => page.locator(`[data-agent="${key}"]`);
  for (const group of ["Run the app", "Create", "Convert and keep"]) {
    await page.getByRole("heading", { name: group }).waitFor();
  }
  const texts = await page.locator("[data-agent] .text").allInnerTexts();
  expect(texts.length === 11, `${texts.length} tiles`);
  expect(texts.filter((text) => text === "Has not run yet").length >= 10, texts);
  await page.getByRole("link", { name: /Ask Lux/ }).first().waitFor();
  await look("agents-home");

  // An agent that has not run says so, with what it reads.
  await tile("email_crm").click();
  await page.waitForURL("**/agents/email_crm");
  await page.getByRole("heading", { name: "Has not run yet" }).waitFor();
  await page.getByText("bounces and unsubscribes").waitFor();
  await look("agent-fresh");

  // It runs, and each finding leads to the row that it rests on.
  await page.getByRole("button", { name: "Run now" }).click();
  await page.getByRole("heading", { name: "What it found" }).waitFor();
  await page.getByText("1 of 5 contacts agreed to mail.").first().waitFor();
  await page.getByText("This is Lux's own template").waitFor();
  await look("agent-result");
  const cited = page.getByRole("link", { name: "Contacts by consent" }).first();
  await cited.click();
  await page.waitForURL(/#read-consent$/);
  await page.getByRole("region", { name: "Contacts by consent" }).waitFor();

  // A draft becomes a segment by a click, once.
  await page.getByRole("button", { name: /^Make the segment: From webinar/ }).click();
  await page.waitForURL(/\/agents\/runs\/\d+$/);
  await page.getByText("The segment is there").waitFor();
  await page.getByRole("link", { name: "Open it" }).waitFor();
  expect((await page.getByRole("button", { name: /^Make the segment: From webinar/ }).count()) === 0, "taken up once");
  await look("agent-run");

  // The tile says what the newest run came to.
  await open("/");
  const outcome = await host("outcome");
  expect((await tile("email_crm").locator(".text").innerText()) === outcome, outcome);

  // Pause all, after a question; every tile that is on says so, and Resume takes it back.
  await page.getByRole("button", { name: "Pause all" }).click();
  const sure = page.getByRole("dialog", { name: "Pause all schedules?" });
  await sure.getByRole("button", { name: "Pause all" }).click();
  await page.getByText("All schedules are paused").waitFor();
  const badges = await page.locator("[data-agent] .badge").allInnerTexts();
  expect(badges.filter((text) => text === "Paused").length === 10, badges);
  expect(badges.filter((text) => text === "Off").length === 1, badges);
  await look("agents-paused");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("button", { name: "Pause all" }).waitFor();
  expect((await page.locator("[data-agent] .badge", { hasText: "Paused" }).count()) === 0, "resumed");

  // Schedule and switch.
  await open("/agents/retention");
  await page.getByLabel(/^Five fields/).fill("0 9 * * 1");
  await page.getByLabel("Time zone").fill("Europe/Berlin");
  await page.getByRole("button", { name: "Save the schedule" }).click();
  await page.getByText("Saved").waitFor();
  expect((await page.getByLabel(/^Five fields/).inputValue()) === "0 9 * * 1", "kept");
  await page.getByRole("button", { name: "Switch it off" }).click();
  await page.getByText("Customer Retention is off").waitFor();
  expect(await page.getByRole("button", { name: "Run now" }).isDisabled(), "off does not run");
};
