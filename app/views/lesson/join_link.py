"""How a class gets to the lesson: an address that other machines can open, and its QR code."""

import ipaddress
import socket
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

ELSEWHERE = "192.0.2.1"  # an address for documentation: nothing is sent to it


def page_address(page: str, **params: str) -> str:
    """The address of a page of this server for other machines.

    A browser on the server's own machine says localhost, which other machines do not know: this is
    replaced by the option browser.serverAddress, or else by the machine's address in its network.
    """
    here = urlsplit(st.context.url or "http://localhost:8501/lesson")
    host = here.hostname or "localhost"
    if is_local(host):
        chosen = st.get_option("browser.serverAddress")
        host = chosen if chosen and not is_local(chosen) else network_address() or host
    shown = f"[{host}]" if ":" in host else host
    place = shown if here.port is None else f"{shown}:{here.port}"
    base = here.path.rpartition("/")[0]  # without this page
    return urlunsplit((here.scheme, place, f"{base}/{page}", urlencode(params), ""))


def is_local(host: str) -> bool:
    """Whether a host name or address is the same machine's."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def network_address() -> str | None:
    """The address by which other machines of the network reach this one; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ELSEWHERE, 9))  # UDP: chooses a route, sends nothing
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if is_local(address) else address


def is_reachable() -> bool:
    """Whether the server accepts connections of other machines."""
    bound = st.get_option("server.address")
    return not bound or not is_local(bound) or bound in ("0.0.0.0", "::")


def qr_code(text: str) -> str | None:
    """A QR code, black on white, as the data URL of an image; None without the package segno."""
    try:
        import segno
    except ImportError:
        return None
    return segno.make(text, micro=False).svg_data_uri(dark="#000", light="#fff")
