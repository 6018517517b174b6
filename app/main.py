"""The server: streamlit run app/main.py. Set up once for all visitors; `frame` draws the pages."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

LAST_IMPORT = 5.0  # seconds; a thread interrupted inside a library would abort the process
APP = Path(__file__).resolve().parent
# Streamlit adds app/ to the path; the project's root belongs there instead
sys.path[:] = [str(APP.parent)] + [p for p in sys.path if p and Path(p).resolve() != APP]
# training leaves one core for the pages
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))

import streamlit as st  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from app import warm_up  # noqa: E402
from app.server import endpoints, first_page, player_routes  # noqa: E402
from app.server.page_head import PageHead  # noqa: E402
from app.server.streamlit_internals import send_pages_whole  # noqa: E402


def not_home() -> set[str]:
    """The URL parameters that belong to other pages than Home."""
    from app.state import url_state  # late: the server answers before it knows the pages
    from app.views.home import pair

    return url_state.PARAMS.keys() - pair.ADDRESS


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """From the server's start, before the first visitor, to its end."""
    endpoints.uploads()
    send_pages_whole()
    importing = warm_up.start()
    yield
    importing.join(LAST_IMPORT)


app = st.App(
    APP / "frame.py",
    lifespan=lifespan,
    routes=player_routes.routes(),
    middleware=[
        Middleware(first_page.FirstPage, elsewhere=not_home, base=player_routes.base()),
        Middleware(PageHead, style=APP / "style.css", script=APP / "page.js"),
    ],
)
