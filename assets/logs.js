// The live log: follows, pauses, finds, and stays quick whatever is said. Rows are HTML of our
// own server, where each text of a log was escaped; they come in steps and go into the page once
// a frame. Of what is not shown there is a count.
"use strict";
(() => {
  const { one, all, make, icon, key } = lux;
  const page = one("#logs");
  if (!page) return;
  const [list, rows] = [one("#lines"), one("#rows")];
  /** Rows in the page, and rows that wait while it is paused. */
  const MOST = 5000;
  /** Rows that are put into the page at once. */
  const A_FRAME = 200;
  const ROW = 24;
  const policy = window.trustedTypes?.createPolicy("lux-logs", { createHTML: (html) => html });
  const lost = one("#stream-lost");
  const live = page.dataset.follow === "yes";
  const query = page.dataset.query;
  const find = one("[name=q]");
  const known = new Map();
  let following = live;
  let mark = page.dataset.mark;
  let waiting = [];
  let held = 0;
  let skipped = 0;
  let frame = 0;
  let top = 0;
  let current = null;
  let visited = false;
  let lastDay = null;

  const say = (text) => { one("#said").textContent = text; };
  const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const told = (number, name) => `${count(number)} ${name}${number === 1 ? "" : "s"}`;

  // ---- rows ----------------------------------------------------------------------------------
  function read(html) {
    const template = document.createElement("template");
    template.innerHTML = policy ? policy.createHTML(html) : html;
    return template.content;
  }

  function clock(time) {
    const at = new Date(time.dateTime);
    time.textContent = `${lux.clock(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
    return lux.day(at);
  }

  /** A time with its day, in the viewer's zone and in UTC. */
  function whole(time) {
    const at = new Date(time.dateTime);
    return `${lux.day(at)} ${time.textContent} ${lux.zone}, ${at.toISOString()}`;
  }
  rows.addEventListener("pointerover", (event) => {
    const time = event.target.closest(".lt")?.firstElementChild;
    if (time) time.title = whole(time);
  });

  /** Readies a chunk: its times, a line where a new day begins, and what is known already. */
  function ready(chunk, day = null) {
    for (const row of [...chunk.children]) {
      const before = known.get(row.dataset.id);
      if (before && before !== row) {
        // A record that was shown while it could still grow.
        clock(one(".lt time", row));
        if (before.textContent !== row.textContent) before.replaceWith(row);
        else { row.remove(); continue; }
      }
      known.set(row.dataset.id, row);
      if (row.parentNode !== chunk) continue;
      const its = clock(one(".lt time", row));
      if (its !== day && (day !== null || its !== lux.day(new Date()))) {
        row.before(make("li", { class: "day" }, its));
      }
      day = its;
    }
    chunk.style.containIntrinsicBlockSize = `auto ${chunk.childElementCount * ROW}px`;
    return day;
  }

  function forget(chunk) {
    for (const row of chunk.children) if (row.dataset.id) known.delete(row.dataset.id);
    chunk.remove();
  }

  /** The address of this view around a time. */
  const around = (at) => `/logs?${query}${query ? "&" : ""}at=${encodeURIComponent(at)}`;

  function gap(step) {
    const link = make("a", { href: around(step.from) }, "Show them");
    return make("li", { class: "gap" }, `${told(step.skipped, "line")} came faster than they are shown and ${step.skipped === 1 ? "is" : "are"} left out here. `, link);
  }

  /** Puts what waits into the page. */
  function flush() {
    frame = 0;
    if (!following) return;
    // Much at once is spread over frames, so that a click between them is heard.
    const steps = [];
    for (let many = 0; waiting.length > 0 && many < A_FRAME; many += steps.at(-1).count) {
      steps.push(waiting.shift());
      held -= steps.at(-1).count;
    }
    if (waiting.length > 0) frame = requestAnimationFrame(flush);
    for (const step of steps) {
      const chunk = one("ol", read(step.html));
      lastDay = ready(chunk, lastDay);
      if (step.skipped > 0) {
        skipped += step.skipped;
        chunk.prepend(gap(step));
      }
      rows.append(chunk);
    }
    while (known.size > MOST && rows.childElementCount > 1) {
      forget(rows.firstElementChild);
      cut();
    }
    if (steps.length > 0) one("#empty")?.remove();
    bottom();
    tell();
  }

  /** Rows at the top went: the way to them is by their time. */
  function cut() {
    const first = one(".ll .lt time", rows);
    if (!first) return;
    const edge = one("#older") ?? make("a", { class: "btn g sm", id: "older" }, icon("arrow-up"), "Load older lines");
    edge.href = around(first.dateTime);
    edge.dataset.go = "";
    if (!edge.isConnected) one("#begin")?.replaceChildren(edge);
  }

  function bottom() {
    list.scrollTop = list.scrollHeight;
    top = list.scrollTop;
  }

  function take(step) {
    waiting.push(step);
    held += step.count;
    // Who pauses for long, or has the page behind others, does not fill the memory.
    while (held > MOST && waiting.length > 1) {
      const lost = waiting.shift();
      held -= lost.count;
      const next = waiting[0];
      next.skipped += lost.skipped + lost.count;
      next.from = lost.from ?? lost.at;
    }
    if (following) frame ||= requestAnimationFrame(flush);
    else tell();
  }

  // ---- what the foot says ----------------------------------------------------------------------
  function tell() {
    const late = waiting.reduce((sum, step) => sum + step.skipped, 0);
    const fresh = held + late;
    const state = one("#state");
    const text = one("#state-text");
    if (live) {
      const well = following && lost.hidden;
      state.className = well ? "badge live" : "badge warn";
      state.firstElementChild.className = well ? "dot live" : "dot warn";
      text.textContent = well ? "Following" : following ? "Waiting for Lux" : fresh ? `Paused, ${count(fresh)} new` : "Paused";
      const pause = one("#pause");
      // Made anew only when it says something else: a click whose target goes between press and
      // release is none, and in a flood this runs with each frame.
      const says = String(following);
      if (pause.dataset.following !== says) {
        pause.dataset.following = says;
        pause.replaceChildren(icon(following ? "pause" : "play"), make("span", {}, following ? "Pause" : "Resume"), make("kbd", { "aria-hidden": "true" }, "Space"));
      }
    } else {
      one("#follow-text").textContent = fresh ? `Follow from now, ${count(fresh)} new` : "Follow from now";
    }
    one("#dropped").textContent = skipped + late ? `${count(skipped + late)} skipped` : "none dropped";
    hits();
  }

  const found = rows.getElementsByClassName("hit");
  function hits() {
    if (!find.value || find.getAttribute("aria-invalid")) return;
    const total = found.length;
    const at = current?.isConnected ? [...found].indexOf(current) + 1 : 0;
    one("#hits").textContent = total === 0 ? "No hits" : `${at || (visited ? "–" : 1)} of ${count(total)}`;
    for (const button of all(".hitkey")) button.hidden = total === 0;
  }

  function rate() {
    const lines = Number(one("#volume").dataset.rate);
    one("#rate").textContent = `${count(lines)} lines/min, `;
    for (const title of all("#volume [data-minute]")) {
      const at = new Date(title.dataset.minute);
      title.textContent = title.textContent.replace(/^[^:]+:\d+( UTC)?/, `${lux.clock(at).slice(0, 5)} ${lux.zone}`);
      delete title.dataset.minute;
    }
  }

  // ---- following and pausing -------------------------------------------------------------------
  function pause() {
    if (!live || !following) return;
    following = false;
    tell();
    say("Paused");
  }

  function resume() {
    if (!live) {
      one("#follow").click();
      return;
    }
    following = true;
    say("Following");
    flush();
  }

  // A page that becomes smaller goes on showing the newest.
  new ResizeObserver(() => { if (following) bottom(); }).observe(list);
  const toggle = () => (following ? pause() : resume());
  one("#pause").addEventListener("click", toggle);
  list.addEventListener("scroll", () => {
    const away = list.scrollHeight - list.scrollTop - list.clientHeight;
    // Who scrolls up wants to read.
    if (following && list.scrollTop < top && away > 60) pause();
    top = list.scrollTop;
  }, { passive: true });

  // ---- the stream ------------------------------------------------------------------------------
  let source = null;
  let tries = 0;
  let again = 0;

  function connect() {
    clearInterval(again);
    source?.close();
    source = new EventSource(`/logs/stream?${query}${query ? "&" : ""}mark=${encodeURIComponent(mark)}`);
    source.addEventListener("open", () => {
      if (!lost.hidden) say("The stream is back; what was missed arrives now.");
      lost.hidden = true;
      tries = 0;
      tell();
    });
    source.addEventListener("lines", (event) => {
      mark = event.lastEventId || mark;
      take(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      source.close();
      tries += 1;
      // The server ends each stream after two minutes: one failure is no loss yet.
      if (tries === 1) again = setTimeout(connect, 300);
      else wait(Math.min(2 ** (tries - 1), 15));
    });
  }

  function wait(seconds) {
    const left = make("span", { "aria-hidden": "true" }, `${seconds} s`);
    const now = make("button", { class: "btn sm", type: "button" }, "Try now");
    now.addEventListener("click", connect);
    if (lost.hidden) {
      lost.replaceChildren(icon("wifi-off"), make("span", {}, "The stream is lost. Nothing is missed: Lux goes on reading, and the lines arrive when it is back. Trying again in "), left, now);
    } else {
      one("span[aria-hidden]", lost).textContent = `${seconds} s`;
    }
    lost.hidden = false;
    tell();
    again = setInterval(() => {
      seconds -= 1;
      one("span[aria-hidden]", lost).textContent = `${Math.max(seconds, 0)} s`;
      if (seconds <= 0) connect();
    }, 1000);
  }
  addEventListener("online", () => { if (!lost.hidden) connect(); });
  addEventListener("pagehide", () => { clearInterval(again); source?.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

  // ---- older and newer lines -------------------------------------------------------------------
  async function load(link) {
    const older = link.id === "older";
    if (link.dataset.go !== undefined || known.size + 200 > MOST) {
      location.assign(link.href);
      return false;
    }
    pause();
    let answer;
    try {
      answer = await fetch(link.href.replace("/logs?", "/logs/rows?"), { signal: AbortSignal.timeout(10000) });
    } catch {
      answer = { ok: false };
    }
    if (!answer.ok) {
      lux.told({ text: "These lines could not be loaded. Nothing is lost; try again, or load the page anew.", bad: true });
      return false;
    }
    const chunk = one("ol", read(await answer.text()));
    ready(chunk);
    const height = list.scrollHeight;
    const next = older ? chunk.dataset.older : chunk.dataset.newer;
    if (older) {
      rows.prepend(chunk);
      list.scrollTop += list.scrollHeight - height;
    } else rows.append(chunk);
    if (next) {
      const url = new URL(link.href);
      url.searchParams.set(older ? "before" : "after", next);
      link.href = url.href;
    } else {
      const text = older ? "Lux's memory begins here; what is older is in the files." : "These are the newest lines.";
      link.replaceWith(make("span", { class: "dimmer xs" }, text));
    }
    say(`${told(chunk.childElementCount, "line")} loaded`);
    hits();
    return true;
  }
  list.addEventListener("click", (event) => {
    const link = event.target.closest("#older, #newer");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    load(link);
  });

  // ---- one line --------------------------------------------------------------------------------
  function choose(row, { focus = true } = {}) {
    current?.classList.remove("at");
    current = row;
    row.classList.add("at");
    if (focus) {
      pause();
      visited = true;
      row.scrollIntoView({ block: "center" });
      row.focus({ preventScroll: true });
    }
    hits();
  }

  /** The row at which we are: chosen, or the last that is seen. */
  function here() {
    if (current?.isConnected) return current;
    const box = list.getBoundingClientRect();
    const seen = document.elementFromPoint(box.left + box.width / 2, box.bottom - 14)?.closest(".ll");
    return seen ?? rows.lastElementChild?.lastElementChild;
  }

  const follows = (a, b) => Boolean(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING);

  /** To the next row of a kind, or the one before; what is not loaded is looked through as well. */
  async function step(kind, name, by) {
    const some = rows.getElementsByClassName(kind);
    for (let pages = 0; pages < 10; pages += 1) {
      const from = here();
      const inside = [...some];
      const fresh = kind === "hit" && !visited ? inside[0] : null;
      const next = fresh ?? (by > 0 ? inside.find((row) => from && follows(from, row)) : inside.findLast((row) => from && follows(row, from)));
      // Where nothing is chosen yet, the one we look at counts.
      const it = next ?? (!current && from?.classList.contains(kind) ? from : null);
      if (it) {
        choose(it);
        say(`${name} ${inside.indexOf(it) + 1} of ${inside.length}`);
        return;
      }
      const edge = one(by > 0 ? "#newer" : "#older");
      if (!edge || edge.dataset.go !== undefined || !(await load(edge))) break;
    }
    lux.told({ text: by > 0 ? `No later ${name.toLowerCase()} here` : `No earlier ${name.toLowerCase()} here` });
  }

  function details(row) {
    const open = one(".detail", row);
    all(".detail", rows).forEach((it) => it.remove());
    if (open) return;
    const time = one(".lt time", row);
    const link = new URL(one(".lt", row).href);
    if (find.value) {
      link.searchParams.set("q", find.value);
      if (one("[name=regex]").checked) link.searchParams.set("regex", "1");
    }
    const text = () => `${time.dateTime} ${one(".ls", row).textContent} ${one(".lm", row).innerText}`;
    const button = (sign, name, run) => {
      const made = make("button", { class: "btn sm", type: "button" }, icon(sign), name);
      made.addEventListener("click", run);
      return made;
    };
    const ask = `What does this line mean, and what is to be done about it?\n${text().slice(0, 1500)}`;
    const made = make("div", { class: "detail" },
      make("p", { class: "dimmer xs" }, `${one(".lv", row).textContent.trim()}, ${whole(time)}, ${row.dataset.place}`),
      make("div", { class: "acts" },
        make("a", { class: "btn sm", href: link.pathname + link.search }, icon("scroll-text"), "View in context"),
        button("link-2", "Copy link", () => lux.copy(one(".lt", row).href, "Link copied")),
        button("copy", "Copy line", () => lux.copy(text(), "Line copied")),
        make("a", { class: "btn sm", href: `/chat?ask=${encodeURIComponent(ask)}` }, icon("message-square"), "Ask Lux")));
    row.append(made);
    made.scrollIntoView({ block: "nearest" });
  }

  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".ll");
    if (!row || event.target.closest("a, button, summary, .detail") || !getSelection().isCollapsed) return;
    current?.classList.remove("at");
    current = row;
    row.classList.add("at");
    visited = true;
    pause();
    details(row);
    hits();
  });
  rows.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches(".ll")) details(event.target);
    if (event.key === "Escape") all(".detail", rows).forEach((it) => it.remove());
  });

  // ---- keys ------------------------------------------------------------------------------------
  function beside(by) {
    const chosen = all(".ll", rows);
    const at = chosen.indexOf(here());
    const next = chosen[at + by];
    if (next) choose(next);
  }
  key({ keys: " ", name: "Pause or follow", run: toggle });
  for (const [letter, kind, name] of [["e", "err", "Error"], ["w", "warn", "Warning"], ["n", "hit", "Hit"]]) {
    key({ keys: letter, name: `Next ${name.toLowerCase()}`, run: () => step(kind, name, 1) });
    key({ keys: letter.toUpperCase(), name: `${name} before`, run: () => step(kind, name, -1) });
  }
  key({ keys: "j", name: "Next line", run: () => beside(1) });
  key({ keys: "k", name: "Line before", run: () => beside(-1) });
  key({ keys: "v", name: "View the line in context", run: () => {
    if (current?.isConnected) location.assign(one(".lt", current).href);
  } });
  key({ keys: "G", name: "To the end", run: bottom });
  key({ keys: "g g", name: "To the top (or g alone)", run: () => upward() });
  function upward() {
    pause();
    list.scrollTop = 0;
  }
  // "g" alone is the top, unless another key follows: those lead to other pages.
  let alone = 0;
  document.addEventListener("keydown", (event) => {
    clearTimeout(alone);
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "g" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (localStorage.getItem("lux-keys") !== "off" && !one("dialog[open]")) alone = setTimeout(upward, 700);
  });
  one("#hit-next").addEventListener("click", () => step("hit", "Hit", 1));
  one("#hit-before").addEventListener("click", () => step("hit", "Hit", -1));

  // ---- the bar ---------------------------------------------------------------------------------
  const form = one("#filters");
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits], [name=regex]")) form.requestSubmit();
  });
  /** The first line that is seen. */
  function seen() {
    const box = list.getBoundingClientRect();
    return document.elementFromPoint(box.left + box.width / 2, box.top + 20)?.closest(".ll") ?? one(".ll", rows);
  }
  form.addEventListener("submit", () => {
    const idle = all("input, select", form).filter((it) => it.value === "" || it.value === "all" || it.value === "highlight");
    for (const it of idle) it.disabled = true;
    // Who looks at a place stays there.
    const row = following ? null : here();
    const at = row && make("input", { type: "hidden", name: "at", value: one(".lt time", row)?.dateTime });
    if (at) form.append(at);
    setTimeout(() => {
      for (const it of idle) it.disabled = false;
      at?.remove();
    });
  });

  for (const [id, name] of [["wrap", "nowrap"], ["stamps", "nostamps"]]) {
    const box = one(`#${id}`);
    const show = () => list.classList.toggle(name, !box.checked);
    box.checked = localStorage.getItem(`lux-logs-${id}`) !== "off";
    box.addEventListener("change", () => {
      localStorage.setItem(`lux-logs-${id}`, box.checked ? "on" : "off");
      show();
    });
    show();
  }
  one("#clear").addEventListener("click", () => {
    const to = new URLSearchParams(query);
    to.set("since", new Date().toISOString());
    location.assign(`/logs?${to}`);
  });

  one("#jump").addEventListener("lux:opened", () => {
    const time = one(".lt time", seen() ?? page);
    const at = time ? new Date(time.dateTime) : new Date();
    one("#jump-at").value = `${lux.day(at)}T${lux.clock(at)}`;
  });
  one("#jump-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const at = new Date(one("#jump-at").value);
    if (!Number.isNaN(at.getTime())) location.assign(around(at.toISOString()));
  });

  // Menus close when somebody goes elsewhere.
  const menus = () => all("details.menu[open]");
  document.addEventListener("click", (event) => {
    for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of menus()) {
      menu.open = false;
      one("summary", menu).focus();
    }
  });

  // ---- the start -------------------------------------------------------------------------------
  for (const chunk of all(".chunk", rows)) lastDay = ready(chunk, lastDay);
  current = one(".ll.at", rows);
  if (live) {
    one("#follow").hidden = true;
    bottom();
    const first = found[0];
    if (first && find.value) choose(first, { focus: false });
  } else {
    one("#pause").hidden = true;
    visited = true;
    (current ?? rows.firstElementChild)?.scrollIntoView({ block: "center" });
  }
  tell();
  rate();
  document.addEventListener("htmx:after:swap", rate);
  connect();
})();
