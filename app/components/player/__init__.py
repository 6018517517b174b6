"""The player of recordings on a page: a shipped recording, or visible runs while they train.

    player.show(["digits-ce", "digits-mixnn"], key="pair", height="calc(100dvh - 9rem)")

The browser gets the player's script and the recordings from addresses of this server
(app/server/player_routes.py), not through Streamlit's websocket.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import streamlit as st

from app.server import player_routes
from app.server.player_routes import File
from app.server.run_info import RunsError
from app.server.visible_runs import runs

HERE = Path(__file__).resolve().parent
MOST_RUNS = 2  # of one player
HEIGHT = "max(560px, calc(100dvh - 10rem))"  # of a page with a title line above

_mount = st.components.v2.component(
    "mixnn.player",
    html='<div class="player"></div>',
    css=(HERE / "player.css").read_text(),
    js=(HERE / "player.js").read_text(),
)


def show(
    names: Sequence[str],
    *,
    key: str,
    height: str = HEIGHT,
    autoplay: bool = False,
    on_pick: Callable[[int], None] | None = None,
    start: Mapping[str, int | None] | None = None,
    on_move: Callable[[int | None, int | None], None] | None = None,
) -> None:
    """Show one run, or two on the same data set to compare; what they train appears by itself.

    names: runs that the visitor may see; they need no epoch yet. key: unique on the page. height:
    of the player, as a CSS length; on a phone it is as tall as its panels. autoplay: it plays at
    once, unless the visitor prefers reduced motion; an active run is followed in any case. on_pick:
    called before the page reruns with the row in the data set of the image that was picked, -1 when
    its story was closed. start: "epoch" and "sample", a row in the data set, that are shown; where
    they change later, the player follows. on_move: called before the page reruns with the epoch and
    the sample at which the player stands still; None: the newest epoch of a run that trains, no
    sample. Raises RunsError.
    """
    if not 1 <= len(names) <= MOST_RUNS:
        raise RunsError(f"{len(names)} runs: the player shows one or two")
    live = any(runs().info(name).active for name in names)
    data: dict[str, Any] = {
        "runs": player_routes.runs_path(),
        "pass": player_routes.pass_for(names),
    }
    if on_move is not None:
        data |= {"start": dict(start or {}), "moves": True}
    data |= {"source": list(names), "live": live}
    _draw(key, height, autoplay, on_pick, data, {"move": on_move and _moved(key, on_move)})


def show_labels(
    name: str,
    *,
    key: str,
    height: str = HEIGHT,
    on_train: Callable[[list[list[int]]], None],
) -> None:
    """Show the images of a run, to give them wrong labels by hand.

    on_train: called before the page reruns with rows in the data set and their wrong labels, when
    the visitor wants to train on these. Else as `show`.
    """

    def trained() -> None:
        edits = st.session_state[key].get("train")
        if edits is not None:
            on_train(edits)

    data: dict[str, Any] = {
        "runs": player_routes.runs_path(),
        "pass": player_routes.pass_for([name]),
    }
    data |= {"source": [name], "live": False, "by_hand": True}
    _draw(key, height, False, None, data, {"train": trained})


def _moved(key: str, on_move: Callable[[int | None, int | None], None]) -> Callable[[], None]:
    def moved() -> None:
        value = st.session_state[key].get("move")
        if value is not None:
            on_move(value.get("epoch"), value.get("sample"))

    return moved


def show_file(
    file: File,
    *,
    key: str,
    height: str = HEIGHT,
    autoplay: bool = False,
    on_pick: Callable[[int], None] | None = None,
) -> None:
    """Show a recording that the server ships, such as `player_routes.shipped()`; else as `show`."""
    data = {"file": file.path, "source": [file.name], "live": False}
    _draw(key, height, autoplay, on_pick, data)


def _draw(
    key: str,
    height: str,
    autoplay: bool,
    on_pick: Callable[[int], None] | None,
    data: dict[str, Any],
    more: Mapping[str, Callable[[], None] | None] = MappingProxyType({}),
) -> None:
    """more: what is called on other events of the component, by name."""

    def picked() -> None:
        value = st.session_state[key].get("pick")
        if on_pick is not None and value is not None:
            on_pick(int(value))

    data |= {"script": player_routes.script().path, "height": height, "autoplay": autoplay}
    data["picks"] = on_pick is not None
    others: dict[str, Any] = {
        f"on_{event}_change": call for event, call in more.items() if call is not None
    }
    _mount(key=key, data=data, on_pick_change=picked, **others)
