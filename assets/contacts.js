// The list of contacts: its filters, and what is selected. The editor of a segment: its rows.
"use strict";
(() => {
  const { one, all } = window.lux;

  // An open menu closes by Escape, and by going elsewhere.
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

  const filter = one("#filter");
  for (const choice of filter ? all(".pick select", filter) : []) {
    choice.addEventListener("change", () => filter.requestSubmit());
  }
  // Fields that say nothing stay out of the address, and so do the usual columns.
  filter?.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
    const boxes = all("input[name=col]", filter);
    if (boxes.every((box) => box.checked === box.defaultChecked) && !location.search.includes("col=")) {
      formData.delete("col");
    }
    if (formData.get("size") === "25") formData.delete("size");
  });

  const rows = one("#conds");
  rows?.addEventListener("click", (event) => {
    const drop = event.target.closest("[data-drop]");
    if (!drop) return;
    const row = drop.closest("li");
    const form = row.closest("form");
    if (rows.children.length > 1) row.remove();
    else one("input[name=value]", row).value = "";
    form.dispatchEvent(new Event("change", { bubbles: true }));
  });

  const bulk = one("#bulk");
  if (!bulk || !one(".bulk")) return;
  const boxes = () => all("tbody input[name=id]", bulk);
  const every = one("#every");
  const everything = one("input[name=all]", bulk);
  function tell() {
    const list = boxes();
    const count = list.filter((box) => box.checked).length;
    one("#chosen").textContent = everything?.checked ? "All selected" : `${count} selected`;
    if (every) {
      every.checked = list.length > 0 && count === list.length;
      every.indeterminate = count > 0 && count < list.length;
    }
  }
  every?.addEventListener("change", () => {
    for (const box of boxes()) box.checked = every.checked;
    tell();
  });
  bulk.addEventListener("change", (event) => {
    if (event.target === every) return;
    if (everything && event.target.name === "id") everything.checked = false;
    tell();
  });
  tell();
})();
