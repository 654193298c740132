// An administrator stops all actions and lets them go; what a file stops, no page lets go.
module.exports = async ({ page, host, open, look, expect }) => {
  await open("/repairs");
  await page.getByText("Stop all actions").click();
  await page.getByLabel(/^Why\?/).fill("a migration is running");
  await page.getByRole("button", { name: "Stop them now" }).click();
  await page.getByText("All actions are stopped").waitFor();
  await page.getByText(/actions were stopped by admin/).waitFor();
  await look("repairs-stopped");
  await page.getByText("Let actions go").click();
  await page.getByLabel(/^Why\?/).fill("it is over");
  await page.getByRole("button", { name: "Let them go now" }).click();
  await page.getByText("Actions may run again").waitFor();
  await page.getByText("May run", { exact: true }).waitFor();
  const reasons = await host("reasons");
  expect(JSON.stringify(reasons) === JSON.stringify(["a migration is running", "it is over"]), reasons);
  await host("file");
  await open("/repairs");
  await page.getByText(/stopped by the file .*stop-actions/).waitFor();
  await look("repairs-file");
};
