// An administrator sees what everybody connected, and may end it.
module.exports = async ({ page, open, look }) => {
  await open("/integrations");
  await page.getByRole("link", { name: "Everybody's connections" }).click();
  await page.waitForURL("**/integrations/people");
  await page.getByText("Jira").first().waitFor();
  await look("connections-everybody");
  await page.getByRole("button", { name: /^Disconnect Jira of / }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
  await page.getByText("Jira is disconnected; take the access away there as well").waitFor();
};
