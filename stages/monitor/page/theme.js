/** Dark and light: as the system says, or as was chosen here; the choice is kept in the browser. */

const KEPT = "streamajig.theme";

export function startTheme(select, bus) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  select.value = localStorage.getItem(KEPT) ?? "auto";
  if (select.selectedIndex < 0) select.value = "auto";

  const apply = () => {
    const theme = select.value === "auto" ? (system.matches ? "dark" : "light") : select.value;
    document.documentElement.dataset.theme = theme;
    bus.state.theme = theme;
    bus.emit("theme", theme);
  };
  select.addEventListener("change", () => {
    localStorage.setItem(KEPT, select.value);
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
