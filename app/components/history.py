"""The browser's history: which changes of the URL the buttons Back and Forward step through."""

from collections.abc import Mapping

import streamlit as st

from app.state.parameters import Param

_mount = st.components.v2.component(
    "mixnn.history",
    html="<span></span>",
    css=":host { display: none }",
    js="""
// Streamlit adds an entry for every change of the URL; this keeps only changes of the page and of
// the parameters in `defaults`.
const MARK = Symbol.for("mixnn.history");
export default function ({ data }) {
  window[MARK] = data.defaults; // name -> its default, or null where a page fills it in
  if (window.history.pushState[MARK]) return;
  const push = window.history.pushState.bind(window.history);
  const replace = window.history.replaceState.bind(window.history);
  const isStep = (url) => {
    const from = new URL(window.location.href), to = new URL(url ?? "", from);
    if (from.pathname !== to.pathname) return true;
    return Object.entries(window[MARK]).some(([name, normal]) => {
      const before = from.searchParams.get(name) ?? normal;
      return before !== null && before !== (to.searchParams.get(name) ?? normal);
    });
  };
  window.history.pushState = (state, unused, url) =>
    (isStep(url) ? push : replace)(state, unused, url);
  window.history.pushState[MARK] = true;
}
""",
)


def steps(params: Mapping[str, Param]) -> None:
    """Limit the browser's history to changes of the page and of parameters that have `entry`."""
    defaults = {
        name: param.format(param.default) if param.default else None
        for name, param in params.items()
        if param.entry
    }
    _mount(key="browser-history", data={"defaults": defaults})
