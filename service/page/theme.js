// Light or dark: as the system has it, until a person chooses. No module, because it runs before the first paint.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);

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

  const recalled = recall();
  if (recalled === "light" || recalled === "dark") root.dataset.theme = recalled;

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember(root.dataset.theme);
      tell();
    });
    dark.addEventListener("change", tell);
    tell();
  });
})();
