// An operator asks, watches the answer come, reloads in the midst of it, looks at a second
// browser, and follows a citation to its line; stops another answer, asks it again, finds the
// conversation in the history, renames, takes along and deletes it.
module.exports = async ({ page, lux, host, open, look, expect, context }) => {
  const log = page.getByRole("log", { name: "Messages" });
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  const end = () => log.evaluate((it) => it.scrollHeight - it.scrollTop - it.clientHeight);

  expect((await open("/chat")) === 200, "the chat is there");
  await page.getByRole("heading", { name: "What should Lux look at?" }).waitFor();
  await look("chat-empty");

  // A link from elsewhere brings the words; a draft is kept.
  await open("/chat?ask=Tell%20me%20about%20baskets");
  expect((await composer.inputValue()) === "Tell me about baskets", "the words are there");
  await host("answer");
  await composer.press("Enter");
  const going = page.getByRole("article", { name: "Answer of Lux, under way" });
  await going.getByText("Paragraph 3 says").waitFor();
  expect(/\/chat\/\d+$/.test(page.url()), page.url());
  const stop = page.getByRole("button", { name: "Stop" });
  await stop.waitFor();
  expect((await going.getAttribute("aria-busy")) === "true", "busy");
  await look("chat-streaming");

  // Who scrolls up stays there.
  await log.hover();
  await page.mouse.wheel(0, -4000);
  await page.getByRole("button", { name: "Jump to latest" }).waitFor();
  const top = await log.evaluate((it) => it.scrollTop);

  // The composer takes the next question meanwhile, and the draft of another survives.
  await composer.fill("half a thought");

  // A second browser, and a reload, see the same answer under way.
  const second = await context.newPage();
  await second.goto(page.url());
  await second.getByRole("article", { name: /under way/ }).getByText("Paragraph 3 says").waitFor();
  await page.reload();
  await page.getByRole("article", { name: /under way/ }).getByText("Paragraph 3 says").waitFor();
  expect((await composer.inputValue()) === "half a thought", "the draft is kept");
  await composer.fill("");
  await log.hover();
  await page.mouse.wheel(0, -4000);
  await page.getByRole("button", { name: "Jump to latest" }).waitFor();
  const held = await log.evaluate((it) => it.scrollTop);
  await host("go on");
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true });
  await answer.getByText("The end.").waitFor();
  expect(Math.abs((await log.evaluate((it) => it.scrollTop)) - held) < 2, `it stays where it was read (${top})`);
  await second.getByRole("article", { name: "Answer of Lux", exact: true }).getByText("The end.").waitFor();
  for (const one of [page, second]) {
    const text = await one.getByRole("log").innerText();
    for (let number = 1; number <= 30; number += 1) {
      const count = text.split(`Paragraph ${number} says`).length - 1;
      expect(count === 1, `paragraph ${number}: ${count} times`);
    }
  }
  await second.close();
  await page.getByRole("button", { name: "Jump to latest" }).click();
  await page.waitForFunction(() => { const it = document.querySelector("[role=log]"); return it.scrollHeight - it.scrollTop - it.clientHeight < 50; });
  expect((await end()) < 50, "at the end");

  // What was looked at.
  const trail = answer.getByText(/^Looked at 1 source in 1 step, \d+\.\d s$/);
  await trail.click();
  await answer.getByText("Searched the logs").waitFor();
  await answer.getByText("text pricing").waitFor();

  // Nothing invented is a link, nothing is loaded, and it says so.
  await answer.getByText("1 unverified reference removed").waitFor();
  await answer.getByText("1 quotation is marked unproven").waitFor();
  const links = await answer.getByRole("link").evaluateAll((all) => all.map((it) => it.getAttribute("href")));
  expect(links.length === 2 && links.every((href) => /^#m\d+-e1$/.test(href)), links);
  expect((await page.locator("article img, article script").count()) === 0, "text stays text");
  await answer.getByText("<script>alert('y')</script>").waitFor();

  // A citation opens its line beside the answer, and the keyboard comes back.
  const cited = answer.getByRole("link", { name: "Source 1: app line 3" }).first();
  await cited.focus();
  await page.keyboard.press("Enter");
  const card = page.getByRole("article", { name: "Source 1: app" });
  expect(await card.evaluate((it) => it === document.activeElement), "the card has the focus");
  const lines = card.getByRole("group", { name: "app, lines" });
  expect((await lines.innerText()).includes("basket 17 was opened"), "lines around it");
  expect((await card.getByRole("mark").or(lines.locator("mark")).innerText()).includes("KeyError: 'sku'"), "marked");
  await log.evaluate((it) => { it.scrollTop = 0; });
  await look("chat-evidence");
  await page.keyboard.press("Escape");
  expect(await cited.evaluate((it) => it === document.activeElement), "the citation has it again");
  const inLogs = await card.getByRole("link", { name: "Open in logs" }).getAttribute("href");
  expect(/^\/logs\?source=app&at=.+&record=[-0-9a-f]+-3$/.test(inLogs), inLogs);

  // On a phone the evidence is a sheet.
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("link", { name: "Evidence 1" }).click();
  await card.waitFor();
  await look("chat-phone-evidence");
  await page.getByRole("link", { name: "Close evidence" }).click();
  await page.setViewportSize({ width: 1280, height: 900 });

  // Stopped with Esc: what was said is kept, and it can be asked again.
  await host("hang");
  await composer.fill("Tell me more of it");
  await page.keyboard.press("Enter");
  await page.getByRole("article", { name: /under way/ }).getByText("One two").waitFor();
  await host("say");
  await composer.fill("And how is it now, friend?");
  await page.keyboard.press("Enter");
  await page.getByText("Next: And how is it now, friend?").waitFor();
  await page.getByRole("button", { name: "Do not send it" }).click();
  expect((await composer.inputValue()) === "And how is it now, friend?", "it is taken back");
  await composer.fill("");
  await page.keyboard.press("Escape");
  const last = page.getByRole("article", { name: "Answer of Lux", exact: true }).last();
  await last.getByText("Stopped", { exact: true }).waitFor();
  await last.getByText("One two three").waitFor();
  await look("chat-stopped");
  await last.getByRole("button", { name: "Retry" }).click();
  await page.getByText("All is well now.", { exact: true }).waitFor();
  const asked = (words) => page.getByRole("article", { name: "Your question" }).filter({ hasText: words });
  expect((await asked("Tell me more of it").count()) === 1, "asked once");
  expect((await page.getByText("One two three").count()) === 0, "the stopped answer is gone");

  // The last question in other words.
  await page.reload();
  await page.getByRole("link", { name: "Edit and resend" }).click();
  await page.getByText("Your last question; its answer is replaced.").waitFor();
  expect((await composer.inputValue()) === "Tell me more of it", "the old words");
  await host("say");
  await composer.fill("Tell me less of it");
  await composer.press("Enter");
  await asked("Tell me less of it").waitFor();
  await page.getByText("All is well now.", { exact: true }).waitFor();
  expect((await asked("Tell me more of it").count()) === 0, "replaced");

  // The history.
  await page.getByRole("link", { name: "History" }).first().click();
  const history = page.getByRole("dialog", { name: "Chat history" });
  await history.getByRole("link", { name: "Tell me about baskets" }).waitFor();
  await look("chat-history");
  await history.getByRole("searchbox", { name: "Search chats" }).fill("no such words");
  await history.getByText("Nothing matches").waitFor();
  await history.getByRole("searchbox", { name: "Search chats" }).fill("paragraph 17");
  await history.getByRole("link", { name: "Tell me about baskets" }).waitFor();
  await history.getByRole("button", { name: "Close" }).click();
  await page.locator("summary[aria-label=More]").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export as Markdown" }).click()]);
  const fs = require("node:fs");
  const text = fs.readFileSync(await download.path(), "utf8");
  expect(text.startsWith("# Tell me about baskets") && text.includes("- [1] app:3 `KeyError"), text.slice(0, 400));
  await page.getByText("Rename chat").click();
  await page.getByRole("textbox", { name: "New title" }).fill("Baskets");
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByRole("heading", { name: "Baskets", level: 1 }).waitFor();
  await page.getByText("Renamed.").waitFor();
  await open("/chat/history");
  await page.getByRole("button", { name: "Delete Baskets" }).click();
  await page.getByRole("button", { name: "Delete chat" }).click();
  await page.getByText("No chats yet").waitFor();
  await look("chat-history-empty");
};
