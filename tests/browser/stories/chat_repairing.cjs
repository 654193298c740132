// An operator asks for a repair without a model: the plan's action waits for a word, also after a
// reload; approved by a double click it runs once, and only probes make it green. Another error's
// action is rejected, its still failing page stays red, and what a person did by hand is tested.
module.exports = async ({ page, host, open, look, expect }) => {
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  const group = await host("group");
  await open("/chat");
  await page.getByText("Lux answers with its built-in advisor").waitFor();
  await page.getByRole("button", { name: "What is wrong?" }).click();
  const first = page.getByRole("article", { name: "Answer of Lux", exact: true }).first();
  await first.getByText("Fix plan").waitFor();
  await first.getByText(/^Looked at \d+ sources? in 1 step/).waitFor();
  await first.getByRole("button", { name: "I did this, re-test" }).first().waitFor();
  await look("chat-plan");
  await composer.fill("please fix the errors");
  await composer.press("Enter");
  const run = page.getByRole("region", { name: /^Repair \d+$/ }).last();
  await run.getByText("Needs approval").waitFor();
  await page.getByText("The report in words").waitFor();
  await page.reload();
  await run.getByText("Needs approval").waitFor();
  expect((await run.getByText("Resolved verified").count()) === 0, "nothing is green yet");
  await look("chat-approval");

  // Other values first, and those of before again: each is shown before anything runs.
  for (const value of ["paykit", "shopkit"]) {
    await run.getByText("Edit", { exact: true }).click();
    await run.getByLabel("what").selectOption(value);
    await look(`chat-edit-${value}`);
    await run.getByRole("button", { name: "Change the action" }).click();
    await run.getByText(new RegExp(`mend ${value}$`)).waitFor();
  }
  expect((await host("ran")) === 0, "nothing ran yet");
  await run.getByRole("button", { name: "Approve" }).dblclick();
  await run.getByText("Resolved verified").waitFor();
  await run.getByText("Passed").first().waitFor();
  expect((await host("ran")) === 1, "it ran once");
  expect((await host("state")) === "resolved", await host("state"));
  expect((await run.getByRole("cell", { name: /^500, \d+ ms$/ }).count()) > 0, "before");
  expect((await run.getByRole("cell", { name: /^200, \d+ ms$/ }).count()) > 0, "after");
  const link = await run.getByRole("link", { name: `View error ${group}` }).getAttribute("href");
  expect(link === `/errors/${group}`, link);
  await page.reload();
  await run.getByText("Resolved verified").waitFor();
  await look("chat-repaired");

  // Rejected: nothing runs, and what fails is not green.
  await host("break");
  await composer.fill("please fix the errors");
  await composer.press("Enter");
  await page.getByText("The report in words").nth(1).waitFor();
  await run.getByText("Needs approval").waitFor();
  await run.getByRole("button", { name: "Reject" }).click();
  await run.getByText("Still failing").first().waitFor();
  await run.getByText(/^Rejected by /).waitFor();
  await run.getByText("500").first().waitFor();
  expect((await run.getByText("Resolved verified").count()) === 0, "nothing is green");
  expect((await host("ran")) === 1, "nothing ran");
  expect((await host("deeds")).includes("action.reject"), "it is in the audit log");
  await look("chat-still-failing");

  // Mended by hand.
  await run.getByRole("button", { name: "Copy command" }).first().or(run.getByRole("button", { name: "I did this, re-test" }).first()).first().waitFor();
  const retest = run.getByRole("button", { name: "I did this, re-test" }).first();
  const before = await host("runs");
  await retest.click();
  const third = page.getByRole("region", { name: /^Repair \d+$/ }).nth(2);
  await third.getByText(/^Probing \d of 3$/).waitFor();
  await host("fix");
  await third.getByText("Resolved verified").waitFor();
  const runs = await host("runs");
  expect(runs.length === before.length + 1 && runs[0].includes("operator"), runs);
  await page.getByRole("article", { name: "Your question" }).filter({ hasText: "I did this: " }).waitFor();
};
