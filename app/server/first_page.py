"""The bare address of the server: older links lead to Train, and the player is shown early."""

import html
from collections.abc import Callable, Container
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server import page_head, player_routes

TITLE = "MixNN Lab"
ABOUT = (
    "Some training labels are wrong. Plain training memorizes them; MixNN corrects them with the "
    "help of similar images."
)
PICTURE = Path(__file__).resolve().parents[1] / "first_picture.html"


class FirstPage:
    """ASGI middleware for the bare address alone.

    Once Train was the page of the bare address: a link with one of `elsewhere`, such as /?run=a, is
    redirected to it. In all other cases the response tells the browser what Home needs, which then
    loads it together with Streamlit's own scripts instead of after them. Without any parameter the
    page shows the shipped recording at once (first_picture.html).

    elsewhere: returns the parameters that Home does not have. base: see server.baseUrlPath.
    """

    def __init__(self, app: ASGIApp, elsewhere: Callable[[], Container[str]], base: str = ""):
        self.app, self._elsewhere, self._base = app, elsewhere, base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["path"] not in (f"{self._base}/", self._base):
            await self.app(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True, max_num_fields=None)]
        if any(name in self._elsewhere() for name in names):
            await RedirectResponse(f"{self._base}/train?{query}")(scope, receive, send)
            return

        if not query:
            scope = {**scope, page_head.BODY: _picture()}

        async def send_with_links(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                MutableHeaders(scope=message)["Link"] = _links("pair" not in names)
            await send(message)

        await self.app(scope, receive, send_with_links)


def _links(with_recording: bool) -> str:
    script, *recordings = player_routes.files()
    links = [f"<{script.path}>; rel=modulepreload"]
    if with_recording:
        links += [f"<{file.path}>; rel=preload; as=fetch; crossorigin" for file in recordings]
    return ", ".join(links)


def _picture() -> str:
    """What is drawn until the page itself has loaded; empty without a recording."""
    script, *recordings = player_routes.files()
    if not recordings:
        return ""
    names = {"backgroundColor": "", "textColor": "_text"}
    colors = {
        theme + suffix: st.get_option(f"theme.{theme}.{option}")
        for theme in ("light", "dark")
        for option, suffix in names.items()
    }
    return Template(PICTURE.read_text()).substitute(
        colors,
        script=script.path,
        recording=recordings[0].path,
        title=html.escape(TITLE),
        about=html.escape(ABOUT),
    )
