"""The player's addresses: cached files by hash; recordings of runs for whoever may see them."""

import gzip
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.server import endpoints, first_page, maps, player_routes, recordings, run_cache
from app.server.page_head import PageHead
from app.server.player_routes import AT, ID, LATER, PASS, WAIT
from app.server.run_info import RunsError
from app.server.run_manager import runs
from app.server.visible_runs import VisibleRuns
from app.server.visitors import Visitor, acting_as
from engine.reports.reader import read_recording
from engine.reports.recording import RecordingWriter
from engine.runs.folder import RunFolder
from tests.app.conftest import ANYONE, n_epochs, wait_until

ANN, BOB, TEACHER = Visitor("ann"), Visitor("bob"), Visitor("head", teacher=True)
RUNS = "/recordings/runs"
APP = Path(player_routes.__file__).parents[1]
HTML = {"accept": "text/html"}
PAGE = '<html><head><script crossorigin src="a.js"></script></head><body></body></html>'


@pytest.fixture(scope="module")
def client():
    """A server that compresses what it sends, as Streamlit does."""
    app = Starlette(routes=player_routes.routes(), middleware=[Middleware(GZipMiddleware)])
    return TestClient(app)


def pass_of(who: Visitor, *names: str) -> dict[str, str]:
    """The header that a page of this visitor gives to the player."""
    with acting_as(who):
        return {PASS: player_routes.pass_for(names)}


def test_files_are_cached_forever_under_the_hash_of_their_content(client):
    script = client.get(player_routes.script().path)
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["content-encoding"] == "gzip"
    assert "export const { mount, " in script.text
    plain = client.get(player_routes.script().path, headers={"accept-encoding": "br"})
    assert plain.content == gzip.decompress(player_routes.script().zipped)
    recording = client.get(player_routes.shipped().path)
    assert recording.content == player_routes.SHIPPED.read_bytes()
    assert recording.headers["content-encoding"] == "identity"  # not compressed twice
    assert len(read_recording(recording.content).epochs) == 2


@pytest.mark.parametrize(
    "name",
    ["", "player.js", "player-0000000000000000.js", "../../etc/passwd", "%2e%2e/%2e%2e/main.py"]
    + ["digits.recording", "a" * 5000, "%00", "<script>"],
)
def test_other_names_are_not_found(client, name):
    answer = client.get(f"/recordings/{name}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_finished_run_comes_whole_and_again_with_better_maps(
    client, finished, mapper, monkeypatch
):
    pass_ = pass_of(ANYONE, finished)
    first = client.get(RUNS, headers=pass_)
    run = RunFolder(runs().folder(finished))
    assert first.content == RecordingWriter(run, data=run_cache.data_of(run)).to_bytes()
    assert first.headers[AT] == "0"
    assert WAIT not in first.headers
    assert float(first.headers[LATER]) > 0  # until UMAP takes the place of PCA
    assert (finished, 2, False) in mapper.requests
    assert first.headers["cache-control"] == "no-store"
    known = {"id": first.headers[ID], "at": str(len(first.content))}
    assert client.get(RUNS, params=known, headers=pass_).content == b""
    other = client.get(RUNS, params=known | {"id": "another"}, headers=pass_)
    assert (other.headers[AT], other.content) == ("0", first.content)
    mapper.answer = ("failed", "no room on the disk")
    assert LATER not in client.get(RUNS, params=known, headers=pass_).headers
    monkeypatch.setattr(maps, "complete", lambda folders: True)
    better = client.get(RUNS, params=known, headers=pass_)
    assert better.headers[ID] != first.headers[ID]
    assert LATER not in better.headers


def test_a_run_that_trains_sends_what_it_appends_and_counts_as_watched(client, running):
    pass_ = pass_of(ANYONE, running)
    first = client.get(RUNS, headers=pass_)
    assert float(first.headers[WAIT]) > 0
    before = n_epochs(runs().folder(running))
    runs().step(running, ANYONE)
    wait_until(lambda: n_epochs(runs().folder(running)) > before)
    more = client.get(
        RUNS, params={"id": first.headers[ID], "at": len(first.content)}, headers=pass_
    )
    assert more.headers[AT] == str(len(first.content))
    read = read_recording(first.content + more.content)
    assert len(read.epochs[0]) == n_epochs(runs().folder(running))
    assert runs().info(running).unwatched < 5


def test_a_run_in_the_queue_says_what_it_waits_for(client, running):
    name = runs().submit(RunFolder(runs().folder(running)).config, visitor=ANN)
    answer = client.get(RUNS, headers=pass_of(ANN, name))
    assert (answer.status_code, answer.text) == (202, "Waiting in the queue: it is next.")


@pytest.mark.parametrize("value", ["", "x", "e30=.", "e30=.00", ".", "é", "a" * 10_000])
def test_without_a_pass_there_is_nothing(client, finished, value):
    answer = client.get(RUNS, headers={PASS: value.encode()})
    assert answer.status_code == 403


