// What Streamlit's pages lack in the browser: names of help buttons, tool bars by key, the selected
// epoch on charts, charts as vector images, images smoothed as chosen, a phone's menu that closes.
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

  // Streamlit gives what receives files both a name and the role of a mere decoration.
  function nameDropZones() {
    for (const zone of document.querySelectorAll('[data-testid="stFileUploaderDropzone"][role="presentation"]')) {
      zone.setAttribute("role", "group");
    }
  }

  // A tool bar is one stop of the Tab key; the arrow keys go through its buttons.
  const toolButtons = (bar) => [...bar.querySelectorAll("button")];
  function joinToolBars() {
    for (const bar of document.querySelectorAll('[data-testid="stElementToolbar"]:not([role])')) {
      bar.setAttribute("role", "toolbar");
      for (const button of toolButtons(bar).slice(1)) button.tabIndex = -1;
    }
  }
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const bar = step && event.target.closest?.('[data-testid="stElementToolbar"]');
    if (!bar) return;
    const buttons = toolButtons(bar);
    buttons.at((buttons.indexOf(event.target) + step) % buttons.length).focus();
    event.preventDefault();
    event.stopPropagation(); // the arrow keys also step through the epochs
  }, true);

  // The selected epoch on charts over the epochs, see app/components/figures.py: a line on top,
  // which moves while the chart stays as it is.
  function markEpochs() {
    const epoch = parseInt(document.querySelector(".st-key-scrubber strong")?.textContent);
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      if (plot.layout?.meta?.over_epochs && plot._fullLayout?.xaxis) markEpoch(plot, epoch);
    }
  }

  function markEpoch(plot, epoch) {
    let line = plot.querySelector(":scope > .epoch-line");
    if (!line) {
      line = plot.appendChild(document.createElement("div"));
      line.className = "epoch-line";
      plot.on("plotly_afterplot", soon); // zoomed, or of another width
    }
    const { xaxis, _size: { t, h } } = plot._fullLayout;
    const x = xaxis.d2p(epoch);
    line.hidden = !(x >= -1 && x <= xaxis._length + 1);
    if (!line.hidden) Object.assign(line.style, { left: `${xaxis._offset + x}px`, top: `${t}px`, height: `${h}px` });
  }

  let due = false;
  function soon() {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; nameHelpButtons(); nameDropZones(); joinToolBars(); markEpochs(); }, 100);
  }
  new MutationObserver(soon).observe(document, { childList: true, subtree: true, characterData: true });

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
