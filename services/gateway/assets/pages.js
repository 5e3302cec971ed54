// What every page runs: htmx with its event stream, and three small conveniences.
import "./htmx.js";
import "htmx.org/dist/ext/hx-sse.js";

// A filter applies when it is chosen; without scripts its form has a button.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-apply-on-change]");
  if (form) form.requestSubmit();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
  button.textContent = "Copied";
});

// What has ended changes more of the page than its own lines.
document.addEventListener("htmx:sse:close", (event) => {
  if ("reload" in event.target.dataset && event.detail.reason === "message") location.reload();
});

// A stream that breaks says so and tries again, each time later, until it gives up and says that.
const LOST = "No connection to MRRlytics. What was started goes on without this page, which tries again by itself.";
const GIVEN_UP = "This page gets no news any more. Reload it to see how far it is.";
const say = (event, text) => {
  const line = event.target.parentElement?.querySelector("[data-connection]");
  if (!line) return;
  line.hidden = !text;
  line.textContent = text;
};
document.addEventListener("htmx:sse:error", (event) => say(event, LOST));
document.addEventListener("htmx:sse:after:message", (event) => say(event, ""));
document.addEventListener("htmx:sse:close", (event) => say(event, event.detail.reason === "ended" ? GIVEN_UP : ""));
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => say(event, GIVEN_UP));
}

// A second press while the first is on its way would only say that it is running.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
document.documentElement.classList.add("scripted");