def test_a_pass_is_for_its_runs_its_visitor_and_its_session(client, finished, monkeypatch):
    active = {"here"}
    monkeypatch.setattr(player_routes, "session_id", lambda: "here")
    monkeypatch.setattr(endpoints.uploads(), "is_active", active.__contains__)
    pass_ = pass_of(ANYONE, finished)
    text, _, signature = pass_[PASS].partition(".")
    changed = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
    assert client.get(RUNS, headers={PASS: f"{changed}.{signature}"}).status_code == 403
    assert client.get(RUNS, headers=pass_).status_code == 200
    active.clear()
    assert client.get(RUNS, headers=pass_).status_code == 403


def test_a_private_run_is_for_its_owner_the_teacher_and_the_link(client, unknown, monkeypatch):
    monkeypatch.setenv("MIXNN_PASSCODE", "owl")
    runs().storage.put("owners", unknown, ANN.id)
    assert client.get(RUNS, headers=pass_of(ANN, unknown)).status_code == 200
    assert client.get(RUNS, headers=pass_of(TEACHER, unknown)).status_code == 200
    with pytest.raises(RunsError, match="does not exist"):
        pass_of(BOB, unknown)
    linked = Visitor("bob", key=runs().share_link(unknown, ANN))
    pass_ = pass_of(linked, unknown)
    assert client.get(RUNS, headers=pass_).status_code == 200
    runs().revoke(unknown, ANN)
    answer = client.get(RUNS, headers=pass_)
    assert answer.status_code == 404
    assert "does not exist" in answer.text


def test_two_runs_on_different_data_are_refused_in_words(client, finished, unknown):
    answer = client.get(RUNS, headers=pass_of(ANYONE, finished, unknown))
    assert answer.status_code == 422
    assert "different data sets" in answer.text


@pytest.mark.parametrize("at", ["-1", "x", "1e3", "9" * 50, "٣"])
def test_a_position_that_is_none_is_refused(client, finished, at):
    answer = client.get(RUNS, params={"at": at}, headers=pass_of(ANYONE, finished))
    assert answer.status_code == 400


def test_recordings_in_memory_are_limited(finished):
    run = RunFolder(runs().folder(finished))
    kept = recordings.Recordings(most=1)
    first = kept.of([run])
    first.since(0)
    assert kept.of([run]) is first
    alone = kept.of([RunFolder(run.folder, alone=True)])
    assert alone is not first
    assert kept.of([run]) is not first  # it had to go


def test_a_pair_trains_in_one_slot(root):
    from tests.conftest import quick_digits

    config = quick_digits(epochs=3000)
    one = runs().submit(config, visitor=ANN)
    two = runs().submit(config, visitor=ANN, beside=one)
    three = runs().submit(config, visitor=ANN)
    wait_until(lambda: runs().info(two).state == "running")
    assert [runs().info(name).state for name in (one, three)] == ["running", "queued"]
    with pytest.raises(RunsError, match="another visitor"):
        VisibleRuns(runs(), BOB).submit(config, visitor=BOB, beside=one)
    for name in (one, two):
        runs().stop(name, ANN)
    wait_until(lambda: runs().info(three).state == "running")


# --- the bare address


@pytest.fixture(scope="module")
def bare():
    app = Starlette(
        routes=[Route("/{page:path}", lambda request: HTMLResponse(PAGE))],
        middleware=[
            Middleware(first_page.FirstPage, elsewhere=lambda: {"run", "epoch"}),
            Middleware(PageHead, style=APP / "style.css", script=APP / "page.js"),
        ],
    )
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("query", ["run=a&k=3", "epoch=", "k=1&run=%3Cscript%3E%0d%0aX: y"])
def test_older_links_lead_to_train(bare, query):
    answer = bare.get(f"/?{query}")
    assert answer.status_code == 307
    assert answer.headers["location"].startswith("/train?")
    assert "x" not in answer.headers


def test_home_loads_the_player_early_and_the_recording_if_it_shows_it(bare):
    links = bare.get("/?k=3").headers["link"]
    assert player_routes.script().path in links
    assert player_routes.shipped().path in links
    assert player_routes.shipped().path not in bare.get("/?pair=a,b").headers["link"]
    assert "link" not in bare.get("/train?run=a").headers


def test_only_home_without_parameters_is_drawn_before_it_has_loaded(bare, monkeypatch, tmp_path):
    def picture(path: str) -> bool:
        page = bare.get(path, headers=HTML).text
        shown = 'id="first-picture"' in page
        assert (' data-src="a.js"' if shown else ' src="a.js"') in page  # it starts the scripts
        return shown

    assert picture("/")
    for path in ("/?pair=a,b", "/?embed=true", "/?k=3", "/train", "/recordings"):
        assert not picture(path)
    monkeypatch.setattr(player_routes, "SHIPPED", tmp_path / "missing")
    player_routes.shipped.cache_clear()
    assert not picture("/")
