// Scripts are off: what is there to read is there, and forms work.
module.exports = async ({ context, lux, look }) => {
  const page = await context.newPage();
  await page.route("**/*.js*", (route) => route.abort());
  await page.goto(`${lux}/`);
  await page.getByRole("heading", { name: "Agents" }).waitFor();
  await page.goto(`${lux}/setup`);
  await page.getByRole("button", { name: "Send a test error" }).click();
  await page.waitForURL(/\/errors\?q=LuxTestError$/);
  await page.goto(`${lux}/more`);
  await page.getByRole("navigation", { name: "All pages" }).getByRole("link", { name: "Repairs" }).waitFor();
  await look("more", page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/auth/sign-in*");
  await look("sign-in", page);
};
