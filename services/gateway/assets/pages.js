// Runs on every page: htmx with its event streams, filters, announcements for screen readers, and the focus.
import "./htmx.js";
import "htmx.org/dist/ext/hx-sse.js";

// A choice made with the pointer applies at once. With the keyboard, Enter or the Apply button applies it: the arrow
// keys change a closed list at once, so each key would load another page.
let byPointer = false;
document.addEventListener("pointerdown", () => { byPointer = true; }, true);
document.addEventListener("keydown", (event) => {
  byPointer = false;
  if (event.key !== "Enter" || !event.target.matches("form[data-apply-on-change] select")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}, true);
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-apply-on-change]");
  if (form && byPointer) form.requestSubmit();
});

// Keeps the focus where it was when the same page is loaded again.
const FOCUS = "focus";
const nameOf = (element) => `${element.tagName} ${element.id || element.name || element.textContent.trim()}`;
const saveFocus = () => {
  const { activeElement } = document;
  if (activeElement === document.body) return;
  sessionStorage.setItem(FOCUS, JSON.stringify([location.pathname, nameOf(activeElement)]));
};
const restoreFocus = () => {
  const [path, name] = JSON.parse(sessionStorage.getItem(FOCUS) ?? "[]");
  sessionStorage.removeItem(FOCUS);
  if (path !== location.pathname || document.querySelector("[autofocus]")) return;
  [...document.querySelectorAll("a, button, select, input, summary")].find((element) => nameOf(element) === name)?.focus();
};
document.addEventListener("submit", (event) => {
  if (event.target.method === "get") saveFocus();
});

// Screen readers announce a change once: fragments are replaced, but the region stays, and only a new text is set.
const ANNOUNCEMENT = "announcement";
const region = document.getElementById("announcements");
const announce = (text) => {
  if (region && region.textContent !== text) region.textContent = text;
};
const announcement = () => [...document.querySelectorAll("[data-announce]")]
  .map((element) => element.textContent.trim().replace(/\s+/g, " ")).join(" ");
let announced = announcement();
document.addEventListener("htmx:sse:after:message", () => {
  const text = announcement();
  if (text !== announced) announce(text);
  announced = text;
});
// Screen readers skip the first text of a region that has just appeared, so wait a moment after a reload.
const announcedBeforeReload = sessionStorage.getItem(ANNOUNCEMENT);
sessionStorage.removeItem(ANNOUNCEMENT);
if (announcedBeforeReload) setTimeout(() => announce(announcedBeforeReload), 200);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  button.textContent = "Copied";
});

// Shows an explanation beside the page. Its link leads to the same text as a page, for a new tab and for when this fails.
const side = document.getElementById("side");
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-explain]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href);
    const text = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".explanation");
    if (!text) throw new Error("The answer is another page, such as the one to sign in.");
    side.querySelector("[data-content]").replaceChildren(text);
    side.showModal();
    side.scrollTop = 0;
  } catch {
    location.assign(link.href);
  }
});
side?.addEventListener("click", (event) => { if (event.target === side) side.close(); });

// The arrow keys move between the cells of a heat map, which is one stop for the Tab key. Enter opens the link of a cell.
const cellsOf = (row) => [...row.querySelectorAll("td > a")];
const rowsOf = (table) => [...table.tBodies[0].rows].map(cellsOf).filter((cells) => cells.length);
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
for (const table of document.querySelectorAll("table[data-cells]")) {
  rowsOf(table).flat().forEach((cell, number) => { cell.tabIndex = number ? -1 : 0; });
}
document.addEventListener("keydown", (event) => {
  const cell = event.target.closest("table[data-cells] td > a");
  const step = STEPS[event.key];
  if (!cell || !step || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const rows = rowsOf(cell.closest("table"));
  const row = rows.findIndex((cells) => cells.includes(cell));
  const cells = rows[Math.max(0, Math.min(rows.length - 1, row + step[0]))];
  const next = cells[Math.max(0, Math.min(cells.length - 1, rows[row].indexOf(cell) + step[1]))];
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

// Hides the line about the demo in this browser for a year.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-hide-demo-line]");
  if (!button) return;
  document.cookie = "mrr_demo_line=hidden; path=/; max-age=31536000; samesite=lax";
  button.parentElement.remove();
  document.getElementById("content").focus();
});

// The end of a sync or test changes more of the page than its own lines.
document.addEventListener("htmx:sse:close", (event) => {
  if (!("reload" in event.target.dataset) || event.detail.reason !== "message") return;
  saveFocus();
  sessionStorage.setItem(ANNOUNCEMENT, announcement());
  location.reload();
});

// A broken stream reconnects, each time after a longer wait, until it gives up. The page says which of the two it is.
const LOST = "No connection to MRRlytics. Your sync or test continues. This page reconnects by itself.";
const GIVEN_UP = "This page is no longer updated. Reload it.";
const say = (event, text) => {
  const line = event.target.parentElement?.querySelector("[data-connection]");
  if (!line) return;
  line.hidden = !text;
  line.textContent = text;
  if (text) announce(text);
};
document.addEventListener("htmx:sse:error", (event) => say(event, LOST));
document.addEventListener("htmx:sse:after:message", (event) => say(event, ""));
let isOver = false;
const end = (event, text) => {
  isOver = true;
  say(event, text);
};
document.addEventListener("htmx:sse:close", (event) => end(event, event.detail.reason === "ended" ? GIVEN_UP : ""));
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => end(event, GIVEN_UP));
}

// A connection can also hang without an error. The stream of a sync sends something at least every ten seconds.
let lastMessageAt = Date.now();
const noteMessage = () => { lastMessageAt = Date.now(); };
document.addEventListener("htmx:sse:after:message", noteMessage);
document.addEventListener("visibilitychange", noteMessage);
setInterval(() => {
  const stream = document.querySelector("[data-connection]")?.parentElement.querySelector("[hx-sse\\:connect]");
  if (stream && !isOver && !document.hidden && Date.now() - lastMessageAt > 15_000) say({ target: stream }, LOST);
}, 1_000);

// Disables a pressed button until the page changes: a second press would only start the same again.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
  // Back restores the page with the choice that led away from it: reset the filters to those of its figures.
  for (const form of document.querySelectorAll("form[data-apply-on-change]")) form.reset();
});
document.documentElement.classList.add("scripted");
restoreFocus();
