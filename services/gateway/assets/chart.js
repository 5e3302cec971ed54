// <mrr-chart>: shows the values of a day on a line that the server has drawn, by pointer, touch or arrow keys.
// The texts come from the table inside, so no request can fail.
class MrrChart extends HTMLElement {
  #days = [];
  #index = 0;

  connectedCallback() {
    this.#days = [...this.querySelectorAll("tr[data-x]")].reverse();
    this.#index = this.#days.length - 1;
    const plot = this.querySelector(".plot");
    // Screen readers read the value of a slider at each arrow key.
    plot.tabIndex = 0;
    plot.setAttribute("role", "slider");
    plot.setAttribute("aria-valuemin", 0);
    plot.setAttribute("aria-valuemax", this.#index);
    this.#point(this.#index);
    plot.addEventListener("pointermove", (event) => this.#show(this.#at(plot, event.clientX)));
    plot.addEventListener("pointerdown", (event) => this.#show(this.#at(plot, event.clientX)));
    plot.addEventListener("pointerleave", () => this.#hide());
    plot.addEventListener("focus", () => this.#show(this.#index));
    plot.addEventListener("blur", () => this.#hide());
    plot.addEventListener("keydown", (event) => this.#move(event));
  }

  // A value holds from its day on: the day pointed at is the last one that has begun there.
  #at(plot, clientX) {
    const { left, width } = plot.getBoundingClientRect();
    const x = (100 * (clientX - left)) / width;
    return Math.max(0, this.#days.findLastIndex((row) => Number(row.dataset.x) <= x));
  }

  #move(event) {
    const last = this.#days.length - 1;
    const to = {
      ArrowLeft: this.#index - 1, ArrowDown: this.#index - 1,
      ArrowRight: this.#index + 1, ArrowUp: this.#index + 1,
      PageDown: this.#index - 7, PageUp: this.#index + 7, Home: 0, End: last,
    }[event.key];
    if (event.key === "Escape") this.#hide();
    if (to === undefined) return;
    event.preventDefault();
    this.#show(Math.min(last, Math.max(0, to)));
  }

  #point(index) {
    this.#index = index;
    const lines = [...this.#days[index].children].map((cell) => cell.textContent.trim()).filter(Boolean);
    const plot = this.querySelector(".plot");
    plot.setAttribute("aria-valuenow", index);
    plot.setAttribute("aria-valuetext", lines.join(", "));
    return lines;
  }

  #show(index) {
    const { x, y } = this.#days[index].dataset;
    const [line, circle] = this.querySelector(".pointer").children;
    for (const [element, names] of [[line, ["x1", "x2"]], [circle, ["cx"]]]) {
      for (const name of names) element.setAttribute(name, `${x}%`);
    }
    circle.setAttribute("cy", `${y}%`);
    const tooltip = this.querySelector(".tooltip");
    tooltip.replaceChildren(
      ...this.#point(index).map((text) => Object.assign(document.createElement("div"), { textContent: text })),
    );
    tooltip.hidden = false;
    tooltip.style.left = `${x}%`;
    // Beside the pointer, on the side that has room.
    tooltip.style.translate = Number(x) > 50 ? "calc(-100% - 12px)" : "12px";
    this.classList.add("pointing");
  }

  #hide() {
    this.querySelector(".tooltip").hidden = true;
    this.classList.remove("pointing");
  }
}

customElements.define("mrr-chart", MrrChart);
