// An operator comes home to a fresh Lux, looks around with the mouse and with keys alone.
module.exports = async ({ page, open, look, expect, host, context, lux }) => {
  expect((await open("/")) === 200, "home is there");
  await page.getByRole("heading", { level: 1, name: /^(Good|Still)/ }).waitFor();
  for (const [group, count] of [["Run the app", 3], ["Create", 4], ["Convert and keep", 4]]) {
    await page.getByRole("heading", { name: group }).waitFor();
    expect(count > 0);
  }
  const agents = await page.locator("[data-agent]").count();
  expect(agents === 11, `${agents} agents`);
  await page.getByRole("link", { name: /Ask Lux/ }).first().waitFor();
  await look("home-fresh");

  // The keyboard's list opens and closes, and focus comes back.
  await page.keyboard.press("?");
  const keys = page.getByRole("dialog", { name: "Keyboard" });
  await keys.getByText("Search or jump to").waitFor();
  await look("keys");
  await page.keyboard.press("Escape");
  expect(!(await keys.isVisible()), "Escape closes the list");

  // The palette: letters, arrows, Enter.
  await page.keyboard.press("Control+k");
  const sought = page.getByRole("combobox", { name: "Search or jump to" });
  await sought.fill("set-up");
  await page.getByRole("option", { name: /^Set-up/ }).waitFor();
  await look("palette");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/setup");
  await page.getByRole("heading", { level: 1, name: "Set up Lux" }).waitFor();

  // What is not there is named, and so is what is read.
  await page.getByRole("listitem").filter({ hasText: "later.log" }).getByText("Not there").waitFor();
  await page.getByRole("listitem").filter({ hasText: "app.log" }).getByText(/^Read/).waitFor();
  await look("setup");

  // A test error goes the way of all errors; the badge beside "Errors" hears of it.
  await page.getByRole("button", { name: "Send a test error" }).click();
  await page.waitForURL(/\/errors\?q=LuxTestError$/);
  await open("/");
  const tile = page.getByRole("link", { name: /^Errors to look at/ });
  await tile.getByText("1 group").waitFor();

  // An error that comes meanwhile shows without a reload, in the tile and in the navigation.
  await host("report");
  await tile.getByText("2 groups").waitFor();
  await page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link", { name: /Errors\s*2/ }).waitFor();
  await look("home");

  // No link of these pages leads nowhere.
  for (const from of ["/", "/setup", "/more"]) {
    await open(from);
    const links = await page.locator("a[href^='/']").evaluateAll((all) => [...new Set(all.map((it) => it.getAttribute("href")))]);
    expect(links.length > 8, `${from} has ${links.length} links`);
    for (const link of links) {
      const answer = await page.request.get(new URL(link, lux).href);
      expect(answer.status() === 200, `${from} leads to ${link}: ${answer.status()}`);
    }
  }
  await open("/");

  // Keys alone: "g" and then a letter.
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.waitForURL((url) => url.pathname === "/");

  // Without a connection the page says so, and takes up again by itself.
  await context.setOffline(true);
  await page.getByText("Lux does not answer").waitFor();
  await look("home-lost");
  await host("report");
  await context.setOffline(false);
  await page.getByText("Lux does not answer").waitFor({ state: "hidden" });
  await tile.getByText("3 groups").waitFor();
};
