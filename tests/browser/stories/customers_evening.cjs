// The customer reads what the team wrote, and closes the conversation.
module.exports = async ({ page, open, look, expect }) => {
  expect((await open("/customers/me")) === 200, "they are there");
  await page.getByRole("link", { name: /^When do you open/ }).click();
  await page.getByText("Of course: at three.").waitFor();
  expect((await page.getByText("Wants a call at three.").count()) === 0, "notes are the team's");
  await look("customer-answered");
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByText("Closed", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Open it again" }).waitFor();
};
