"""The report of all checks as cards: one per check, the worst first, with its worst samples."""

from collections.abc import Mapping
from typing import Literal

import streamlit as st

from app.server import escaping
from engine.analysis.checks.report import Check, Item, Report, Table

MOST_ITEMS = 6  # of a card, until it is opened
MOST_ROWS = 12  # of a table
Color = Literal["red", "orange", "blue", "green", "gray"]
STATES: dict[str, tuple[str, str, Color]] = {  # severity -> word, icon, color of the badge
    "error": ("Problem", ":material/error:", "red"),
    "warning": ("Warning", ":material/warning:", "orange"),
    "note": ("Note", ":material/info:", "blue"),
    "ok": ("OK", ":material/check_circle:", "green"),
    "skipped": ("Skipped", ":material/do_not_disturb_on:", "gray"),
}

Urls = Mapping[tuple[str, int], str]


def show(report: Report, urls: Urls) -> None:
    """Cards of what was found; what is fine or was skipped is listed below them."""
    found = [check for check in report.by_severity() if check.severity not in ("ok", "skipped")]
    if all(check.severity == "note" for check in found):
        st.success("Ready to train: no problem was found.", icon=":material/check_circle:")
    pixelated = len(report.shape) == 3 and max(report.shape[1:]) <= 32
    for check in found:
        card(check, urls, pixelated=pixelated)
    others = [check for check in report.by_severity() if check not in found]
    for state, title in (("ok", "Nothing found"), ("skipped", "Skipped")):
        lines = [
            f"- **{escaping.markdown(check.title)}**: {escaping.markdown(check.summary, 1000)}"
            for check in others
            if check.severity == state
        ]
        if lines:
            with st.expander(f"{title}: {len(lines)} checks", icon=STATES[state][1]):
                st.markdown("\n".join(lines))


def card(check: Check, urls: Urls, *, pixelated: bool) -> None:
    """One check: severity, title, count, a sentence, and its worst samples or its numbers."""
    word, icon, color = STATES[check.severity]
    with st.container(border=True, key=f"check-{check.kind}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escaping.markdown(check.title)}**", width="content")
            st.badge(word, icon=icon, color=color)
            if check.count > 1:
                st.markdown(f"{check.count:,}", width="content")
        st.markdown(escaping.markdown(check.summary, escaping.MOST_ERROR))
        items = [item for item in check.items if item.samples]
        if items:
            wall(items[:MOST_ITEMS], urls, pixelated=pixelated)
        if len(items) > MOST_ITEMS:
            with st.expander(f"{min(len(items), 4 * MOST_ITEMS) - MOST_ITEMS} more"):
                wall(items[MOST_ITEMS : 4 * MOST_ITEMS], urls, pixelated=pixelated)
        if check.table is not None:
            with st.expander("Numbers"):
                table(check.table)


def wall(items: list[Item], urls: Urls, *, pixelated: bool) -> None:
    """Thumbnails of some findings, or their ids where there is no image."""
    cells = []
    for item in items:
        shown = item.samples[:2]
        pictures = "".join(
            f'<img src="{url}" alt="{escaping.html(one.label)}" style="width:64px;height:64px;'
            "object-fit:contain;border-radius:4px;margin:0 2px;"
            f'image-rendering:{"pixelated" if pixelated else "auto"}">'
            for one in shown
            if (url := urls.get((one.part, one.row)))
        )
        labels = " / ".join(dict.fromkeys(escaping.html(one.label, 40) for one in shown))
        names = "<br>".join(f"{one.part} {escaping.html(one.id, 60)}" for one in shown)
        cells.append(
            f'<figure style="margin:0;width:{140 if len(shown) > 1 else 112}px">{pictures}'
            '<figcaption style="font-size:13px;line-height:1.3;overflow-wrap:anywhere">'
            f"<b>labeled {labels}</b><br>{escaping.html(item.text)}"
            f'<br><span style="opacity:0.7">{names}</span></figcaption></figure>'
        )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(cells)}</div>')


def table(numbers: Table) -> None:
    """The first rows of a table."""
    head = "".join(f"<th>{escaping.html(cell)}</th>" for cell in numbers.head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escaping.html(cell)}</td>' for cell in row)}</tr>"
        for row in numbers.rows[:MOST_ROWS]
    )
    more = len(numbers.rows) - MOST_ROWS
    st.html(
        '<div style="overflow-x:auto"><table class="check-numbers"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
        + (f"<small>and {more:,} more rows in the report</small>" if more > 0 else "")
    )
