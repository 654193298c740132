// Services are connected by going to their provider and coming back; cards tell how they are, what
// serves everybody is chosen, and what is disconnected keeps its card.
module.exports = async ({ page, open, look, expect, host, leave }) => {
  leave(await host("provider"));
  const card = (name) => page.getByRole("region", { name, exact: true });
  const press = (name, button) => card(name).getByRole("button", { name: `${button} ${name}` }).click();

  await open("/integrations");
  expect((await page.locator(".plug").count()) === 10, "ten cards");
  await card("GitHub").getByText("Not connected").waitFor();
  await look("connections-none");

  // There and back.
  await press("GitHub", "Connect");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.waitForURL("**/integrations?connected=github");
  await page.getByText(/GitHub is connected as /).waitFor();
  await card("GitHub").getByText("Connected", { exact: true }).waitFor();
  await press("GitHub", "Test");
  await page.getByText(/GitHub answers, and knows you as /).waitFor();

  // Somebody who changes their mind is told so, and nothing is connected.
  await press("Slack", "Connect");
  await page.getByRole("button", { name: "Deny" }).click();
  await page.getByRole("heading", { name: "Not connected" }).waitFor();
  await page.getByText("You did not allow it.").waitFor();
  await look("connection-refused");
  // What was used up is refused in words, not done twice.
  await page.reload();
  await page.getByText("used already, was begun elsewhere, or is too old").waitFor();
  await page.getByRole("link", { name: "To the connections" }).click();
  await card("Slack").getByText("Not connected").waitFor();

  // Several sites: one is chosen.
  await press("Jira", "Connect");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.getByText("Choose below where it works.").waitFor();
  await card("Jira").getByText("Choose a place").waitFor();
  await card("Jira").getByLabel("Where it works").selectOption({ label: "lab" });
  await card("Jira").getByRole("button", { name: "Choose" }).click();
  await page.getByText("Jira works there from now on").waitFor();
  await card("Jira").getByRole("link", { name: "lab" }).waitFor();

  // What serves everybody.
  const tickets = page.getByRole("listitem").filter({ hasText: "Open one ticket" });
  await tickets.getByLabel(/^Connection/).selectOption({ label: "Jira of Op (lab)" }).catch(async () => {
    await tickets.getByLabel(/^Connection/).selectOption({ index: 0 });
  });
  await tickets.getByLabel(/^Project/).fill("OPS");
  await tickets.getByRole("button", { name: "Save Tickets" }).click();
  await page.getByText("Tickets: saved").waitFor();
  await tickets.getByText("By itself", { exact: true }).first().waitFor();
  expect((await tickets.getByLabel(/^Project/).inputValue()) === "OPS", "kept");

  // A permission that was left out is named.
  await host("control", ["google", { withhold: ["https://www.googleapis.com/auth/drive.file"] }]);
  await press("Google Drive", "Connect");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.getByText("Not everything was allowed").waitFor();
  await card("Google Drive").getByText("Permission missing").waitFor();

  // A consent that ended over there says so, in words, and the card stays.
  await press("Dropbox", "Connect");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.getByText(/Dropbox is connected as /).waitFor();
  await host("end");
  await press("Dropbox", "Test");
  await page.getByText(/Dropbox has to be connected again/).waitFor();
  await card("Dropbox").getByText(/Sign-in expired|Revoked/).waitFor();
  await look("connections-some");

  // Disconnected after a question; the card says who it was.
  await press("GitHub", "Disconnect");
  const sure = page.getByRole("dialog", { name: "Disconnect GitHub?" });
  await sure.getByRole("button", { name: "Disconnect" }).click();
  await page.getByText("GitHub is disconnected, and told to forget the consent").waitFor();
  await card("GitHub").getByText("Not connected").waitFor();
  await card("GitHub").getByText("Was").waitFor();
};
