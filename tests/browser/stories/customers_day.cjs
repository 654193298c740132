// A customer comes in: sees their own page and nothing else, asks, is answered by the assistant,
// wants a person, looks after their profile and a file.
module.exports = async ({ page, host, open, look, expect }) => {
  const links = page.getByRole("navigation", { name: "Main", exact: true }).getByRole("link");
  expect((await open("/")) === 200, "they come in");
  await page.getByRole("heading", { name: "Your account", level: 1 }).waitFor();
  expect(page.url().endsWith("/customers/me"), page.url());
  expect((await links.allInnerTexts()).join("|") === "LUX|Your account", await links.allInnerTexts());
  await page.getByText("You have not asked anything yet.").waitFor();
  await page.getByText("There is no file yet.").waitFor();
  await look("customer-own");

  // What is another's, or the system's, is not there.
  const other = await host("other");
  expect((await open(`/customers/${other}`)) === 404, "another customer is not there");
  for (const path of ["/errors", "/logs", "/interactions", "/settings", "/contacts", "/settings/agents"]) {
    expect((await open(path)) === 403, `${path} is closed`);
  }
  await open("/customers");
  expect(page.url().endsWith("/customers/me"), "the list is one's own page");

  // The assistant answers while they wait.
  await host("answer");
  await page.getByRole("textbox", { name: "Ask us" }).fill("When do you open? <script>alert('x')</script>");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.getByText("We open at nine.").waitFor();
  await page.getByText("<script>alert('x')</script>").first().waitFor();
  await page.getByText("With the assistant").waitFor();
  await look("customer-conversation");

  // A person is wanted.
  await page.getByRole("button", { name: "Ask for a person" }).click();
  await page.getByText("A person of our team will answer here.").waitFor();
  expect((await page.getByRole("button", { name: "Ask for a person" }).count()) === 0, "asked once");
  await page.getByRole("textbox", { name: "Your message" }).fill("Can somebody call me?");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Can somebody call me?").waitFor();
  await host("asked", page.url().match(/\d+/g).pop());

  // The profile: what is wrong is said beside it, what was typed stays.
  await page.getByRole("link", { name: "Your account" }).first().click();
  await page.getByText("Waits for a person").waitFor();
  await page.getByLabel("Company").fill("Analytical Engines");
  await page.getByLabel("Time zone").fill("Mars/Olympus");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByRole("alert").filter({ hasText: "timezone" }).waitFor();
  expect((await page.getByLabel("Company").inputValue()) === "Analytical Engines", "it is kept");
  await look("customer-wrong");
  await page.getByLabel("Time zone").fill("Europe/London");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("Saved").waitFor();
  expect((await page.getByLabel("Company").inputValue()) === "Analytical Engines", "it is stored");
  expect((await page.getByLabel("Role").count()) === 0, "the role is not theirs to write");

  // A file.
  await page.getByLabel("File", { exact: true }).setInputFiles({ name: "offer.txt", mimeType: "text/plain", buffer: Buffer.from("an offer") });
  await page.getByRole("button", { name: "Add the file" }).click();
  await page.getByRole("link", { name: "offer.txt" }).waitFor();
  await page.getByLabel("File", { exact: true }).setInputFiles({ name: "evil.png", mimeType: "image/png", buffer: Buffer.from("<script>alert(1)</script>") });
  await page.getByRole("button", { name: "Add the file" }).click();
  await page.locator(".toast.bad").waitFor();
  expect((await page.getByRole("link", { name: "evil.png" }).count()) === 0, "it is not kept");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "offer.txt" }).click()]);
  expect(download.suggestedFilename() === "offer.txt", download.suggestedFilename());
  await look("customer-own-full");
};
