// Lines that were written to be more than text are text.
module.exports = async ({ page, host, open, expect, look }) => {
  await open("/logs");
  const script = `<script>document.title = "gone"</script><img src="https://evil.example/x.png" onerror="document.title = 'gone'">`;
  const lines = [
    script,
    "![image](https://evil.example/track.png) [click](javascript:alert(1))",
    "\u001b[31mred\u001b[0m and \u202eback\u202c and \u0000 and a\rb",
    "&lt;b&gt; stays &amp; as it is",
    "</li></ol></div><h1>Not a heading</h1>",
  ];
  await host("append", { log: "app", text: lines.map((line) => `2026-11-20 10:00:00,000 INFO x: ${line}\n`).join("") });
  await host("append", { log: "worker", text: `${JSON.stringify({ time: "2026-11-20T10:00:01Z", level: "error", message: script, "<b>": "\u202e" })}\n` });
  // Live, and once more as the server's first screen.
  for (const way of ["live", "loaded"]) {
    await page.getByText(script).first().waitFor();
    await page.getByText("red and \\u{202e}back\\u{202c} and \ufffd and a\\rb").waitFor();
    await page.getByText("&lt;b&gt; stays &amp; as it is").waitFor();
    expect((await page.getByRole("heading", { name: "Not a heading" }).count()) === 0, `${way}: a line became a heading`);
    expect((await page.getByRole("link", { name: "click" }).count()) === 0, `${way}: a line became a link`);
    expect((await page.title()) === "Logs · Lux", `${way}: a script ran`);
    if (way === "live") await open("/logs");
  }
  await look("logs-hostile");
};
