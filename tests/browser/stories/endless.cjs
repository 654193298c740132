// Every page is opened while the model and a provider keep Lux waiting: each shows what there is,
// that there is nothing, or what failed and where to go; none goes on loading.
const SOON = 10000;

module.exports = async ({ page, host, open, expect }) => {
  page.setDefaultNavigationTimeout(SOON);
  // What is under way says so; what only loads has to end.
  const idle = () => !document.querySelector(".htmx-request, [aria-busy=true]:not(#now)");
  for (const path of await host("pages")) {
    const status = await open(path);
    expect(status < 500, `${path}: ${status}`);
    await page.waitForFunction(idle, null, { timeout: SOON }).catch(() => expect(false, `${path} goes on loading`));
    const main = page.locator("main");
    // Parts of pages have none.
    if ((await main.count()) > 0) {
      const text = (await main.innerText()).trim();
      expect(text.length > 0, `${path} is empty`);
      await page.getByRole("heading", { level: 1 }).first().waitFor({ timeout: SOON });
      const ways = await main.locator("a, button").count();
      expect(status < 400 || ways > 0, `${path}: ${status}, and no next step: ${text}`);
    }
    await host("seen", { path, status });
  }

  // An answer of the chat that does not come is given up, says why, and can be asked for again.
  await open("/chat");
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  await composer.fill("what is wrong?");
  await composer.press("Enter");
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true }).last();
  await answer.getByText("The model gave no answer").waitFor({ timeout: SOON });
  await answer.getByRole("button", { name: "Retry" }).waitFor({ timeout: SOON });
  expect((await page.locator("[aria-busy=true]").count()) === 0, "nothing is under way any more");
};
