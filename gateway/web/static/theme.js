// Light, dark, or as the system has it: kept in this browser, set before anything is painted.
"use strict";
(() => {
  const root = document.documentElement;
  const names = ["system", "light", "dark"];
  const read = () => {
    try {
      const kept = localStorage.getItem("jobgate-theme");
      return names.includes(kept) ? kept : "system";
    } catch {
      return "system";
    }
  };
  const show = (name) => {
    if (name === "system") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", name);
    for (const place of document.querySelectorAll("[data-theme-name]")) {
      place.textContent = name[0].toUpperCase() + name.slice(1);
    }
  };
  show(read());
  document.addEventListener("DOMContentLoaded", () => {
    show(read());
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.addEventListener("click", () => {
        const next = names[(names.indexOf(read()) + 1) % names.length];
        try {
          localStorage.setItem("jobgate-theme", next);
        } catch {
          // A browser that keeps nothing changes it for this page.
        }
        show(next);
        document.dispatchEvent(new Event("jobgate:theme"));
      });
    }
  });
})();
