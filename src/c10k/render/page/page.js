// Filters hide what is not ticked, in tables, in the legend and in pictures. The values that are
// not ticked are kept after the # of the address: #framework=trio,curio&clients=1
"use strict";
const form = document.getElementById("filters");
const boxes = [...form.querySelectorAll("input")];
const marks = [...document.querySelectorAll(".picture [aria-label]")].filter(
  (mark) => mark.getAttribute("role") === "graphics-symbol");

function hiddenValues() {
  const hidden = {};
  for (const box of boxes) {
    if (!box.checked) (hidden[box.name] ??= new Set()).add(box.value);
  }
  return hidden;
}

function isHidden(hidden, server, clients) {
  const about = SERVERS[server];
  if (about && ["framework", "model", "tier"].some((key) => hidden[key]?.has(about[key]))) return true;
  return Boolean(clients && hidden.clients?.has(clients));
}

function show() {
  const hidden = hiddenValues();
  let rows = 0;
  for (const each of document.querySelectorAll("[data-server]")) {
    each.hidden = isHidden(hidden, each.dataset.server, each.dataset.clients);
    rows += each.tagName === "TR" && !each.hidden;
  }
  for (const mark of marks) {
    const said = mark.getAttribute("aria-label");
    const at = said.match(/^([^,]+), ([\d,]+) clients/);
    mark.toggleAttribute("hidden", isHidden(hidden, at ? at[1] : said, at ? at[2].replaceAll(",", "") : ""));
  }
  document.getElementById("shown").textContent = `${rows} rows shown`;
  return hidden;
}

function write() {
  const hidden = show();
  const parts = Object.entries(hidden).map(
    ([key, values]) => `${key}=${[...values].map(encodeURIComponent).join(",")}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

function read() {
  const hidden = {};
  for (const part of location.hash.slice(1).split("&")) {
    const [key, values] = part.split("=");
    if (values) hidden[key] = new Set(values.split(",").map(decodeURIComponent));
  }
  for (const box of boxes) box.checked = !hidden[box.name]?.has(box.value);
  show();
}

form.addEventListener("change", write);
form.addEventListener("reset", () => setTimeout(write));
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", read);
read();
