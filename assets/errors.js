// The list of errors: what is selected, and the keys for it. On an error's page only the keys.
"use strict";
(() => {
  const { one, all, key } = window.lux;

  // Until Monday means the viewer's Monday.
  const offset = () => {
    for (const field of all("input[name=offset]")) field.value = -new Date().getTimezoneOffset();
  };
  offset();
  document.addEventListener("htmx:after:swap", offset);

  // An open menu closes like every other: by Escape, and by going elsewhere.
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

  const press = (form, deed) => one(`${form} button[name=do][value=${deed}]`)?.click();
  if (one("#deedbox")) {
    key({ keys: "r", name: "Re-test this error", run: () => press("#deedbox", "repair") });
    key({ keys: "m", name: "Mute this error", run: () => press("#deedbox", "mute") });
  }

  const filter = one("#filter");
  for (const choice of all("select", filter ?? document.createElement("i"))) {
    choice.addEventListener("change", () => filter.requestSubmit());
  }
  // Fields that say nothing stay out of the address.
  filter?.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });

  const bulk = one("#bulk");
  if (!bulk || !one(".bulk")) return;
  /** What is selected, also over rows that are drawn anew. */
  const chosen = new Set();
  const boxes = () => all("tbody input[name=id]", bulk);
  const everything = () => one("input[name=all]", bulk);

  function tell() {
    const list = boxes();
    const count = everything()?.checked ? Number(everything().dataset.reach ?? NaN) : chosen.size;
    const number = Number.isNaN(count) ? "All" : String(count);
    one("#chosen").textContent = chosen.size === 0 ? "" : `${number} selected`;
    one("button[value=repair] span", bulk).textContent = `Repair ${number.toLowerCase()}`;
    one("button[value=merge]", bulk).hidden = chosen.size < 2 || everything()?.checked;
    const every = one("#every");
    if (every) {
      every.checked = list.length > 0 && list.every((box) => box.checked);
      every.indeterminate = !every.checked && chosen.size > 0;
    }
  }

  function choose(box, on) {
    box.checked = on;
    if (on) chosen.add(box.value);
    else chosen.delete(box.value);
  }

  bulk.addEventListener("change", ({ target }) => {
    if (target.id === "every") for (const box of boxes()) choose(box, target.checked);
    else if (target.name === "id") choose(target, target.checked);
    if (target.name !== "all" && everything()) everything().checked = false;
    tell();
  });

  one("[data-clear]", bulk)?.addEventListener("click", () => {
    for (const box of boxes()) choose(box, false);
    if (everything()) everything().checked = false;
    tell();
    one("#every")?.focus();
  });

  let known = new Set(boxes().map((box) => box.value));
  document.addEventListener("htmx:after:swap", () => {
    const now = new Set(boxes().map((box) => box.value));
    for (const id of [...chosen]) if (!now.has(id)) chosen.delete(id);
    for (const box of boxes()) box.checked = chosen.has(box.value);
    const fresh = [...now].filter((id) => !known.has(id)).length;
    if (fresh > 0) one("#news").textContent = fresh === 1 ? "1 new error in the list" : `${fresh} new errors in the list`;
    known = now;
    tell();
  });

  /** Does it to what is selected, else to the row that has the focus. */
  function act(deed) {
    const row = document.activeElement?.closest("[data-row]");
    if (chosen.size === 0 && row) choose(one("input[name=id]", row), true);
    tell();
    if (chosen.size > 0) press("#bulk", deed);
  }
  key({ keys: "r", name: "Repair the selected errors", run: () => act("repair") });
  key({ keys: "m", name: "Mute the selected errors", run: () => act("mute") });

  // After going back the browser fills the boxes in again.
  addEventListener("pageshow", () => {
    for (const box of boxes()) choose(box, box.checked);
    tell();
  });
})();
