// The model refuses, then is silent: the page says what stopped, the advisor answers, and asking
// again works.
module.exports = async ({ page, host, open, look, expect }) => {
  const composer = page.getByRole("textbox", { name: "Message Lux" });
  await open("/chat");
  await host("fail");
  await composer.fill("what is wrong?");
  await composer.press("Enter");
  const answer = page.getByRole("article", { name: "Answer of Lux", exact: true }).last();
  await answer.getByText("The model gave no answer").waitFor();
  await answer.getByText(/Answered without the model: .*429/).waitFor();
  await answer.getByText("Built-in advisor").waitFor();
  await look("chat-model-fails");
  await host("say");
  await answer.getByRole("button", { name: "Retry" }).click();
  await page.getByText("All is well now.", { exact: true }).waitFor();
  expect((await page.getByText("The model gave no answer").count()) === 0, "it is well");
  await host("hang");
  await composer.fill("what is wrong now?");
  await composer.press("Enter");
  await answer.getByText("The model gave no answer").waitFor();
  expect((await page.getByRole("article", { name: "Your question" }).filter({ hasText: "what is wrong now?" }).count()) === 1, "asked once");
};
