// A customer sees none of it.
module.exports = async ({ page, open, expect }) => {
  const paths = ["/repairs", "/repairs/1", "/approvals", "/settings", "/settings/people",
    "/settings/tokens", "/settings/apps", "/settings/model", "/settings/ledger", "/settings/audit",
    "/settings/about"];
  for (const path of paths) {
    expect((await open(path)) === 403, `${path} is served`);
    expect((await page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link").count()) <= 2, "the navigation is shown");
  }
  // Their own page is what there is.
  expect((await open("/")) === 200 && page.url().endsWith("/customers/me"), page.url());
};
