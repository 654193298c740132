// An operator looks for errors, keeps the search, decides about many, and takes it back.
module.exports = async ({ page, lux, host, open, look, expect }) => {
  const names = async () => {
    // Of a page that is there as a whole.
    await page.waitForLoadState();
    const links = page.getByRole("table").getByRole("row").getByRole("link");
    return (await links.allTextContents()).map((it) => it.trim());
  };
  const same = (found, wanted) => expect(JSON.stringify(found) === JSON.stringify(wanted), `${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);
  const row = (name) => page.getByRole("row", { name: new RegExp(name) });

  await open("/errors?state=all");
  await page.getByRole("link", { name: "OperationalError" }).waitFor();
  await row("OperationalError").getByText("37 users").waitFor();
  await row("OperationalError").getByRole("img", { name: "148 events in 24 hours" }).waitFor();
  await row("KeyError").getByText("Regressed in v2.14").waitFor();
  await row("ConnectionResetError").getByText("Resolved, verified").waitFor();
  await row("DeprecationWarning").getByText("Muted").waitFor();
  await row("OperationalError").getByText("Critical").waitFor();
  const tabs = page.getByRole("navigation", { name: "Error state" });
  same((await tabs.getByRole("link").allInnerTexts()).map((it) => it.replace(/\s+/g, " ").trim()),
    ["Needs attention 4", "Unresolved 3", "Resolved 1", "Muted 1", "All 6"]);
  await row("OperationalError").getByRole("checkbox").check();
  await row("AuthenticationError").getByRole("checkbox").check();
  await page.getByText("2 selected").waitFor();
  await look("errors");

  // Search, with all of it in the address.
  const search = page.getByRole("searchbox", { name: "Filter errors" });
  await page.keyboard.press("Escape");
  await search.fill("severity:critical endpoint:/checkout");
  await search.press("Enter");
  await page.getByText("1 of 1 error").waitFor();
  same(await names(), ["OperationalError"]);
  const address = page.url();
  expect(address.includes("severity%3Acritical"), address);
  await page.reload();
  same(await names(), ["OperationalError"]);
  for (const [words, wanted] of [
    ["user:customer-20", ["OperationalError", "ConnectionResetError"]],
    ["release:v2.14 shipping", ["KeyError"]],
    ["app:shop status:muted", ["DeprecationWarning"]],
    ["too many clients", ["OperationalError"]],
    ["status:regressed", ["KeyError"]],
  ]) {
    await open(`/errors?state=all&q=${encodeURIComponent(words)}`);
    same(await names(), wanted);
  }
  await open("/errors?q=endpoint:");
  await page.getByText("The search is not understood").waitFor();
  await page.getByText("endpoint: has no value").waitFor();
  await open("/errors?state=all&within=1h&q=SlowQuery");
  await page.getByRole("heading", { name: "Nothing matches" }).waitFor();
  await look("errors-nothing");
  await page.getByRole("link", { name: "Show last 7 days" }).click();
  await page.getByRole("link", { name: "SlowQuery" }).waitFor();

  // A view is kept, used and removed.
  await page.getByText("Save this view").click();
  await page.getByRole("textbox", { name: "Name of the view" }).fill("Slow queries");
  await page.getByRole("button", { name: "Save view" }).click();
  await page.getByText("View Slow queries saved").waitFor();
  await open("/errors");
  await page.getByRole("link", { name: "Slow queries" }).click();
  await page.waitForURL(/SlowQuery/);
  same(await names(), ["SlowQuery"]);
  await page.getByRole("button", { name: "Remove view Slow queries" }).click();
  await page.getByText("View Slow queries removed").waitFor();
  expect((await page.getByRole("link", { name: "Slow queries" }).count()) === 0, "the view is gone");

  // A new error is there without a reload; what was selected stays selected.
  await open("/errors?state=all");
  await row("SlowQuery").getByRole("checkbox").check();
  await host("report", { app: "shop", error_type: "ZeroDivisionError", error_message: "division by zero" });
  await page.getByRole("link", { name: "ZeroDivisionError" }).waitFor();
  await row("ZeroDivisionError").getByText("New").waitFor();
  await page.getByRole("status").getByText("1 new error in the list").waitFor();
  expect(await row("SlowQuery").getByRole("checkbox").isChecked(), "the selection is kept");
  await tabs.getByRole("link", { name: "All 7" }).waitFor();

  // Resolving needs a reason.
  await page.getByRole("button", { name: "Resolve", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Resolve by hand" });
  await dialog.getByRole("button", { name: "Resolve" }).click();
  await dialog.waitFor();
  await dialog.getByRole("textbox").fill("an index was added; the plan shows it is used");
  await look("errors-resolve");
  await dialog.getByRole("button", { name: "Resolve" }).click();
  await page.getByText("1 error resolved by hand").waitFor();
  await row("SlowQuery").getByText("Resolved by hand").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("1 error is as before").waitFor();
  expect((await host("statuses")).SlowQuery === "unresolved", "it is as before");

  // Two are merged, and taken apart again.
  await row("ZeroDivisionError").getByRole("checkbox").check();
  expect(!(await page.getByRole("button", { name: "Merge" }).isVisible()), "one cannot be merged");
  await row("SlowQuery").getByRole("checkbox").check();
  await page.getByRole("button", { name: "Merge" }).click();
  await page.getByRole("button", { name: "Merge errors" }).click();
  await page.getByText(/1 error is merged into error/).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("1 error taken apart again").waitFor();
  expect("ZeroDivisionError" in (await host("statuses")), "both are there");

  // Sixty-odd, of which fifty are on the page: all of them are muted until Monday and back.
  await host("many");
  const before = await host("statuses");
  await open("/errors?sort=events");
  same((await names()).slice(0, 2), ["OperationalError", "AuthenticationError"]);
  expect((await names()).length === 50, `${(await names()).length} rows`);
  await page.getByRole("checkbox", { name: "Select all on this page" }).check();
  await page.getByText("50 selected").waitFor();
  await page.getByRole("checkbox", { name: "Select all 62 matching" }).check();
  await page.getByText("62 selected").waitFor();
  await look("errors-all");
  await page.getByLabel("Mute until").click();
  await page.getByRole("button", { name: "Mute until Monday" }).click();
  await page.getByText("62 errors muted until Monday").waitFor();
  const until = (await host("muted until")).filter((it) => it !== null);
  expect(until.length === 62 && until.every((it) => new Date(it).getTime() > Date.now()), until);
  const berlin = new Date(until[0]).toLocaleString("en", { timeZone: "Europe/Berlin", weekday: "long", hour: "2-digit", hour12: false });
  expect(/Monday/.test(berlin) && /\b(24|00)\b/.test(berlin), berlin);
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByText("62 errors are as before").waitFor();
  same(await host("statuses"), before);

  // Pages lead on and back.
  await open("/errors?sort=events");
  await page.getByRole("link", { name: "Next" }).click();
  await page.getByRole("link", { name: "Previous" }).waitFor();
  expect((await names()).length === 12, `${(await names()).length} rows on the second page`);
  await page.getByRole("link", { name: "Previous" }).click();
  await page.getByRole("link", { name: "Next" }).waitFor();
  expect((await names()).length === 50, "back on the first page");

  // With keys alone: to the first row, select it, mute it; what is muted already is named.
  await open("/errors?state=all&q=SlowQuery");
  await page.keyboard.press("j");
  await page.keyboard.press("x");
  await page.getByText("1 selected").waitFor();
  await page.keyboard.press("m");
  await page.getByText("1 error muted").waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("m");
  await page.getByText(/Nothing changed: 1 was muted already: SlowQuery/).waitFor();
  await open("/errors?state=muted");
  await row("SlowQuery").getByRole("checkbox").check();
  await page.getByRole("button", { name: "Reopen" }).click();
  await page.getByText("1 error reopened").waitFor();

  // A mute that ends by itself.
  await open("/errors?q=SlowQuery");
  await row("SlowQuery").getByRole("checkbox").check();
  await page.getByLabel("Mute until").click();
  await page.getByRole("button", { name: "Mute for an hour" }).click();
  await page.getByText("1 error muted for an hour").waitFor();
  await host("wait for unmuting");
  await open("/errors?q=SlowQuery");
  await row("SlowQuery").getByText("Unresolved").waitFor();
  await page.getByRole("link", { name: "SlowQuery" }).click();
  await page.getByText("No longer muted").waitFor();

  // Repair of what is selected.
  await open("/errors?q=OperationalError");
  await row("OperationalError").getByRole("checkbox").check();
  await page.getByRole("button", { name: "Repair 1" }).click();
  await page.waitForURL(/\/repairs\/\d+$/);
  expect(page.url().startsWith(lux), page.url());
};
