// Charts, drawn from the tables that stand below them: a chart has no figures of its own.
//
// <figure class="chart" data-chart="line|bars">
//   <div class="plot"></div>
//   <details><summary>The figures</summary><table>…</table></details>
// </figure>
//
// The first cell of each row is the place on the axis: its <time datetime> or its number. Every
// other cell has its figure in <data value>; one that is empty is a gap. Heads name the series;
// data-kind on a head is "spent" (filled), "limit" (dashed), "low" or "high" (edges of a range),
// "likely" (thin), and data-unit "usd" says that the figures are nano-dollars.
"use strict";
(() => {
  // A variable has both its colours, light and dark; what has it as its colour has one of them.
  const colour = (name, percent = 100) => {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `color-mix(in srgb, var(${name}) ${percent}%, transparent)`;
    const one = getComputedStyle(probe).color;
    probe.remove();
    return one;
  };
  const language = navigator.language || "en";
  const usd = (nanos) =>
    new Intl.NumberFormat(language, { style: "currency", currency: "USD", maximumFractionDigits: Math.abs(nanos) < 1e9 && nanos ? 6 : 2 }).format(nanos / 1e9);
  const plain = (number) => new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(number);
  const short = (value, unit) =>
    unit === "usd"
      ? new Intl.NumberFormat(language, { style: "currency", currency: "USD", notation: "compact", maximumFractionDigits: Math.abs(value) < 1e9 && value ? 4 : 1 }).format(value / 1e9)
      : new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 }).format(value);

  const read = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    const x = rows.map((row) => {
      const when = row.cells[0].querySelector("time");
      return when ? Date.parse(when.dateTime + "T00:00:00Z") / 1000 : Number(row.cells[0].textContent);
    });
    const columns = heads.slice(1).map((head, index) =>
      rows.map((row) => {
        const found = row.cells[index + 1].querySelector("data");
        return found ? Number(found.value) : null;
      }),
    );
    return { heads: heads.slice(1), x, columns };
  };

  const series = (head, bars) => {
    const kind = head.dataset.kind || "spent";
    const unit = head.dataset.unit || "";
    const value = (_plot, raw) => (raw == null ? "" : unit === "usd" ? usd(raw) : plain(raw));
    const common = { label: head.textContent.trim(), value, points: { show: false } };
    if (kind === "limit") return { ...common, stroke: colour("--bad"), width: 1.5, dash: [6, 4] };
    if (kind === "low" || kind === "high") return { ...common, stroke: colour("--accent"), width: 0.6, spanGaps: true };
    if (kind === "likely") return { ...common, stroke: colour("--accent"), width: 1.5, dash: [2, 3], spanGaps: true };
    if (kind === "before") return { ...common, stroke: colour("--line-strong"), width: 1.5 };
    if (bars) return { ...common, stroke: colour("--accent"), fill: colour("--accent"), width: 0, paths: uPlot.paths.bars({ size: [0.7, 40] }) };
    return { ...common, stroke: colour("--accent"), width: 2, fill: colour("--accent-soft", 60) };
  };

  const draw = (figure) => {
    const table = figure.querySelector("details table");
    const plot = figure.querySelector(".plot");
    if (!table || !plot || !table.tBodies[0] || table.tBodies[0].rows.length < 2) return;
    const { heads, x, columns } = read(table);
    const bars = figure.dataset.chart === "bars";
    const unit = (heads[0] && heads[0].dataset.unit) || "";
    const kinds = heads.map((head) => head.dataset.kind);
    const low = kinds.indexOf("low");
    const high = kinds.indexOf("high");
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    figure.classList.add("drawn");
    plot.replaceChildren();
    new uPlot(
      {
        width: plot.clientWidth,
        height: figure.classList.contains("short") ? 150 : 250,
        cursor: { y: false, points: { size: 6 } },
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: { x: { time: true, range: (_plot, min, max) => (bars ? [min - 43200, max + 43200] : [min, max]) }, y: { range: (_plot, min, max) => [Math.min(0, min || 0), (max || 1) * 1.06] } },
        axes: [
          { ...axis, values: (_plot, ticks) => ticks.map((tick) => new Intl.DateTimeFormat(language, { month: "short", day: "numeric", timeZone: "UTC" }).format(tick * 1000)) , grid: { show: false }, size: 30, space: 70, incrs: [86400, 172800, 432000, 604800, 1209600, 2592000, 7776000] },
          { ...axis, size: 64, values: (_plot, ticks) => ticks.map((tick) => short(tick, unit)) },
        ],
        series: [
          { label: "Day", value: (_plot, at) => (at == null ? "" : new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" }).format(at * 1000)) },
          ...heads.map((head) => series(head, bars)),
        ],
        bands: low >= 0 && high >= 0 ? [{ series: [high + 1, low + 1], fill: colour("--accent-soft", 53.3) }] : [],
      },
      [x, ...columns],
      plot,
    );
  };

  const drawAll = (within) => {
    for (const figure of within.querySelectorAll("figure[data-chart]")) draw(figure);
  };

  // What a page keeps for later is brought by htmx; a chart in it is drawn when it is there.
  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    const here = document.querySelector("nav [aria-current]");
    // Not scrollIntoView: it would move the place from which the keyboard goes on.
    if (here) {
      const nav = here.closest("nav");
      nav.scrollLeft = here.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
    }
  });
  document.addEventListener("htmx:after:swap", () => drawAll(document));
  document.addEventListener("jobgate:theme", () => drawAll(document));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => drawAll(document), 120);
  });

  // data-copy="#id" copies the text of an element; data-print prints; data-submit sends its form.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-print]");
    if (!button) return;
    if ("print" in button.dataset) return print();
    const text = document.querySelector(button.dataset.copy).textContent;
    await navigator.clipboard.writeText(text.trim());
    button.textContent = "Copied";
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
})();
