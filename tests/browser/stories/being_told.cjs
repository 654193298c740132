// Somebody sets up who is told what, tries it, is told of an error on an open page, and says that
// they look at it.
module.exports = async ({ page, open, look, expect, host }) => {
  await open("/settings/notifications");
  await page.getByText("Nobody is told").waitFor();
  await look("notifications-none");

  // The inbox.
  await page.getByRole("link", { name: "Add the inbox" }).click();
  await page.getByLabel("Name").fill("Us");
  await page.getByRole("button", { name: "Add the channel" }).click();
  await page.getByText(/"Us" is set up/).waitFor();

  // Mail; what is wrong is said beside what was written.
  await page.getByRole("link", { name: "Add mail" }).click();
  await page.getByLabel("Name").fill("Night watch");
  await page.getByLabel("Recipients, one a line").fill("ada@example.com\nnobody");
  await page.getByLabel("From", { exact: true }).fill("22:00");
  await page.getByLabel("To", { exact: true }).fill("07:00");
  await page.getByRole("button", { name: "Add the channel" }).click();
  await page.getByText("recipients[1]: has no @").waitFor();
  expect((await page.getByLabel("Name").inputValue()) === "Night watch", "what was written stays");
  await look("notifications-wrong");
  await page.getByLabel("Recipients, one a line").fill("ada@example.com");
  await page.getByRole("button", { name: "Add the channel" }).click();
  await page.getByText(/"Night watch" is set up/).waitFor();
  await page.getByRole("link", { name: "Night watch" }).click();
  expect((await page.getByLabel("From", { exact: true }).inputValue()) === "22:00", "it was saved");
  await look("notifications-edit");
  await open("/settings/notifications");
  await page.getByRole("button", { name: "Test Night watch" }).click();
  await page.getByText(/The test: failed: ada@example.com: mail is not set up/).waitFor();

  // Maintenance.
  await page.getByLabel("What is being done").fill("new disks");
  await page.getByLabel("To (UTC)").fill("2099-01-01T10:00");
  await page.getByLabel("From (UTC; empty: now)").fill("2020-01-01T10:00");
  await page.getByRole("button", { name: "Announce" }).click();
  await page.getByText(/to: at most 31 days/).waitFor();
  const soon = new Date(Date.now() + 3600e3).toISOString().slice(0, 16);
  await page.getByLabel("What is being done").fill("new disks");
  await page.getByLabel("To (UTC)").fill(soon);
  await page.getByLabel("Application (empty: all)").fill("bank");
  await page.getByRole("button", { name: "Announce" }).click();
  await page.getByText("Announced: what happens then").waitFor();
  await look("notifications-some");

  // An error arrives: this page says so, and the badge counts it.
  await host("error");
  await page.locator("#toasts").getByText(/New error in shop: KeyError/).waitFor();
  await page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link", { name: /Notifications\s*1/ }).click();
  await page.getByText("new", { exact: true }).waitFor();
  await look("inbox");
  await page.getByRole("link", { name: /who was told/ }).click();
  await page.getByRole("button", { name: "I look at it" }).click();
  await page.getByText(/looks at it, since/).waitFor();
  await look("notification-event");
  await open("/notifications");
  await page.getByRole("button", { name: "Mark all as read" }).click();
  await page.getByText("All of it is read").waitFor();
  expect((await page.getByRole("button", { name: "Mark all as read" }).count()) === 0, "nothing is left to read");
};
