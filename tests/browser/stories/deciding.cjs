// A repair finds an action that may mend the cause: it waits, is rejected once, approved once by
// a double click, runs once, and is taken back.
module.exports = async ({ page, host, open, look, expect }) => {
  const long = { timeout: 60000 };
  const so = async (what) => {
    const found = await host("so far");
    for (const [key, value] of Object.entries(what)) {
      expect(JSON.stringify(found[key]) === JSON.stringify(value), `${key}: ${JSON.stringify(found)}`);
    }
  };
  const repair = async () => {
    await open("/repairs");
    await page.getByRole("button", { name: "Repair 1 open error" }).click();
    await page.getByRole("button", { name: "Start the repair" }).click();
    await page.getByRole("button", { name: /^Approve/ }).waitFor(long);
  };
  await open("/approvals");
  await page.getByRole("heading", { name: "Nothing waits for your word" }).waitFor();
  await look("approvals-empty");
  await repair();
  const card = page.getByRole("article", { name: "Install the missing module" });
  await card.getByText(/\/mend shopkit$/).waitFor();
  await card.getByText("can be taken back").waitFor();
  await look("repair-waiting");
  await so({ ran: [], fixed: false });

  // It is still there after a reload, and in the queue with its error.
  await page.reload();
  await card.getByRole("button", { name: /^Approve/ }).waitFor();
  await open("/approvals");
  await card.getByRole("link", { name: /ModuleNotFoundError/ }).waitFor();
  await look("approvals");
  // Other values are shown before anybody approves them.
  await card.getByText("Edit", { exact: false }).first().click();
  await card.getByLabel("what").selectOption("paykit");
  await look("approvals-editing");
  await card.getByRole("button", { name: "Change the action" }).click();
  await page.getByText("install is changed; approve what it shows now").waitFor();
  await card.getByText(/\/mend paykit$/).waitFor();
  await card.getByText("Reject", { exact: false }).first().click();
  await card.getByLabel(/Why not/).fill("not on a Friday");
  await look("approvals-rejecting");
  await card.getByRole("button", { name: "Reject the action" }).click();
  await page.getByText("install is rejected; nothing was run").waitFor();
  await so({ ran: [], fixed: false, rejected: 1, approved: 0 });

  await repair();
  await page.getByRole("button", { name: /^Approve/ }).dblclick();
  await page.getByText("install is approved; it runs once").first().waitFor();
  const row = page.getByRole("article", { name: /ModuleNotFoundError/ });
  await row.getByText("Resolved", { exact: true }).waitFor(long);
  await so({ ran: ["mend"], fixed: true, approved: 1, rejected: 1 });
  await page.getByRole("article", { name: "Install the missing module" }).getByText("What it printed").click();
  await page.getByText("installed shopkit").waitFor();
  await look("repair-approved");

  await open("/approvals?show=decided");
  await page.getByText("“not on a Friday”").waitFor();
  await look("approvals-decided");
  await page.getByRole("button", { name: /^Undo/ }).click();
  await page.getByRole("dialog", { name: "Take install back?" }).getByRole("button", { name: "Run the undo" }).click();
  await page.getByText("uninstall runs now, to take it back").waitFor();
  await host("wait for the undo");
  await so({ ran: ["mend", "spoil"], undone: 1 });
  await open("/approvals?show=expired");
  await page.getByRole("heading", { name: "Nothing expired" }).waitFor();
  await look("approvals-expired");
};
