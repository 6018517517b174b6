"""Who is looking: one browser, told by Streamlit's own cookie, and whether it is the teacher."""

import contextlib
import hashlib
import ipaddress
import os
import secrets
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from app.server.streamlit_internals import browser_token, on_page

CHOICES = "choices"  # of the session: what the visitor picked, see app.state.url_state
TEACHER = "teacher"  # of the session: the passcode was given
READ = "read"  # of the session: the runs that its page has read since it was drawn whole


@dataclass(frozen=True)
class Visitor:
    """Who asks: one browser, whether it is the teacher's, its address and the key of its link."""

    id: str
    teacher: bool = False
    address: str = ""  # see `network`; empty on the server's own machine
    key: str = ""  # of a share link


EVERYONE = Visitor("everyone", teacher=True)  # whom shared runs belong to
NOBODY = Visitor("nobody")  # owns nothing
_acting: ContextVar[Visitor | None] = ContextVar("acting", default=None)


def visitor() -> Visitor:
    """Who is looking: the browser's own token of Streamlit, hashed; else the session.

    Within `acting_as` the visitor it names; in a thread without a page NOBODY.
    """
    if (who := _acting.get()) is not None:
        return who
    if not on_page() and not _is_server():
        return NOBODY
    token = browser_token(st.context.cookies.get("_streamlit_xsrf", ""))
    if token is None:
        token = st.session_state.setdefault("visitor", secrets.token_bytes(8))
    address = st.context.ip_address
    return Visitor(
        hashlib.sha256(token).hexdigest()[:12],
        st.session_state.get(TEACHER, False) or _in_list(),
        network(address) if isinstance(address, str) else "",
        st.session_state.get(CHOICES, {}).get("key", ""),
    )


def network(address: str) -> str:
    """What limits by address count: an IPv4 address, the /64 of an IPv6 one, "" for this machine.

    Whoever has one IPv6 address mostly has all 2**64 of its /64. IPv4 within IPv6 (::ffff:1.2.3.4)
    is IPv4; what is no address comes back as it is.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return ""
    # a zone (fe80::1%eth0) is no part of the number
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip), 64), strict=False))


def on_a_page() -> bool:
    """Whether this code runs for a visitor, and not for the server itself.

    Only the main thread is the server's own: a download is made in a thread that has no page.
    """
    return _acting.get() is not None or on_page() or not _is_server()


@contextlib.contextmanager
def acting_as(who: Visitor) -> Iterator[None]:
    """Act for a visitor in this thread, where it has no page."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)


def page_begins() -> None:
    """The page is drawn whole now: it has read no run yet."""
    st.session_state[READ] = frozenset()


def note_read(name: str) -> None:
    """The visitor's page reads a run."""
    if on_page() and name not in (known := runs_read()):
        st.session_state[READ] = known | {name}


def runs_read() -> frozenset[str]:
    """The runs that the visitor's page has read since it was drawn whole."""
    return st.session_state.get(READ, frozenset())


def _is_server() -> bool:
    return threading.current_thread() is threading.main_thread()


def has_teacher() -> bool:
    """Whether this server knows a teacher, by passcode or by login."""
    return bool(os.environ.get("MIXNN_PASSCODE") or (_listed() and has_login()))


def has_login() -> bool:
    """Whether .streamlit/secrets.toml configures Streamlit's own login (OpenID Connect)."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def _in_list() -> bool:
    """Whether who logged in stands in MIXNN_TEACHERS; an unverified address does not count."""
    listed = _listed()
    if not listed or not has_login() or not st.user.get("is_logged_in", False):
        return False
    verified = st.user.get("email_verified") is True
    return verified and str(st.user.get("email", "")).strip().lower() in listed


def _listed() -> set[str]:
    given = os.environ.get("MIXNN_TEACHERS", "").split(",")
    return {address.strip().lower() for address in given if address.strip()}
