"""Every hostile upload is refused with a reason or accepted correctly."""

import io
import re
import resource
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.server.uploads import paths, registry, safe_zip, sandbox
from app.server.uploads.jobs import Job
from app.server.uploads.limits import Limits
from app.server.uploads.safe_zip import UploadError
from engine.data import load
from engine.data.npy import read_header
from engine.data.parts import check_class_names, is_unprintable
from engine.errors import DataError
from tests import hostile_files as hostile
from tests.conftest import slow
from tests.hostile_files import BOMB, Case

MARKER = Path("/tmp/mixnn-postscript-ran")
CASES = list(hostile.cases(str(MARKER)))
# every third: tests/benchmarks/hostile_uploads.py uploads all of them to a server
SMALL = [case for case in CASES if case.size != BOMB][::3]
BOMBS = [case for case in CASES if case.size == BOMB]
NO_SENTENCE = re.compile(r"Traceback|\w+Error\b|\w+Exception\b|Errno|0x[0-9a-f]{6}|in its log")
BUDGET_MB = 700


def some(cases: list[Case], step: int) -> list:
    """Every step-th as a fast test, the others as slow ones."""
    return [
        pytest.param(case, id=ascii(case.name), marks=() if i % step == 0 else slow)
        for i, case in enumerate(cases)
    ]


def check_outcome(case: Case, taken: list[str], refusal: str) -> None:
    """taken: the notes of one that was taken."""
    if case.outcome != "either":
        assert (case.outcome == "refused") == bool(refusal), refusal or taken
    assert case.reason in refusal + " ".join(taken)
    check_sentence(refusal)
    assert not MARKER.exists()


def check_sentence(refusal: str) -> None:
    assert not NO_SENTENCE.search(refusal), refusal
    assert not any(map(is_unprintable, refusal)), ascii(refusal)
    assert len(refusal) < 1000


@pytest.mark.parametrize("case", some(SMALL, 1))
def test_each_is_refused_with_a_reason_or_accepted(case, tmp_path):
    """In this process; the other one runs the same function."""
    own = tmp_path / "outer" / "own"
    own.mkdir(parents=True)
    (own / paths.INCOMING).write_bytes(case.make())
    notes, refusal = [], ""
    try:
        result = sandbox.unpack(own, "mine.zip", Limits(), 8, lambda what, done, total: None)
        data = load(f"{result['form']}:{own / result['file']}")
        assert data.labels.min() >= 0
        assert data.labels.max() < data.n_classes == len(set(data.classes))
        notes = [*result["notes"], *data.notes]
    except UploadError as error:
        refusal = str(error)
    check_outcome(case, notes, refusal)
    outside = [path for path in tmp_path.rglob("*") if own not in (path, *path.parents)]
    assert outside == [tmp_path / "outer"]


@pytest.mark.parametrize("case", some(BOMBS, 3) + some(SMALL[::10], 3))
def test_nothing_is_left_over_and_memory_stays_below_the_budget(case, tmp_path, monkeypatch):
    monkeypatch.setenv("MIXNN_UPLOAD_MEMORY_MB", str(BUDGET_MB))
    job = Job()
    root = tmp_path / "runs"
    root.mkdir()
    content = case.make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    notes, refusal = [], ""
    try:
        about = registry.receive(io.BytesIO(content), "mine.zip", root, job)
        notes = [*about.notes, *load(about.dataset).notes]
        assert [path.name for path in (root / paths.FOLDER).iterdir()] == [about.key]
        shutil.rmtree(root / paths.FOLDER)
    except UploadError as error:
        refusal = str(error)
        assert refusal.startswith("mine.zip was not accepted: ")
    check_outcome(case, notes, refusal)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert 0 < job.peak < BUDGET_MB << 20
    if refusal:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # in KB


FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(kind=st.sampled_from(["images", "arrays"]), data=st.data())
def test_damage_of_any_kind(kind, data, tmp_path_factory):
    raw = bytearray(hostile.zipped(hostile.pets()) if kind == "images" else hostile.arrays())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=9))
    own = tmp_path_factory.mktemp("own")
    (own / paths.INCOMING).write_bytes(bytes(raw))
    try:
        sandbox.unpack(own, "mine.zip", Limits(), 8, lambda what, done, total: None)
    except UploadError as error:
        check_sentence(str(error))


@FUZZ
@given(
    st.text(st.sampled_from("{}[]()',:<>|0123456789-+*. adefhilnoprstuyFTrue\\\"\n"), max_size=80)
)
def test_headers_of_any_text(text):
    try:
        header = read_header(io.BytesIO(hostile.claimed(text)))
    except DataError:
        return
    assert header.n_bytes >= 0


@FUZZ
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_class_names_of_any_text(names):
    try:
        checked = check_class_names("x", names)
    except DataError as error:
        check_sentence(str(error))
        return
    assert check_class_names("x", checked) == checked
    assert len(set(checked)) == len(names)


@FUZZ
@given(st.text(st.sampled_from("./\\:acC \n\0\u202e\ud800"), max_size=20))
def test_no_path_leads_outside(name):
    try:
        path_parts = safe_zip.parts(name)
    except UploadError as error:
        check_sentence(str(error))
        return
    assert (Path("/home") / Path(*path_parts)).resolve().is_relative_to("/home")
