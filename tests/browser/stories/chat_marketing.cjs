// An operator asks the chat who signed up, looks at what the number rests on, and has it draft a
// campaign, which nobody gets unasked.
module.exports = async ({ page, host, open, look, expect }) => {
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  const answer = (number) => page.getByRole("article", { name: "Answer of Lux", exact: true }).nth(number);
  const ask = async (words) => {
    await composer.fill(words);
    await composer.press("Enter");
  };

  await open("/chat");
  await ask("Who signed up this week, and from where?");
  await answer(0).getByText("4 contacts signed up in the last 7 days").waitFor();
  await answer(0).getByText("webinar: 3").waitFor();
  await answer(0).getByText("form: 1").waitFor();

  // The number leads to the statement that counted it, and the keyboard comes back.
  const cited = answer(0).getByRole("link", { name: /^Source 1/ }).first();
  await cited.focus();
  await page.keyboard.press("Enter");
  const card = page.getByRole("article", { name: /^Source 1/ });
  await card.getByText("select count(").first().waitFor();
  expect((await card.getByRole("link", { name: "Open contacts" }).getAttribute("href")) === "/contacts", "no log holds it");
  await look("chat-audience");
  await page.keyboard.press("Escape");
  expect(await cited.evaluate((it) => it === document.activeElement), "the citation has the focus again");

  await ask("Write a Black Friday campaign for people who came from the webinar");
  await answer(1).getByText("is drafted").first().waitFor();
  await answer(1).getByText("3 contacts came from webinar").first().waitFor();
  await look("chat-campaign");
  await answer(1).getByRole("link", { name: "Open the draft" }).click();
  await page.waitForURL(/\/campaigns\/\d+$/);
  await page.getByRole("heading", { name: "Black Friday" }).first().waitFor();
  expect((await host("mails")) === "0", "nobody is written to");
};
