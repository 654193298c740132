// An operator comes home, looks at the keyboard's list and goes to another page with keys alone.
module.exports = async ({ page, open, look, expect }) => {
  expect((await open("/")) === 200, "home is there");
  await look("home");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
  await page.keyboard.press("Escape");
};
