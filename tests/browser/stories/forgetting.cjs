// An administrator hands over all there is about a customer, and forgets them.
module.exports = async ({ page, host, open, look, expect }) => {
  const customer = await host("customer");
  await open(`/customers/${customer}`);
  const rights = page.getByRole("region", { name: "Their rights" });
  const coming = page.waitForEvent("download");
  await rights.getByRole("button", { name: "Download everything" }).click();
  expect((await coming).suggestedFilename() === `customer-${customer}.json`, "a file comes");
  await rights.getByRole("button", { name: "Erase for good" }).click();
  const sure = page.getByRole("dialog", { name: /^Forget .* for good\?$/ });
  await sure.waitFor();
  await look("customer-forgetting");
  await sure.getByRole("button", { name: "Cancel" }).click();
  await sure.waitFor({ state: "hidden" });
  await rights.getByRole("button", { name: "Erase for good" }).click();
  await sure.getByRole("button", { name: "Erase for good" }).click();
  await page.getByText("Erased for good").waitFor();
  expect(new URL(page.url()).pathname === "/customers", page.url());
  expect((await open(`/customers/${customer}`)) === 404, "nobody is there");
};
