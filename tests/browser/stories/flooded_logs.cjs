// Ten thousand lines a second for some seconds: buttons are heard, what is not shown is counted.
module.exports = async ({ page, host, open, look, expect }) => {
  await open("/logs");
  await page.getByText("Following", { exact: true }).first().waitFor();
  await page.evaluate(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((it) => it.duration))).observe({ type: "longtask" });
    window.frames = 0;
    const frame = () => { window.frames += 1; requestAnimationFrame(frame); };
    frame();
    window.began = performance.now();
  });
  await host("talk", 10000);
  await page.getByText(/number \d+/).first().waitFor();
  const answers = [];
  for (let press = 0; press < 6; press += 1) {
    await page.waitForFunction((frames) => window.frames > frames + 20, await page.evaluate(() => window.frames));
    const began = Date.now();
    await page.getByRole("button", { name: press % 2 ? "Resume" : "Pause" }).click();
    await page.getByRole("button", { name: press % 2 ? "Pause" : "Resume" }).waitFor();
    answers.push(Date.now() - began);
  }
  const seen = await page.evaluate(() => ({ long: window.long, frames: window.frames, took: performance.now() - window.began, rows: document.querySelectorAll("#rows li").length }));
  const written = await host("hush");
  console.error(`flood: ${written} lines in ${Math.round(seen.took)} ms; ${seen.frames} frames; long tasks: ${seen.long.length}, longest ${Math.round(Math.max(0, ...seen.long))} ms; clicks answered in ${answers.join(", ")} ms; ${seen.rows} rows`);
  expect(seen.rows < 6000, `${seen.rows} rows are too many`);
  await page.getByText(/^[\d\u202f]+ skipped$/).waitFor();
  await page.getByText(`number ${written - 1}`, { exact: true }).waitFor();
  await look("logs-flood");
  // What was left out is one link away.
  await page.keyboard.press("Space");
  const gap = page.getByRole("link", { name: "Show them" }).last();
  await gap.scrollIntoViewIfNeeded();
  await gap.click();
  await page.getByRole("link", { name: /Follow from now/ }).waitFor();
  await page.getByText(/number \d+/).first().waitFor();
};
