// Light or dark: as the system has it, until a person chooses. No module, because it runs before the first paint.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // A browser may forbid storage; the choice then lasts as long as the page.
  const remember = (theme) => {
    try {
      localStorage.setItem("theme", theme);
    } catch {}
  };
  const recall = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };

  let chosen = recall();
  if (chosen !== "light" && chosen !== "dark") chosen = null;
  const theme = () => chosen ?? (dark.matches ? "dark" : "light");
  const show = () => (root.dataset.theme = theme());
  show();

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(show() === "dark"));
    button.addEventListener("click", () => {
      chosen = theme() === "dark" ? "light" : "dark";
      remember(chosen);
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  });
})();
