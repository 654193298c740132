// An operator describes the brand, has a campaign drafted, edits its subject, looks at it as a real
// contact on a telephone, plans it in Berlin's time, and approves it on the page of approvals. An
// edit after that brings it back there.
module.exports = async ({ page, host, open, look, expect }) => {
  await open("/campaigns");
  await page.getByRole("heading", { name: "No campaign yet" }).waitFor();
  await look("campaigns-empty");
  await host("people sign up");

  await page.getByRole("link", { name: "Describe your brand" }).click();
  await page.getByLabel("Name", { exact: true }).fill("Looms & Co");
  await page.getByLabel("Postal address").fill("1 Mill Road\nTown");
  await page.getByLabel("Links and buttons").fill("red");
  await page.getByRole("button", { name: "Save the brand" }).click();
  await page.getByRole("alert").filter({ hasText: "no colour like" }).waitFor();
  await page.getByLabel("Links and buttons").fill("#8a2f6b");
  await page.getByRole("button", { name: "Save the brand" }).click();
  await page.getByText("The brand is saved").waitFor();
  await look("brand");

  await open("/campaigns/new");
  await page.getByLabel("Name", { exact: true }).fill("Weaving course");
  await page.getByLabel("Goal").fill("Fill the weaving course");
  await page.getByLabel("Offer and facts").fill("Six evenings at the loom for 49 EUR, all yarn included. No experience is needed, and you take home what you weave.");
  await page.getByLabel("Links", { exact: true }).fill("https://shop.example/course The course");
  await page.getByLabel("Call to action").fill("See the course");
  await page.getByLabel("Segment").selectOption({ label: "Readers" });
  await look("campaign-new");
  await page.getByRole("button", { name: "Draft the campaign" }).click();
  await page.getByText("Weaving course is drafted").waitFor();
  await page.getByText("a template", { exact: true }).waitFor();

  // The subject, as the reader will be greeted.
  await page.getByLabel("Subject 1", { exact: true }).fill('{{ first_name|default("You") }}, six evenings at the loom');
  await page.getByLabel("Subject 2").fill("");
  await page.getByLabel("Subject 3").fill("");
  await page.getByRole("button", { name: "Save as version 2" }).click();
  await page.getByText("Version 2 is saved").waitFor();
  await page.getByText("3 of 6 contacts in the segment").waitFor();
  await look("campaign");
  await page.getByLabel("As", { exact: true }).selectOption({ label: "Ada (ada@example.com)" });
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("link", { name: "Phone" }).click();
  await page.getByText("Ada, six evenings at the loom").waitFor();
  const frame = page.getByTitle("The mail as ada@example.com sees it");
  await frame.waitFor();
  const box = await frame.boundingBox();
  expect(box.width <= 390, `the telephone is ${box.width} wide`);
  const mail = await page.request.get(new URL(await frame.getAttribute("src"), page.url()).href);
  expect((await mail.text()).includes("Hello Ada,"), "the frame shows the mail to Ada");
  expect((await frame.getAttribute("sandbox")) === "", "nothing runs in the frame");
  await look("campaign-phone");
  await page.getByRole("link", { name: "Plain text" }).click();
  await page.getByRole("group", { name: "The mail as text" }).filter({ hasText: "Hello Ada," }).waitFor();

  // In Berlin's time, some weeks from now.
  const day = new Date(Date.now() + 30 * 86400000).toISOString().slice(0, 10);
  await page.getByLabel("Send at").fill(`${day}T09:00`);
  await page.getByLabel("Time zone").selectOption("Europe/Berlin");
  await page.getByLabel("Mails a minute").fill("60");
  await page.getByRole("button", { name: "Save the schedule" }).click();
  await page.getByText(`It goes out ${day} 09:00 in Europe/Berlin, 60 a minute`).waitFor();
  await page.getByRole("button", { name: "Ask for approval" }).click();
  await page.getByText("It waits for an approval").waitFor();
  expect((await host("waiting mails")) === "0", "nobody gets anything before the approval");

  const approve = async () => {
    await open("/approvals");
    const card = page.getByRole("article", { name: "Weaving course" });
    await card.getByText(`${day} 09:00 in Europe/Berlin`).waitFor();
    return card;
  };
  let card = await approve();
  await look("approvals-campaign");
  await card.getByRole("button", { name: "Approve Weaving course" }).click();
  await page.getByRole("dialog", { name: "Approve Weaving course?" }).getByRole("button", { name: "Approve" }).click();
  await page.getByText("Weaving course is approved for 3 recipients").waitFor();
  expect((await host("waiting mails")) === "3", "the audience stands");
  await page.getByRole("heading", { name: "Nothing waits for your word" }).waitFor();

  // An edit takes the approval back.
  await open("/campaigns");
  await page.getByRole("link", { name: "Weaving course" }).click();
  await page.getByRole("heading", { name: "Approved" }).waitFor();
  await page.getByLabel("Preview text").fill("All yarn is included, and you take home what you weave");
  await page.getByRole("button", { name: "Save as version 3" }).click();
  await page.getByText("its approval is taken back").waitFor();
  expect((await host("waiting mails")) === "0", "nobody's mail waits");
  card = await approve();
  await card.getByText("changed after its approval").waitFor();
  await card.getByText("Reject Weaving course").click();
  await card.getByLabel("Why not?").fill("Say when it begins");
  await card.getByRole("button", { name: "Reject the campaign" }).click();
  await page.getByText("Weaving course is a draft again").waitFor();

  // What else there is to a campaign.
  await open("/campaigns");
  await look("campaigns");
  await page.getByRole("link", { name: "Weaving course" }).click();
  await page.getByText("Say when it begins").waitFor();
  await page.getByRole("link", { name: "Social" }).click();
  await look("campaign-social");
  await page.getByRole("link", { name: "Ads", exact: true }).click();
  await look("campaign-ads");
  await page.getByRole("link", { name: "Strategy" }).click();
  await page.getByText("This is a template").waitFor();
  await look("campaign-strategy");
  await page.getByRole("link", { name: "Versions" }).click();
  await page.getByText("All yarn is included").waitFor();
  await look("campaign-versions");
  await page.getByRole("button", { name: "Restore version 1" }).click();
  await page.getByText("Version 4 is version 1 again").waitFor();
};
