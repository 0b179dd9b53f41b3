"use strict";
// Every chart with data-spots shows the spot nearest to the pointer; arrow keys walk along them.
const tip = document.createElement("div");
tip.className = "tip";
tip.setAttribute("role", "status");
tip.hidden = true;
document.body.append(tip);
const ns = "http://www.w3.org/2000/svg";

for (const chart of document.querySelectorAll("svg[data-spots]")) {
  const spots = JSON.parse(chart.dataset.spots);
  const mark = document.createElementNS(ns, "circle");
  mark.setAttribute("r", "5");
  mark.setAttribute("class", "mark");
  mark.style.display = "none";
  chart.append(mark);
  let now = -1;

  function show(index) {
    now = Math.max(0, Math.min(spots.length - 1, index));
    const [x, y, text] = spots[now];
    mark.setAttribute("cx", x);
    mark.setAttribute("cy", y);
    mark.style.display = "";
    tip.textContent = text;
    tip.hidden = false;
    const at = new DOMPoint(x, y).matrixTransform(chart.getScreenCTM());
    const left = Math.min(at.x + 12, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${Math.max(8, at.y - tip.offsetHeight - 10) + scrollY}px`;
  }
  function hide() {
    if (mark.style.display === "none") return; // the tip is another chart's
    mark.style.display = "none";
    tip.hidden = true;
  }
  function nearest(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const down = chart.dataset.by === "xy" ? 1 : 0.001;
    const far = ([x, y]) => (x - at.x) ** 2 + down * (y - at.y) ** 2;
    return spots.reduce((best, spot, index) => (far(spot) < far(spots[best]) ? index : best), 0);
  }
  chart.addEventListener("pointermove", (event) => show(nearest(event)));
  chart.addEventListener("pointerdown", (event) => show(nearest(event)));
  // a finger leaves with each touch, and what it touched is still to be read
  chart.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
  chart.addEventListener("pointercancel", hide);
  addEventListener("pointerdown", hide, true); // before the chart that is touched next shows its own
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(now + step);
  });
}
