// What all pages share: times in the viewer's zone, the pulse, the keyboard, the palette,
// dialogs, toasts, copying. Nothing here writes HTML: text goes in as text.
"use strict";
window.lux = (() => {
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  /** Makes an element; what is given as text stays text. */
  function make(name, attributes = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(key, "");
      else if (value !== false && value != null) element.setAttribute(key, value);
    }
    element.append(...inside);
    return element;
  }

  const sheet = (() => {
    const used = one("svg.i use");
    return used ? used.getAttribute("href").split("#")[0] : "/assets/icons.svg";
  })();

  /** An icon of the sheet. */
  function icon(name, small = true) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", small ? "i s" : "i");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${sheet}#${name}`);
    svg.append(use);
    return svg;
  }

  // ---- times -------------------------------------------------------------------------------
  const two = (number) => String(number).padStart(2, "0");
  const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const zone = (() => {
    const parts = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts();
    return parts.find((part) => part.type === "timeZoneName").value;
  })();

  /** A span of seconds in its largest unit, as the server says it. */
  function span(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} days`;
  }

  function tellTime(element) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const away = (Date.now() - at) / 1000;
    const text = {
      ago: () => `${span(away)} ago`,
      until: () => (away < 0 ? `in ${span(-away)}` : "now"),
      full: () => `${day(at)} ${clock(at)} ${zone}`,
      clock: () => clock(at),
    }[element.dataset.when];
    if (!text) return;
    const said = text();
    if (element.textContent !== said) element.textContent = said;
    const utc = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
    const title = zone === "UTC" ? utc : `${day(at)} ${clock(at)} ${zone}, ${utc}`;
    if (element.title !== title) element.title = title;
  }
  const times = (from = document) => all("time[data-when]", from).forEach(tellTime);

  // ---- toasts and dialogs --------------------------------------------------------------------
  /** Shows a toast: `{text, bad, undo: {action, fields}}`. */
  function told({ text, bad = false, undo = null }) {
    const toast = make("div", { class: bad ? "toast bad" : "toast" }, make("span", {}, text));
    if (undo) {
      const form = make("form", { method: "post", action: undo.action });
      for (const [name, value] of Object.entries(undo.fields || {})) {
        form.append(make("input", { type: "hidden", name, value }));
      }
      form.append(make("button", { class: "btn sm", type: "submit" }, "Undo"));
      toast.append(form);
    }
    const close = { class: "ib", type: "button", "data-dismiss": true, "aria-label": "Dismiss" };
    toast.append(make("button", close, icon("x")));
    one("#toasts").append(toast);
    expire(toast);
  }

  /** Takes a toast away after a while, unless somebody is at it. */
  function expire(toast) {
    const look = () => {
      if (toast.matches(":hover, :focus-within")) setTimeout(look, 3000);
      else if (!toast.classList.contains("bad")) toast.remove();
    };
    setTimeout(look, 10000);
  }

  /** Asks before something is done; resolves to true or false. Focus returns by itself. */
  function ask({ title, text = "", yes = "Go on", danger = false }) {
    const dialog = one("#ask");
    one("#ask-title").textContent = title;
    one("#ask-text").textContent = text;
    one("#ask-yes").textContent = yes;
    one("#ask-yes").className = danger ? "btn d" : "btn p";
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }

  function open(id) {
    const dialog = document.getElementById(id);
    if (!dialog || dialog.open) return;
    dialog.showModal();
    one("input:not([type=hidden]), textarea, select", dialog)?.focus();
    dialog.dispatchEvent(new CustomEvent("lux:opened"));
  }

  /** Copies text and says so. */
  async function copy(text, what = "Copied") {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS browsers keep the clipboard for old ways.
      const area = make("textarea", { class: "sr", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    told({ text: what });
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-open],[data-close],[data-dismiss],[data-copy],[data-copy-from]");
    if (!target) {
      // A click beside a dialog closes it.
      if (event.target instanceof HTMLDialogElement) event.target.close();
      return;
    }
    if (target.dataset.open !== undefined) open(target.dataset.open);
    if (target.dataset.close !== undefined) target.closest("dialog").close();
    if (target.dataset.dismiss !== undefined) target.closest(".toast").remove();
    if (target.dataset.copy !== undefined) copy(target.dataset.copy);
    if (target.dataset.copyFrom !== undefined) copy(one(target.dataset.copyFrom).innerText);
  });

  // A form that asks first: <form data-ask="Delete this chat?" data-ask-text="…" data-ask-yes="Delete">
  // with <button disabled data-needs-script>.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const asks = event.submitter?.dataset.ask ? event.submitter.dataset : form.dataset;
    if (!asks.ask || form.dataset.asked) {
      delete form.dataset.asked;
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    const danger = asks.askDanger !== undefined;
    const { submitter } = event;
    if (await ask({ title: asks.ask, text: asks.askText, yes: asks.askYes, danger })) {
      form.dataset.asked = "yes";
      form.requestSubmit(submitter);
    }
  }, true);

  // ---- parts of the page, asked for again ----------------------------------------------------
  // The only HTML that is put into a page is what this server rendered; nothing is evaluated.
  const policy = window.trustedTypes?.createPolicy("lux", { createHTML: (text) => text });
  const refuse = () => { throw new Error("nothing is evaluated here"); };
  window.htmx?.registerExtension("lux", {
    init: (api) => api.initSecurity(policy ? { createHTML: (text) => policy.createHTML(text), createScript: refuse } : null, refuse, refuse),
  });

  // ---- the pulse -----------------------------------------------------------------------------
  let tries = 0;
  const lost = one("#lost");

  function beat(pulse) {
    for (const badge of all("[data-count]")) {
      const count = pulse[badge.dataset.count] ?? 0;
      badge.hidden = count === 0;
      badge.firstElementChild.textContent = count;
    }
    for (const dot of all("[data-alive]")) dot.className = pulse.known ? "dot ok" : "dot bad";
    if (!pulse.known) say("The database does not answer. Nothing is lost; Lux tries again by itself.");
    else say("");
    for (const name of pulse.changed) document.body.dispatchEvent(new CustomEvent(`lux:${name}`));
  }

  function say(text) {
    lost.hidden = text === "";
    if (lost.textContent !== text) lost.textContent = text;
  }

  /** Tells of what came into the inbox a moment ago: a toast, and where it was allowed more. */
  async function arrived() {
    const answer = await fetch("/api/notifications/inbox?unread=true&limit=3").catch(() => null);
    if (!answer?.ok) return;
    const { entries } = await answer.json();
    for (const entry of entries.reverse()) {
      const known = Number(localStorage.getItem("lux-inbox") ?? 0);
      if (entry.id <= known || Date.now() - new Date(entry.at) > 60000) continue;
      localStorage.setItem("lux-inbox", entry.id);
      told({ text: entry.title });
      if ("Notification" in window && Notification.permission === "granted") {
        const shown = new Notification(entry.title, { body: entry.body, tag: `lux-${entry.id}` });
        shown.addEventListener("click", () => { focus(); location.assign(entry.path || "/notifications"); });
      }
    }
  }
  document.body.addEventListener("lux:inbox", arrived);

  let source = null;
  let timer = null;
  // What the page was made of; between that and the first beat something may have happened.
  let made = document.body.dataset.pulse;

  function follow() {
    clearTimeout(timer);
    source?.close();
    const stream = new EventSource("/ui/pulse");
    source = stream;
    stream.addEventListener("pulse", (event) => {
      const pulse = JSON.parse(event.data);
      const back = tries > 0 || (made !== undefined && made !== pulse.mark);
      tries = 0;
      made = undefined;
      beat(pulse);
      // What happened meanwhile is asked for.
      if (back) for (const name of ["errors", "repairs", "approvals", "inbox"]) document.body.dispatchEvent(new CustomEvent(`lux:${name}`));
    });
    stream.addEventListener("error", () => {
      if (stream === source) retry();
    });
  }

  /** The server ends each stream after two minutes: one failure is no loss yet. */
  function retry() {
    source?.close();
    source = null;
    tries += 1;
    if (tries > 1) say(`Lux does not answer${navigator.onLine ? "" : ": this device is offline"}. Trying again…`);
    clearTimeout(timer);
    timer = setTimeout(follow, Math.min(500 * 2 ** tries, 10000));
  }

  function startFollowing() {
    follow();
    addEventListener("offline", () => { tries += 1; retry(); });
    addEventListener("online", follow);
    addEventListener("pagehide", () => { source?.close(); source = null; clearTimeout(timer); });
    addEventListener("pageshow", (event) => { if (event.persisted) follow(); });
  }

  // ---- the keyboard --------------------------------------------------------------------------
  const keys = [];
  let before = "";
  const off = () => localStorage.getItem("lux-keys") === "off";

  /** Adds a shortcut: `{keys: "g h", name: "Home", run}`; single keys can be switched off. */
  const key = (shortcut) => keys.push(shortcut);
  const go = (path) => () => location.assign(path);
  for (const [letters, name, path] of [
    ["g h", "Home", "/"], ["g c", "Chat", "/chat"], ["g e", "Errors", "/errors"], ["g l", "Logs", "/logs"],
    ["g r", "Repairs", "/repairs"], ["g a", "Approvals", "/approvals"], ["c", "New chat", "/chat"],
  ]) key({ keys: letters, name, run: go(path) });
  key({ keys: "/", name: "Search on this page", run: () => { if (one("[data-search]")) one("[data-search]").focus(); else open("palette"); } });
  key({ keys: "?", name: "This list", run: () => open("keys") });
  key({ keys: "j", name: "Next row", run: () => step(1) });
  key({ keys: "k", name: "Row before", run: () => step(-1) });
  key({ keys: "x", name: "Select the row", run: () => current()?.querySelector("input[type=checkbox]")?.click() });

  const rows = () => all("[data-row]").filter((row) => row.offsetParent !== null);
  const current = () => document.activeElement?.closest("[data-row]");
  function step(by) {
    const list = rows();
    if (list.length === 0) return;
    const at = list.indexOf(current());
    const next = list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(Math.max(at + by, 0), list.length - 1)];
    (one("a[href]", next) ?? next).focus();
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open("palette");
      return;
    }
    const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || off() || one("dialog[open]")) return;
    const typed = before ? `${before} ${event.key}` : event.key;
    before = "";
    const found = keys.findLast((shortcut) => shortcut.keys === typed || shortcut.keys === event.key);
    if (found) {
      if (event.key === " " && event.target.closest("button, a, summary, input")) return;
      event.preventDefault();
      found.run(event);
    } else if (keys.some((shortcut) => shortcut.keys.startsWith(`${event.key} `))) {
      before = event.key;
      setTimeout(() => { before = ""; }, 1500);
    }
  });

  one("#keys").addEventListener("lux:opened", () => {
    const list = one("#keys-list");
    const row = ([letters, name]) => make("div", {}, make("span", {}, ...letters.split(" ").map((it) => make("kbd", {}, it === "" ? "Space" : it))), name);
    const shown = keys.map((shortcut) => [shortcut.keys === " " ? "Space" : shortcut.keys, shortcut.name]);
    list.replaceChildren(...[["Ctrl+K", "Search or jump to"], ...shown].map(row));
    one("#keys-off").checked = off();
  });
  one("#keys-off").addEventListener("change", (event) => {
    localStorage.setItem("lux-keys", event.target.checked ? "off" : "on");
  });

  // ---- the palette ---------------------------------------------------------------------------
  const palette = one("#palette");
  const list = one("#palette-list");
  const asked = one("input[name=q]", palette);
  let pending = null;
  // The search for what stands in the field.
  let looking = null;
  let chosen = 0;

  function offer(found) {
    chosen = 0;
    list.replaceChildren(...found.map(({ name, about, href, icon: sign }, index) => {
      const option = { href, tabindex: "-1", role: "option", id: `palette-${index}`, "aria-selected": String(index === 0) };
      return make("li", { role: "none" }, make("a", option, icon(sign), make("span", {}, name), make("span", { class: "dimmer" }, about ?? "")));
    }));
    asked.setAttribute("aria-activedescendant", found.length ? "palette-0" : "");
  }

  async function search() {
    pending?.abort();
    pending = new AbortController();
    const signal = AbortSignal.any([pending.signal, AbortSignal.timeout(10000)]);
    try {
      const answer = await fetch(`/ui/palette?q=${encodeURIComponent(asked.value)}`, { signal });
      if (answer.ok) offer(await answer.json());
    } catch (error) {
      if (error.name !== "AbortError") list.replaceChildren(make("li", { class: "dimmer" }, "Lux does not answer; the links on the left still work when it is back."));
    }
  }

  palette.addEventListener("lux:opened", () => { asked.select(); looking = search(); });
  asked.addEventListener("input", () => { looking = search(); });
  asked.addEventListener("keydown", async (event) => {
    const options = all("[role=option]", list);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (options.length === 0) return;
      options[chosen]?.setAttribute("aria-selected", "false");
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
      options[chosen].setAttribute("aria-selected", "true");
      options[chosen].scrollIntoView({ block: "nearest" });
      asked.setAttribute("aria-activedescendant", options[chosen].id);
    } else if (event.key === "Enter") {
      event.preventDefault();
      // Who types fast means what they typed, not what was found before.
      await looking;
      const option = all("[role=option]", list)[chosen];
      if (option) option.click();
      else asked.form.requestSubmit();
    }
  });

  // ---- the start -----------------------------------------------------------------------------
  /** Readies what was just put into the page. */
  function ready(from = document) {
    times(from);
    for (const button of all("[data-open],[data-dismiss],[data-copy],[data-copy-from],[data-needs-script]", from)) button.hidden = false;
    // What asks before it acts must not act while nothing could ask.
    for (const button of all("[disabled][data-needs-script]", from)) button.disabled = false;
  }
  ready();
  all("#toasts .toast").forEach(expire);
  for (const heading of all("[data-greeting]")) {
    const hour = new Date().getHours();
    const part = hour < 5 ? "Still up" : hour < 12 ? "Good morning" : hour < 18 ? "Good afternoon" : "Good evening";
    heading.textContent = `${part}, ${heading.dataset.greeting}`;
  }
  for (const pill of all("[data-zone]")) pill.textContent = zone;
  setInterval(() => times(), 5000);
  document.addEventListener("htmx:after:swap", () => ready());
  document.body.addEventListener("lux:told", (event) => told(event.detail));
  if (document.body.dataset.live !== undefined) startFollowing();

  return { one, all, make, icon, times, ready, told, ask, open, copy, key, span, clock, day, zone };
})();
