// What Streamlit's pages lack in the browser: names of help buttons; a phone's menu that closes.
(() => {
  const PHONE = 768; // CSS pixels; below it Streamlit shows the navigation as a menu

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

  document.addEventListener("click", ({ target }) => {
    if (innerWidth >= PHONE || !target.closest?.('[data-testid="stSidebarNavLink"]')) return;
    const close = () => document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    setTimeout(close, 50); // after the link's own click
  });
})();
