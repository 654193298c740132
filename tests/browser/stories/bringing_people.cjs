// Somebody arrives by Zapier; a file with unusual headers is mapped, tried and brought in; what is
// filtered is what is exported; two contacts become one; a segment is made without code.
const fs = require("node:fs");

module.exports = async ({ page, open, look, expect, host }) => {
  await open("/contacts");
  await page.getByText("Nobody is here yet").waitFor();
  await look("contacts-empty");

  // The webhook's credential is made by clicking, and shown once.
  await open("/settings/webhook");
  await page.getByText("There is none").waitFor();
  await page.getByLabel("Name").fill("zapier");
  await page.getByRole("button", { name: "Make the credential" }).click();
  await page.getByText("shown this once").waitFor();
  const [username, password] = [await page.locator("#username").innerText(), await page.locator("#password").innerText()];
  await look("settings-webhook");
  const status = await host("zapier", { username, password, body: { Email: "Zoe@Example.com", "Full Name": "Zoë Zapier", source: "Newsletter", "Favourite color": "red" } });
  expect(status === 201, `the webhook answered ${status}`);
  await open("/settings/webhook");
  await page.getByText("What was sent").click();
  await page.getByText("Favourite color").waitFor();

  // Who is told of what happens, and no more.
  await open("/settings/hooks");
  await page.getByText("Nobody has subscribed").waitFor();
  const hook = await page.evaluate(async () => {
    const body = JSON.stringify({ target_url: "https://hooks.zapier.com/hooks/standard/1/abcd/", event: "repair.finished" });
    return (await fetch("/api/hooks", { method: "POST", headers: { "Content-Type": "application/json" }, body })).status;
  });
  expect(hook === 201, `subscribing was answered ${hook}`);
  await open("/settings/hooks");
  await page.getByText("hooks.zapier.com/…abcd", { exact: true }).waitFor();
  await look("settings-hooks");
  await page.getByRole("button", { name: /^Remove/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await page.getByText("Nobody has subscribed").waitFor();

  await open("/contacts");
  await page.getByRole("link", { name: /Newsletter/ }).click();
  await page.getByRole("link", { name: "Zoë Zapier" }).waitFor();

  // A file whose headers Lux does not know.
  await page.getByRole("link", { name: "Import" }).click();
  await look("contacts-import-empty");
  const rows = Array.from({ length: 8 }, (_, n) => `p${n}@example.com;Person ${n};Oslo`);
  const file = ["Adresse;Wer;Ort", ...rows, "zoe@example.com;Zoë Zapier;Bergen", "nobody;No Address;Oslo"].join("\n");
  await page.getByLabel("CSV file").setInputFiles({ name: "fair.csv", mimeType: "text/csv", buffer: Buffer.from(file) });
  await page.getByRole("button", { name: "Bring the file" }).click();
  await page.getByText("No column is known as the e-mail address").waitFor();
  await look("contacts-mapping");
  await page.getByLabel("Adresse becomes").selectOption("email");
  await page.getByLabel("Wer becomes").selectOption("name");
  await page.getByRole("textbox", { name: "Tags" }).fill("fair");
  await page.getByRole("button", { name: "Dry run" }).click();
  const counted = async (words, number) => {
    const pair = page.locator(".counts > div", { has: page.getByText(words, { exact: true }) });
    await pair.getByText(String(number), { exact: true }).waitFor();
  };
  await counted("would be new", 8);
  await counted("would be updated", 1);
  await counted("would be rejected", 1);
  await look("contacts-dry-run");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download the rejected rows" }).click()]);
  const rejected = fs.readFileSync(await download.path(), "utf8");
  expect(rejected.includes("has no @") && rejected.includes("No Address"), rejected);
  await page.getByRole("button", { name: "Import contacts" }).click();
  await counted("new", 8);
  await page.getByText("Done", { exact: true }).waitFor();
  await look("contacts-imported");

  // What is filtered is what is exported, with every column.
  await page.getByRole("link", { name: "See the contacts" }).click();
  await page.getByRole("row").nth(9).waitFor();
  await look("contacts");
  await page.getByPlaceholder("Name, company, e-mail or telephone").fill("person");
  await page.getByPlaceholder("Name, company, e-mail or telephone").press("Enter");
  await page.waitForURL(/q=person/);
  const listed = (await page.getByRole("row").count()) - 1;
  expect(listed === 8, `${listed} are listed`);
  const [out] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export these" }).click()]);
  const table = fs.readFileSync(await out.path(), "utf8").trim().split("\r\n");
  expect(table.length === listed + 1, table.join("\n"));
  for (const column of ["email", "phone", "consent_source", "consent_at", "attributes.ort"]) {
    expect(table[0].split(",").includes(column), `${column} is not in ${table[0]}`);
  }
  await page.getByPlaceholder("Name, company, e-mail or telephone").fill("nobody at all");
  await page.getByPlaceholder("Name, company, e-mail or telephone").press("Enter");
  await page.getByText("Nobody fits").waitFor();
  await page.getByRole("link", { name: "Show everybody" }).click();

  // Many at once, and back.
  await page.getByLabel("Select all on this page").check();
  await page.getByText("9 selected").waitFor();
  await page.getByLabel("Tag", { exact: true }).last().fill("vip");
  await page.getByRole("button", { name: "Add tag" }).click();
  await page.getByText("9 contacts now have the tag vip").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("9 contacts no longer have the tag vip").waitFor();

  // One contact: changed, noted, what they said.
  await page.getByRole("link", { name: "Zoë Zapier" }).click();
  await page.getByLabel("Company").fill("Zapier & Co");
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("The changes are saved").waitFor();
  await page.getByLabel("Note").fill("Met at the fair");
  await page.getByRole("button", { name: "Add note" }).click();
  await page.getByText("Met at the fair").waitFor();
  await page.getByText("Note what the person said").click();
  await page.getByLabel("Where and how").fill("paper form");
  await page.getByRole("button", { name: "Note it" }).click();
  await page.getByText("Agreed to mail: paper form").waitFor();
  await look("contact");
  // Who saves what somebody else changed meanwhile is told.
  await page.getByLabel("First name").fill("Zora");
  await host("change", null);
  await page.getByRole("button", { name: "Save changes" }).click();
  await page.getByText("somebody changed this contact meanwhile").waitFor();

  // Two that are one person.
  await host("double", null);
  await open("/contacts/duplicates");
  await page.getByText("adal@gmail.com").first().waitFor();
  await look("contacts-duplicates");
  await page.getByRole("button", { name: "Merge the two" }).click();
  await page.getByRole("button", { name: "Merge contacts" }).click();
  await page.getByText("They are one contact now").waitFor();

  // A segment without code, with its count as it is written.
  await open("/segments");
  await look("segments");
  await page.getByRole("link", { name: "New segment" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("From Oslo");
  // An answer that does not come keeps nothing waiting: what was written last is what is counted.
  let counts = 0;
  await page.route("**/segments/try", (route) => (counts++ > 0 ? route.continue() : null));
  await page.getByLabel("Field").selectOption("attributes.ort");
  await page.getByLabel("Value").fill("oslo");
  await page.getByText(/8 of 10 contacts fit now/).waitFor();
  await look("segment-new");
  await page.getByRole("button", { name: "Add a condition" }).click();
  await page.getByLabel("Value").nth(1).waitFor();
  await page.getByLabel("Field").nth(1).selectOption("tag");
  await page.getByLabel("Value").nth(1).fill("fair");
  await page.getByRole("button", { name: "Make the segment" }).click();
  await page.getByText("From Oslo is made").waitFor();
  expect((await page.getByRole("row").count()) === 9, "the segment has not 8 contacts");

  // Somebody is forgotten.
  await open("/contacts?q=person+1");
  await page.getByRole("link", { name: "Person 1" }).click();
  await page.getByRole("button", { name: "Erase for good" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Erase for good" }).click();
  await page.getByText("only a keyed hash of the address is kept").waitFor();
};
