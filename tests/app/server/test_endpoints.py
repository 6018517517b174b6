"""Streamlit's own addresses: uploads only where a page waits for them, no metrics, no clearing."""

from types import SimpleNamespace

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.runtime import Runtime
from streamlit.runtime.stats import StatsManager
from streamlit.web.server.starlette import starlette_routes as routes

from app.server import endpoints

KB = 1000


@pytest.fixture
def served(monkeypatch):
    """A server of Streamlit's own routes with one session, "me", and what restricts it."""
    monkeypatch.setattr(AppSession, "_handle_clear_cache_request", lambda session: None)
    monkeypatch.setattr(routes, "is_xsrf_enabled", lambda: False)
    files, stats = MemoryUploadedFileManager("/_stcore/upload_file"), StatsManager()
    stats.register_provider(files)
    run = SimpleNamespace(
        uploaded_file_mgr=files, stats_mgr=stats, is_active_session=lambda s: s in ("me", "you")
    )
    uploads = endpoints.Uploads(200 * KB, 300 * KB)
    app = Starlette(
        routes=[
            *routes.create_upload_routes(run, files, None),
            *routes.create_metrics_routes(run, None),
        ]
    )
    return TestClient(app), uploads, run


def put(client: TestClient, size: int, session: str = "me", name: str = "a") -> int:
    address = f"/_stcore/upload_file/{session}/{name}"
    return client.put(address, files={"file": ("a.npz", b"x" * size)}).status_code


def kept(run) -> int:
    sessions = run.uploaded_file_mgr.file_storage.values()
    return sum(len(f.data) for session in sessions for f in session.values())


def test_unrestricted_streamlit_accepts_and_reports_everything(served):
    client, _, run = served
    for number in range(8):
        assert put(client, 60 * KB, name=str(number)) == 204
    assert kept(run) == 480 * KB
    assert "UploadedFileManager" in client.get("/_stcore/metrics").text


def test_a_page_without_an_uploader_accepts_nothing(served):
    client, uploads, run = served
    uploads.restrict(run)
    assert put(client, 60 * KB) == 400
    uploads.wait_for("me", True)
    assert put(client, 60 * KB) == 204
    uploads.wait_for("me", False)
    assert put(client, 60 * KB, name="b") == 400
    assert kept(run) == 60 * KB
    uploads.wait_for("ended", True)
    assert put(client, 1, session="ended") == 400


def test_a_session_and_the_server_have_memory_limits(served):
    client, uploads, run = served
    uploads.restrict(run)
    uploads.wait_for("me", True)
    uploads.wait_for("you", True)
    answers = [put(client, 60 * KB, name=str(number)) for number in range(8)]
    assert answers == [204] * 3 + [413] * 5
    assert put(client, 60 * KB, name="0") == 204  # the same again replaces it
    answers = [put(client, 60 * KB, "you", str(number)) for number in range(3)]
    assert answers == [204, 204, 413]
    assert kept(run) == 300 * KB
    run.uploaded_file_mgr.remove_session_files("me")
    assert put(client, 60 * KB, "you", "c") == 204


def test_no_metrics(served):
    client, uploads, run = served
    uploads.restrict(run)
    uploads.wait_for("me", True)
    put(client, 60 * KB)
    metrics = client.get("/_stcore/metrics").text
    assert "UploadedFileManager" not in metrics
    assert "60000" not in metrics


def test_no_client_clears_the_shared_caches(served, monkeypatch):
    _, uploads, run = served
    cleared = []
    monkeypatch.setattr(
        AppSession, "_handle_clear_cache_request", lambda session: cleared.append(1)
    )
    uploads.restrict(run)
    AppSession._handle_clear_cache_request(None)
    assert cleared == []


def test_the_installed_streamlit_has_what_is_restricted():
    """Fails when another version of Streamlit wants another way."""
    assert {"is_active_session", "uploaded_file_mgr", "stats_mgr"} <= set(dir(Runtime))
    run = SimpleNamespace(
        is_active_session=None,
        uploaded_file_mgr=MemoryUploadedFileManager(""),
        stats_mgr=StatsManager(),
    )
    assert endpoints.is_supported(run)
    run.stats_mgr = SimpleNamespace()
    assert not endpoints.is_supported(run)
    assert st.get_option("server.maxUploadSize") > 0
