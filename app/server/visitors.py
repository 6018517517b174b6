"""Who is visiting: one browser, identified by Streamlit's cookie, and whether it is a teacher's."""

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

CHOICES = "choices"  # session key: what the visitor selected, see app.state.url_state
TEACHER = "teacher"  # session key: whether the passcode was entered
READ = "read"  # session key: the runs that the page has read since its last full rerun


@dataclass(frozen=True)
class Visitor:
    """One browser: whether it is a teacher's, its address, and the key of its share link."""

    id: str
    teacher: bool = False
    address: str = ""  # see `network`; "" on the server's own machine
    key: str = ""  # of a share link


EVERYONE = Visitor("everyone", teacher=True)  # the owner of shared runs
NO_VISITOR = Visitor("nobody")  # owns nothing
_acting: ContextVar[Visitor | None] = ContextVar("acting", default=None)


def visitor() -> Visitor:
    """The current visitor, identified by the hash of Streamlit's browser token, or by the session.

    Within `acting_as` the visitor it names; in a thread without a page NO_VISITOR.
    """
    if (who := _acting.get()) is not None:
        return who
    if not on_page() and not _is_server():
        return NO_VISITOR
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

    The owner of one IPv6 address usually has all 2**64 of its /64. IPv4 within IPv6
    (::ffff:1.2.3.4) is IPv4; anything that is not an address is returned unchanged.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return ""
    # a zone (fe80::1%eth0) is not part of the number
    return str(ip) if ip.version == 4 else str(ipaddress.IPv6Network((int(ip), 64), strict=False))


def on_a_page() -> bool:
    """Whether this code runs for a visitor, not for the server itself.

    Only the main thread is the server's own: downloads are created in threads without a page.
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
    """Note a full rerun of the page: it has read no run yet."""
    st.session_state[READ] = frozenset()


def note_read(name: str) -> None:
    """Note that the visitor's page reads a run."""
    if on_page() and name not in (known := runs_read()):
        st.session_state[READ] = known | {name}


def runs_read() -> frozenset[str]:
    """The runs that the visitor's page has read since its last full rerun."""
    return st.session_state.get(READ, frozenset())


def _is_server() -> bool:
    return threading.current_thread() is threading.main_thread()


def has_teacher() -> bool:
    """Whether this server has a teacher, by passcode or by login."""
    return bool(os.environ.get("MIXNN_PASSCODE") or (_listed() and has_login()))


def has_login() -> bool:
    """Whether .streamlit/secrets.toml configures Streamlit's own login (OpenID Connect)."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def _in_list() -> bool:
    """Whether the logged-in user is in MIXNN_TEACHERS; an unverified address does not count."""
    listed = _listed()
    if not listed or not has_login() or not st.user.get("is_logged_in", False):
        return False
    verified = st.user.get("email_verified") is True
    return verified and str(st.user.get("email", "")).strip().lower() in listed


def _listed() -> set[str]:
    given = os.environ.get("MIXNN_TEACHERS", "").split(",")
    return {address.strip().lower() for address in given if address.strip()}
