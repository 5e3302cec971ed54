// What every page runs: htmx with its event stream, filters, announcements, and where the focus was.
import "./htmx.js";
import "htmx.org/dist/ext/hx-sse.js";

// A filter applies when the pointer has chosen; with keys, Enter or the button of its form applies it: the arrow keys
// change a closed list at once, and each would load another page.
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

// The focus stays where it was when the same page is loaded again.
const FOCUS = "focus";
const nameOf = (element) => `${element.tagName} ${element.id || element.name || element.textContent.trim()}`;
const rememberFocus = () => {
  const { activeElement } = document;
  if (activeElement === document.body) return;
  sessionStorage.setItem(FOCUS, JSON.stringify([location.pathname, nameOf(activeElement)]));
};
const restoreFocus = () => {
  const [path, name] = JSON.parse(sessionStorage.getItem(FOCUS) ?? "[]");
  sessionStorage.removeItem(FOCUS);
  if (path !== location.pathname || document.querySelector("[autofocus]")) return;
  [...document.querySelectorAll("a, button, select, input, summary")].find((one) => nameOf(one) === name)?.focus();
};
document.addEventListener("submit", (event) => {
  if (event.target.method === "get") rememberFocus();
});

// News is read aloud once: the region stays while fragments come and go, and its text is set only when it is another one.
const NEWS = "news";
const region = document.getElementById("announcements");
const announce = (text) => {
  if (region && region.textContent !== text) region.textContent = text;
};
const news = () => [...document.querySelectorAll("[data-announce]")]
  .map((element) => element.textContent.trim().replace(/\s+/g, " ")).join(" ");
let announced = news();
document.addEventListener("htmx:sse:after:message", () => {
  const text = news();
  if (text !== announced) announce(text);
  announced = text;
});
// A region must have been there for a moment before what it says is read.
const told = sessionStorage.getItem(NEWS);
sessionStorage.removeItem(NEWS);
if (told) setTimeout(() => announce(told), 200);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  button.textContent = "Copied";
});

// The line of the demo stays away in this browser for a year.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-hide-demo-line]");
  if (!button) return;
  document.cookie = "mrr_demo_line=hidden; path=/; max-age=31536000; samesite=lax";
  button.parentElement.remove();
  document.getElementById("content").focus();
});

// What has ended changes more of the page than its own lines.
document.addEventListener("htmx:sse:close", (event) => {
  if (!("reload" in event.target.dataset) || event.detail.reason !== "message") return;
  rememberFocus();
  sessionStorage.setItem(NEWS, news());
  location.reload();
});

// A stream that breaks says so and tries again, each time later, until it gives up and says that.
const LOST = "No connection to MRRlytics. What was started goes on without this page, which tries again by itself.";
const GIVEN_UP = "This page gets no news any more. Reload it to see how far it is.";
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

// A connection can also hang, from the start or later, without breaking. The page of a sync hears something at least every ten seconds.
let heardAt = Date.now();
const hear = () => { heardAt = Date.now(); };
document.addEventListener("htmx:sse:after:message", hear);
document.addEventListener("visibilitychange", hear);
setInterval(() => {
  const stream = document.querySelector("[data-connection]")?.parentElement.querySelector("[hx-sse\\:connect]");
  if (stream && !isOver && !document.hidden && Date.now() - heardAt > 15_000) say({ target: stream }, LOST);
}, 1_000);

// A second press while the first is on its way would only say that it is running.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
  // Back brings the page with the choice that led away from it: a filter shows what its figures count.
  for (const form of document.querySelectorAll("form[data-apply-on-change]")) form.reset();
});
document.documentElement.classList.add("scripted");
restoreFocus();
