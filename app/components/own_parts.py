"""The parts of one's own that made a run: their names, and the text of their code."""

import streamlit as st

from app.server import escaping
from engine.runs.folder import RunFolder


def show(run: RunFolder) -> None:
    """The code of the run's own parts, as text; nothing of a run folder is ever executed."""
    for part in run.info.get("parts", []):
        name = escaping.markdown(part["name"])
        with st.expander(f"custom: {name}", icon=":material/code:"):
            setting, digest = (escaping.markdown(part[key]) for key in ("setting", "hash"))
            if part["kind"] == "loops":
                st.caption("This run was trained by a loop of its own, and recorded.")
            else:
                st.caption(
                    f"The code behind the setting {setting} of this run, hash {digest}. The run "
                    "continues with the same code only."
                )
            if part["source"]:
                st.code(part["source"], language="python", line_numbers=True)
            else:
                st.caption("Its code was not recorded: `Recorder(..., source=function)` does.")
