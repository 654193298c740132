// The chat's page: asking without leaving it, following an answer, its evidence beside it.
// What the server rendered goes in through one policy; all else goes in as text.
"use strict";
(() => {
  const { one, all, make, icon, told } = window.lux;
  const room = one(".chat");
  const scroll = one("#scroll");
  const col = one("#col");
  const composer = one("#composer");
  const words = one("#m");
  const jump = one("#jump");
  const policy = window.trustedTypes?.createPolicy("lux-chat", { createHTML: (html) => html }) ?? { createHTML: (html) => html };
  const key = () => `lux-draft-${room.dataset.session || "new"}`;

  /** Puts HTML of our own server in the place of what an element holds. */
  function fill(element, html) {
    element.innerHTML = policy.createHTML(html);
    ready(element);
  }
  function parse(html) {
    const template = make("template");
    template.innerHTML = policy.createHTML(html);
    return template.content;
  }
  function ready(element) {
    window.lux.ready(element);
    window.htmx?.process(element);
    for (const block of all(".prose pre", element)) {
      if (block.parentElement.classList.contains("codebox")) continue;
      const copy = make("button", { class: "ib", type: "button", "aria-label": "Copy code" }, icon("copy"));
      copy.addEventListener("click", () => window.lux.copy(one("code", block)?.textContent ?? block.textContent));
      const box = make("div", { class: "codebox" });
      block.replaceWith(box);
      box.append(block, copy);
    }
  }
  ready(document.body);

  // ---- following the end ----------------------------------------------------------------------
  let at_end = true;
  const gap = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight;
  function follow() {
    if (at_end) scroll.scrollTop = scroll.scrollHeight;
    jump.hidden = at_end || gap() < 48;
  }
  scroll.addEventListener("scroll", () => {
    at_end = gap() < 48;
    jump.hidden = at_end;
  });
  // Who turns the wheel up wants to read, however fast the words come.
  scroll.addEventListener("wheel", (event) => { if (event.deltaY < 0 && scroll.scrollHeight > scroll.clientHeight) at_end = false; }, { passive: true });
  jump.addEventListener("click", () => { at_end = true; follow(); words?.focus(); });
  new ResizeObserver(follow).observe(col);
  if (!location.hash || location.hash === "#now" || location.hash === "#composer") follow();

  // ---- an answer under way --------------------------------------------------------------------
  let source = null;
  let slow = null;
  const now = () => one("#now");
  const part = (name) => one(`[data-part=${name}]`, now());

  function say(text, sign = "loader-circle") {
    const status = now() && part("status");
    if (!status) return;
    const spinning = make("span", { class: sign === "loader-circle" ? "spin" : "" }, icon(sign));
    status.replaceChildren(spinning, make("span", {}, text));
  }

  /** Says so when nothing is heard for long. */
  function wait() {
    clearInterval(slow);
    const since = Date.now();
    slow = setInterval(() => {
      const seconds = Math.round((Date.now() - since) / 1000);
      if (seconds >= 8) say(`Nothing new for ${seconds} s. The answer goes on by itself; wait, or stop it.`);
    }, 2000);
  }

  function over() {
    source?.close();
    source = null;
    clearInterval(slow);
  }

  function listen() {
    const article = now();
    if (!article) return;
    over();
    const { session, question } = article.dataset;
    source = new EventSource(`/chat/${session}/events?question=${question}`);
    const on = (name, run) => source.addEventListener(name, (event) => { wait(); run(JSON.parse(event.data)); follow(); });
    on("status", ({ text }) => say(text.charAt(0).toUpperCase() + text.slice(1)));
    on("trail", ({ html }) => {
      const open = one("details", part("trail"))?.open;
      fill(part("trail"), html);
      if (open) one("details", part("trail")).open = true;
    });
    on("text", ({ html }) => fill(part("text"), html));
    on("run", ({ html }) => fill(part("run"), html));
    on("done", finish);
    on("failed", ({ text }) => fail(text));
    source.addEventListener("error", () => say("The connection was lost. Connecting again; nothing is lost.", "wifi-off"));
    source.addEventListener("open", () => { wait(); if (part("status")?.textContent.includes("connection was lost")) say("Lux is answering"); });
    wait();
  }

  function finish({ html, evidence, count, badge }) {
    over();
    const article = now();
    const held = article.contains(document.activeElement);
    const open = one(".trace", article)?.open;
    const answer = parse(html).firstElementChild;
    article.replaceWith(answer);
    ready(answer);
    if (open && one(".trace", answer)) one(".trace", answer).open = true;
    if (evidence) {
      one("#evs").append(parse(evidence));
      ready(one("#evs"));
      one("#evn").textContent = count;
      one("#evb").hidden = false;
      one("#noev").hidden = true;
      one("#hasev").hidden = false;
      show(answer.id);
    }
    one("#badge").replaceChildren(...(badge ? [make("span", { class: `badge ${badge.tone}` }, badge.word)] : []));
    const text = one("[data-words]", answer)?.innerText.trim().slice(0, 160) ?? "";
    one("#said").textContent = `Lux answered. ${text}`;
    if (held) words?.focus();
    next();
  }

  function fail(why) {
    over();
    const article = now();
    const question = col.querySelector(`#m${article.dataset.question} .b`)?.textContent ?? "";
    const form = make("form", { method: "post", action: "/chat/ask", "data-send": true },
      make("input", { type: "hidden", name: "session", value: article.dataset.session }),
      make("input", { type: "hidden", name: "replaces", value: article.dataset.question }),
      make("input", { type: "hidden", name: "message", value: question }),
      make("button", { class: "btn sm", type: "submit" }, icon("rotate-ccw"), "Retry"));
    const alert = make("div", { class: "alert warn", role: "alert" }, icon("triangle-alert", false),
      make("div", {}, make("b", {}, "There is no answer"), make("p", {}, why)), form);
    one("[data-stop]", article)?.remove();
    part("status").replaceWith(alert);
    article.removeAttribute("id");
    article.removeAttribute("aria-busy");
    one("#said").textContent = `There is no answer. ${why}`;
    next();
  }

  // ---- asking ---------------------------------------------------------------------------------
  let queued = null;
  let sending = false;

  function queue(text) {
    queued = text;
    one("#queued").hidden = text === null;
    one("#queued-text").textContent = text ?? "";
  }
  one("#unqueue")?.addEventListener("click", () => { words.value = queued ?? ""; queue(null); grow(); words.focus(); });

  function next() {
    if (queued === null) return;
    words.value = queued;
    queue(null);
    composer.requestSubmit();
  }

  /** Posts a form that asks Lux something, and shows what comes of it. */
  async function send(form, submitter) {
    const fields = new URLSearchParams(new FormData(form, submitter));
    const own = form === composer;
    if (own && !fields.get("message").trim() && fields.get("mode") === "chat") return;
    if (now() || sending) {
      if (own) { queue(fields.get("message")); words.value = ""; grow(); keep(); }
      else told({ text: "Lux is still answering. Wait, or stop it first.", bad: true });
      return;
    }
    sending = true;
    const buttons = all("button[type=submit]", form);
    buttons.forEach((button) => { button.disabled = true; });
    try {
      const answer = await fetch("/chat/ask", {
        method: "POST", body: fields, headers: { accept: "application/json" }, signal: AbortSignal.timeout(10000),
      });
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.detail ?? body.title);
      began(body, fields, own);
    } catch (error) {
      const late = error.name === "TimeoutError" || error instanceof TypeError;
      told({ text: late ? "Lux does not answer. Your words are still here; send them again." : error.message, bad: true });
    } finally {
      sending = false;
      buttons.forEach((button) => { button.disabled = false; });
    }
  }

  function began({ session, title, html }, fields, own) {
    one("#welcome")?.remove();
    const replaced = fields.get("replaces");
    if (replaced) {
      const first = one(`#m${replaced}`);
      while (first?.nextElementSibling) first.nextElementSibling.remove();
      first?.remove();
    }
    if (own) {
      words.value = "";
      keep();
      grow();
      all("[name=replaces]", composer).forEach((field) => field.remove());
      all(".queued:not(#queued)", composer).forEach((line) => line.remove());
    }
    all(".msg.u .ib", col).forEach((edit) => edit.remove());
    col.append(parse(html));
    ready(col);
    room.dataset.session = session;
    one("[name=session]", composer).value = session;
    if (location.pathname !== `/chat/${session}` || location.search) history.replaceState(null, "", `/chat/${session}`);
    if (title) {
      one("#title").textContent = title;
      document.title = `${title} · Lux`;
    }
    at_end = true;
    follow();
    listen();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented) return;
    if (form.matches("[data-send]")) {
      event.preventDefault();
      send(form, event.submitter);
    } else if (form.matches("[data-stop]")) {
      event.preventDefault();
      stop();
    }
  });

  async function stop() {
    const article = now();
    if (!article) return;
    say("Stopping");
    try {
      await fetch(`/api/chat/sessions/${article.dataset.session}/stop`, { method: "POST", signal: AbortSignal.timeout(10000) });
    } catch {
      say("Lux does not answer; press Stop again.", "wifi-off");
    }
  }

  // ---- the composer ---------------------------------------------------------------------------
  function grow() {
    if (!words) return;
    words.rows = Math.min(Math.max(words.value.split("\n").length, Math.ceil(words.value.length / 90)), 8);
  }
  function keep() {
    if (words.value) sessionStorage.setItem(key(), words.value);
    else sessionStorage.removeItem(key());
  }
  if (words) {
    if (!words.value) words.value = sessionStorage.getItem(key()) ?? "";
    grow();
    words.addEventListener("input", () => { grow(); keep(); });
    words.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      composer.requestSubmit();
    });
    if (!matchMedia("(pointer: coarse)").matches && !location.hash.startsWith("#m")) words.focus();
  }

  // ---- evidence -------------------------------------------------------------------------------
  let from = null;
  const aside = one("#evid");

  /** Shows the evidence of one answer; without a name that of the last which has some. */
  function show(answer) {
    const groups = all(".evs", aside);
    const wanted = groups.find((group) => group.dataset.of === answer) ?? groups.at(-1);
    for (const group of groups) group.hidden = group !== wanted;
  }
  show();

  function shut() {
    aside.classList.remove("open");
    all(".ev.sel", aside).forEach((card) => card.classList.remove("sel"));
    (from?.isConnected ? from : one("#evb"))?.focus();
    from = null;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.matches(".prose a.cite")) {
      const card = document.getElementById(link.hash.slice(1));
      if (!card) return;
      event.preventDefault();
      show(card.parentElement.dataset.of);
      all(".ev.sel", aside).forEach((other) => other.classList.remove("sel"));
      card.classList.add("sel");
      aside.classList.add("open");
      from = link;
      card.focus({ preventScroll: true });
      card.scrollIntoView({ block: "nearest" });
    } else if (link.id === "evb") {
      event.preventDefault();
      from = link;
      aside.classList.add("open");
      one(".close", aside).focus();
    } else if (link.matches(".ev .back, .evid .close")) {
      event.preventDefault();
      shut();
    } else if (link.matches("[data-history]")) {
      event.preventDefault();
      link.closest("details")?.removeAttribute("open");
      window.lux.open("history");
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || one("dialog[open]")) return;
    if (one(".menu[open]")) one(".menu[open]").open = false;
    else if (aside.contains(document.activeElement) && (aside.classList.contains("open") || from)) shut();
    else if (now()) stop();
  });
  document.addEventListener("click", (event) => {
    const menu = one(".menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
  });

  addEventListener("pagehide", over);
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  listen();
})();
