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

// A check that has ended changes more of the page than its own lines.
document.addEventListener("htmx:sse:close", (event) => {
  if (event.target.id === "checklist" && event.detail.reason === "message") location.reload();
});

// A second press while the first is on its way would only say that it is running.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
document.documentElement.classList.add("scripted");
