// What Streamlit's pages lack in the browser: names of help buttons, charts as vector images,
// images smoothed as chosen, a phone's menu that closes.
(() => {
  const PHONE = 768; // CSS pixels; below it Streamlit shows the navigation as a menu

  if (localStorage.getItem("mixnn.smooth") === "1") { // see app/components/images.py
    document.documentElement.classList.add("smooth-images");
  }

  // Every help button is called "Help": add what it explains, the text before it.
  function nameHelpButtons() {
    for (const button of document.querySelectorAll('button[aria-label="Help"]')) {
      const part = button.closest('[data-testid="stWidgetLabel"], [data-testid="stMetricLabel"]');
      const about = (part ?? button.closest('[data-testid="stElementContainer"]'))?.innerText.trim();
      if (about) button.setAttribute("aria-label", `Help: ${about.split("\n")[0]}`);
    }
  }

  let due = false;
  function soon() {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; nameHelpButtons(); }, 200);
  }
  new MutationObserver(soon).observe(document, { childList: true, subtree: true });

  // Saves the chart before the button as the camera in its tool bar does, in another format.
  function saveVector(button) {
    const here = button.closest('[data-testid="stElementContainer"]');
    const before = [...document.querySelectorAll(".js-plotly-plot")]
      .filter((plot) => plot.compareDocumentPosition(here) & Node.DOCUMENT_POSITION_FOLLOWING);
    const plot = before.at(-1);
    const options = plot?._context?.toImageButtonOptions;
    const camera = plot?.querySelector('.modebar-btn[data-title^="Download"]');
    if (!options || !camera) return;
    const { format } = options;
    options.format = "svg";
    camera.click();
    options.format = format;
  }

  document.addEventListener("click", ({ target }) => {
    const svg = target.closest?.(".save-svg");
    if (svg) saveVector(svg);
    if (innerWidth >= PHONE || !target.closest?.('[data-testid="stSidebarNavLink"]')) return;
    const close = () => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    setTimeout(close, 50); // after the link's own click
  });
})();
