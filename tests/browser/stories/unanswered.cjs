// A customer asks, and the assistant does not answer: the page says what happens now.
module.exports = async ({ page, open, expect, host }) => {
  await open("/customers/me");
  await page.getByRole("textbox", { name: "Ask us" }).fill("Where is my order?");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.getByText("Where is my order?").first().waitFor();
  // Until then it says that it is being written, and that nobody need wait.
  await page.getByText("A person of our team will answer here.").waitFor({ timeout: 60000 });
  expect((await page.getByText("The assistant is writing.").count()) === 0, "it is given up");
  await page.getByRole("textbox", { name: "Your message" }).waitFor();
  expect((await host("asked")) > 0, "the assistant was asked");
};
