// @ts-check
// The player on paper: as it is on the screen, as wide as a page, and light.

const PAPER = 690; // CSS pixels between the margins of an A4 page

/**
 * Fits an element to paper while the page is printed. Nothing is drawn again: Chromium prints what
 * is drawn then as commands, and leaves out images.
 * @param {HTMLElement} root
 * @returns {() => void} ends it
 */
export function fitPaper(root) {
  let [theme, style] = ["", ""];
  const before = () => {
    [theme, style] = [root.dataset.theme ?? "auto", root.style.cssText];
    const { offsetWidth: width, offsetHeight: height } = root;
    // paper is light for CSS, while what is drawn keeps the colors of the screen
    root.dataset.theme = getComputedStyle(root).colorScheme.includes("dark") ? "dark" : "light";
    root.classList.add("printed");
    Object.assign(root.style, { width: `${width}px`, height: `${height}px` });
    root.style.zoom = String(Math.min(PAPER / width, 1));
  };
  const after = () => {
    root.dataset.theme = theme;
    root.style.cssText = style;
    root.classList.remove("printed");
  };
  addEventListener("beforeprint", before);
  addEventListener("afterprint", after);
  return () => {
    removeEventListener("beforeprint", before);
    removeEventListener("afterprint", after);
  };
}
