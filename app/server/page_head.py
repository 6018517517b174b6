"""The style sheet and script of the app, within the HTML of the page that Streamlit serves.

What a page sends itself (`st.html`) is applied after its first elements are drawn, which then move.
"""

from pathlib import Path
from typing import Any

BODY = "mixnn.body"  # key of a request's scope: HTML for the beginning of the body
HELD = {  # Streamlit's scripts and styles, which BODY starts
    b" crossorigin src=": b" crossorigin data-src=",
    b" crossorigin href=": b" crossorigin data-href=",
}
CONDITIONS = {b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"}
OUTDATED = {b"content-length", b"etag", b"last-modified", b"accept-ranges"}  # after the change


class PageHead:
    """ASGI middleware: adds <style> and <script> to the head of every HTML page.

    If the request's scope has HTML under BODY, the body begins with it, and what the page loads has
    `data-src` for `src` and `data-href` for `href`, until this HTML loads it. style, script: files.
    Other responses are passed on unchanged.
    """

    def __init__(self, app: Any, style: Path, script: Path):
        self.app = app
        tags = f"<style>\n{style.read_text()}</style>\n<script>\n{script.read_text()}</script>\n"
        self.tags = tags.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = scope.get("headers", [])
        wanted = any(name == b"accept" and b"text/html" in value for name, value in headers)
        if scope["type"] != "http" or scope["method"] != "GET" or not wanted:
            await self.app(scope, receive, send)
            return
        plain = [(name, value) for name, value in headers if name not in CONDITIONS]
        adding = self._adding(send, scope.get(BODY, "").encode())
        await self.app(scope | {"headers": plain}, receive, adding)

    def _adding(self, send: Any, first: bytes) -> Any:
        """The same `send`, which adds to HTML the tags, and `first` to the body."""
        start, body = None, b""

        async def add(message: Any) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_html(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                whole = body.replace(b"</head>", self.tags + b"</head>", 1)
                if first:
                    for loaded, held in HELD.items():
                        whole = whole.replace(loaded, held)
                    whole = whole.replace(b"<body>", b"<body>" + first, 1)
                kept = [(n, v) for n, v in start["headers"] if n.lower() not in OUTDATED]
                kept.append((b"content-length", str(len(whole)).encode()))
                await send(start | {"headers": kept})
                await send({"type": "http.response.body", "body": whole})

        return add


def _is_html(start: Any) -> bool:
    return any(n.lower() == b"content-type" and b"text/html" in v for n, v in start["headers"])
