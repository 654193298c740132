// Nothing is registered: each card says how an administrator sets it up, with the address to copy.
module.exports = async ({ page, open, look, expect }) => {
  await open("/integrations");
  expect((await page.getByText("Not configured").count()) === 10, "ten cards");
  const first = page.getByRole("region", { name: "GitHub", exact: true });
  await first.getByText("/api/integrations/github/callback").waitFor();
  expect((await first.getByRole("button", { name: /Connect/ }).count()) === 0, "nothing to press");
  await look("connections-unregistered");
};
