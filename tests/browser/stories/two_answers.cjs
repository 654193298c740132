// The model sees another cause than the advisor: both stand side by side, with what would tell
// which is right, and so they do for whoever comes later.
module.exports = async ({ page, open, look, expect }) => {
  await open("/chat");
  await page.getByRole("radio", { name: "Diagnose" }).check();
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  await composer.fill("what is wrong?");
  await composer.press("Enter");
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true });
  const versus = answer.getByRole("region", { name: "Advisor and model disagree" });
  const told = async () => {
    await versus.getByRole("heading", { name: "Two answers" }).waitFor();
    const sides = await versus.locator(".side-by").allInnerTexts();
    expect(sides.length === 2, sides);
    expect(/Built-in advisor/.test(sides[0]) && /PostgreSQL/.test(sides[0]) && /confirmed/i.test(sides[0]), sides[0]);
    expect(/disk/i.test(sides[1]) && /not proven/i.test(sides[1]), sides[1]);
    // The pack's own numbers mean nothing here.
    expect(!/\[\d+\]/.test(sides[1]), sides[1]);
    await versus.getByText(/^What would tell: room \(/).waitFor();
    return sides.join("\n");
  };
  const first = await told();
  await look("chat-two-answers");
  await page.reload();
  expect((await told()) === first, "it is kept");
};
