// The demonstration from its link to the proof, with keys alone: nothing is clicked.
module.exports = async ({ page, open, host, expect, lux }) => {
  const long = { timeout: 60000 };
  page.mouse.click = () => { throw new Error("keys have no mouse"); };
  const { keyboard } = page;
  /** Goes on with Tab until something of this name has the focus, which can be seen. */
  const tabTo = async (name) => {
    for (let steps = 0; steps < 120; steps += 1) {
      const found = await page.evaluate(() => {
        const at = document.activeElement;
        if (at === document.body) return { name: "", ring: true };
        const style = getComputedStyle(at);
        const ring = style.outlineStyle !== "none" || !!at.closest(".field, .box, label");
        const label = at.labels?.[0]?.innerText ?? "";
        return { name: (at.getAttribute("aria-label") ?? "") + " " + (at.innerText ?? "") + " " + label, ring };
      });
      if (name.test(found.name)) {
        expect(found.ring, `the focus on ${found.name} cannot be seen`);
        return;
      }
      await keyboard.press("Tab");
    }
    throw new Error(`no ${name} by Tab`);
  };
  await open(await host("link"));
  await tabTo(/Become the administrator/);
  await keyboard.press("Enter");
  await page.waitForURL(`${lux}/`);

  // "c" for the chat; a question typed; Enter.
  await page.getByRole("link", { name: /^Errors to look at/ }).getByText(/^[1-9]\d* groups?$/).waitFor();
  await keyboard.press("c");
  await page.waitForURL(/\/chat$/);
  await tabTo(/Message Lux/);
  await keyboard.type("What is wrong?");
  await keyboard.press("Enter");
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true });
  await answer.waitFor(long);

  // "g e" for the errors; "j" down to the shop's, "x" selects it, "r" repairs.
  await page.evaluate(() => document.activeElement.blur());
  await keyboard.press("g");
  await keyboard.press("e");
  await page.waitForURL(/\/errors$/);
  await page.getByRole("checkbox", { name: /OperationalError.*checkout/ }).first().waitFor();
  const here = () => page.evaluate(() => document.activeElement.closest("[data-row]")?.innerText ?? "");
  for (let rows = 0; !/OperationalError[^]*checkout/.test(await here()); rows += 1) {
    expect(rows < 60, "no such row by j");
    await keyboard.press("j");
  }
  await keyboard.press("x");
  await page.getByRole("button", { name: "Repair 1" }).waitFor();
  await keyboard.press("r");
  await page.waitForURL(/\/repairs\/\d+/);
  await page.getByRole("button", { name: /^Approve/ }).waitFor(long);
  await tabTo(/^ ?Approve/);
  await keyboard.press("Enter");
  await page.getByRole("main").getByText("Resolved", { exact: true }).first().waitFor(long);
  await page.getByRole("main").getByText(/^200 passed/).first().waitFor();
};
