// The demonstration from its link to the proof, with a mouse alone: nothing is typed.
module.exports = async ({ page, open, host, expect, look, lux }) => {
  const long = { timeout: 60000 };
  page.keyboard.press = page.keyboard.type = () => { throw new Error("a mouse has no keys"); };
  await open(await host("link"));
  await page.getByRole("button", { name: "Become the administrator" }).click();
  await page.waitForURL(`${lux}/`);
  const tile = page.getByRole("link", { name: /^Errors to look at/ });
  await tile.getByText(/^[1-9]\d* groups?$/).waitFor();
  await look("demo-home");

  // What is wrong? The answer cites lines, and a citation opens its line.
  await page.getByRole("main").getByRole("link", { name: /Start a chat/ }).click();
  await page.getByRole("button", { name: "What is wrong?" }).click();
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true });
  await answer.waitFor(long);
  const cited = answer.getByRole("link", { name: /^Source \d+:/ }).first();
  await cited.click();
  await page.getByRole("article", { name: /^Source \d+:/ }).first().waitFor();
  await look("demo-answer");

  // The shop's error is chosen and repaired.
  await page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link", { name: /^Errors/ }).click();
  await page.getByRole("checkbox", { name: /OperationalError.*checkout/ }).first().click();
  await page.getByRole("button", { name: "Repair 1" }).click();
  await page.waitForURL(/\/repairs\/\d+/);

  // Lux shows exactly what it would run, and waits.
  const approve = page.getByRole("button", { name: /^Approve/ });
  await approve.waitFor(long);
  await page.getByText(/touch .*start-database/).first().waitFor();
  await look("demo-approval");
  await approve.click();
  await page.getByRole("main").getByText("Resolved", { exact: true }).first().waitFor(long);
  await page.getByRole("main").getByText(/^200 passed/).first().waitFor();
  await look("demo-resolved");

  // The error says the same, with its evidence.
  await page.getByRole("main").getByRole("link", { name: /OperationalError/ }).first().click();
  await page.getByText("Resolved, verified", { exact: true }).first().waitFor();
  expect(/\/errors\/\d+/.test(page.url()), page.url());
  await look("demo-error");
};
