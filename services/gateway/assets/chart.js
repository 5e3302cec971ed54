// <mrr-chart src="/api/v1/metrics/..." currency="EUR">: the line of one currency from the public API.
// The table inside stays for those who read numbers, and is all there is when anything fails.
import { LineChart } from "echarts/charts";
import { AriaComponent, GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([AriaComponent, GridComponent, LineChart, SVGRenderer, TooltipComponent]);

const color = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

class MrrChart extends HTMLElement {
  #chart = null;
  #observer = null;
  #theme = matchMedia("(prefers-color-scheme: dark)");
  #series = [];
  #redraw = () => this.#draw();

  async connectedCallback() {
    let answer;
    try {
      const response = await fetch(this.getAttribute("src"), { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      answer = await response.json();
    } catch {
      return;
    }
    const currency = this.getAttribute("currency");
    this.#series = answer.series.filter(
      ({ group, points }) => group.currency === currency && points.some(({ value }) => value !== null),
    );
    if (!this.isConnected || this.#series.length === 0) return;
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    this.prepend(canvas);
    this.#chart = init(canvas, null, { renderer: "svg" });
    this.#observer = new ResizeObserver(() => this.#chart.resize());
    this.#observer.observe(canvas);
    this.#theme.addEventListener("change", this.#redraw);
    this.#draw();
    this.classList.add("drawn");
  }

  disconnectedCallback() {
    this.#theme.removeEventListener("change", this.#redraw);
    this.#observer?.disconnect();
    this.#chart?.dispose();
  }

  #draw() {
    const muted = color(this, "--muted");
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#chart.setOption({
      animation: !calm,
      animationDuration: 300,
      aria: { enabled: true, label: { description: this.getAttribute("label") } },
      color: [color(this, "--accent")],
      grid: { left: 8, right: 16, top: 16, bottom: 8, containLabel: true },
      tooltip: {
        trigger: "axis",
        renderMode: "richText",
        valueFormatter: (value) => (value === null ? "no value" : exact.format(value)),
      },
      xAxis: {
        type: "time",
        minInterval: 86_400_000,
        axisLine: { lineStyle: { color: color(this, "--line") } },
        axisLabel: { color: muted, hideOverlap: true, formatter: "{d} {MMM}" },
      },
      yAxis: {
        type: "value",
        scale: true,
        axisLabel: { color: muted, formatter: (value) => whole.format(value) },
        splitLine: { lineStyle: { color: color(this, "--line") } },
      },
      series: this.#series.map(({ group, points }) => ({
        type: "line",
        name: group.currency,
        showSymbol: points.length < 15,
        symbolSize: 7,
        lineStyle: { width: 2 },
        data: points.map(({ on, value }) => [`${on}T00:00:00`, value === null ? null : Number(value)]),
      })),
    });
  }
}

customElements.define("mrr-chart", MrrChart);
