// Somebody without an account opens a page, is led to the sign-in, and comes in by the set-up
// link that the first start printed; the link works once.
module.exports = async ({ page, open, look, host, expect, lux }) => {
  await open("/setup?q=a%20b");
  await page.waitForURL(/\/auth\/sign-in\?next=%2Fsetup%3Fq%3Da%2520b$/);
  await page.getByText("lux login-link").waitFor();
  const link = await host("link");
  await open(link);
  await page.getByRole("heading", { name: "Set up Lux" }).waitFor();
  await look("link");
  await page.getByRole("button", { name: "Become the administrator" }).click();
  await page.waitForURL(`${lux}/`);
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  await open(link);
  await page.getByRole("heading", { name: "Not found" }).or(page.getByText(/link/)).first().waitFor();
  expect((await open("/no-such-page")) === 404, "nothing is there");
  await page.getByRole("link", { name: "To the start" }).waitFor();
  await look("nothing-here");
};
