"""The Map page, what it sends to the browser, and the selection in the URL."""

import base64
import io
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from app.components.scatter import REVISION, Picture, coloring, from_bits, packed
from app.components.scatter.coloring import Labels, colored
from app.server import run_cache
from app.server.storage import storage_of
from app.state import sample_sets, url_state
from app.views.map import layouts, thumbnails
from engine.charts import map3d
from engine.data.images import open_image
from engine.embedding import projection
from engine.embedding.maps import embed_next_epoch, map_file
from tests.app.conftest import app, texts


@pytest.fixture(scope="module", autouse=True)
def no_compiling():
    """UMAP compiles for seconds and has its own tests; any layout is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "umap", projection.pca)
        yield


@pytest.fixture(scope="module")
def template_mapped(no_compiling, template, tmp_path_factory) -> Path:
    """A finished run with a map of every epoch, to be copied."""
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("mapped") / "finished"))
    while embed_next_epoch(folder, 2) is not None:
        pass
    return folder


@pytest.fixture
def laid_out(root, template_mapped, mapper) -> str:
    shutil.copytree(template_mapped, root / "finished")
    return "finished"


def sent(at) -> tuple[dict, dict[str, np.ndarray]]:
    """What the map component was given: header and arrays, read as payload.js does."""
    return unpacked(maps(at)[0].proto.bytes)


def maps(at) -> list:
    """The map components of a page, without that of app/components/live_updates.py."""
    return [c for c in at.get("bidi_component") if c.proto.component_name == "mixnn.map"]


def unpacked(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    arrays = {
        name: np.frombuffer(data, kind, count, 4 + length + offset)
        for name, (kind, offset, count) in header["arrays"].items()
    }
    return header, arrays


def some_labels(n: int = 6, *, true: bool = True) -> Labels:
    given = np.arange(n) % 3
    return Labels(
        classes=["a", "b", "c"],
        given=given,
        true=np.zeros(n, int) if true else None,
        corrected=np.array([0, 0, 2, 0, 1, 1])[:n],
        before=np.array([0, 1, 0, 0, 1, 2])[:n],
        clean=np.linspace(0, 1, n),
        loss=np.linspace(0, 5, n),
    )


def some_picture(**changes) -> Picture:
    labels = some_labels()
    values = dict(
        points="p",
        view="v",
        layout_name="e1",
        ids=np.arange(10, 16),
        layout=np.eye(6)[:, :2] * 3 - 1,
        box=np.array([[-2.0, -2.0], [4.0, 2.0]]),
        labels=labels,
        coloring=colored(labels, "given"),
        selected=np.arange(6) == 2,
    )
    return Picture(**values | changes)


# --- a selection in the URL


@pytest.mark.parametrize("chosen", [(), (0,), (7, 3, 40_000), tuple(range(0, 5000, 3))])
def test_a_selection_goes_through_text_and_back(root, chosen):
    assert sample_sets.unpack(sample_sets.pack(chosen)) == tuple(sorted(chosen))


def test_a_long_selection_is_in_storage_and_its_name_in_the_url(root):
    rng = np.random.default_rng(0)
    chosen = tuple(np.flatnonzero(rng.random(50_000) < 0.4).tolist())
    text = sample_sets.pack(chosen)
    assert text.startswith("@")
    assert len(text) < 30
    assert sample_sets.unpack(text) == chosen
    sample_sets.pack.cache_clear()
    assert sample_sets.pack(chosen) == text
    assert n_sets(root) == 1


def test_old_selections_are_deleted(root, monkeypatch):
    monkeypatch.setattr(sample_sets, "KEPT", 3)
    monkeypatch.setattr(sample_sets, "LONGEST", 0)
    sample_sets.pack.cache_clear()
    names = [sample_sets.pack((i,)) for i in range(5)]
    assert n_sets(root) == 3
    assert sample_sets.unpack(names[-1]) == (4,)


def n_sets(root) -> int:
    return storage_of(root).read("SELECT count(*) FROM sample_sets")[0][0]


@pytest.mark.parametrize("text", ["@../../etc/passwd", "@" + "0" * 20, "%%%", "eNo", "@", "AAAA"])
def test_a_wrong_selection_is_refused(root, text):
    with pytest.raises(ValueError, match=r".*"):
        sample_sets.unpack(text)


def test_a_selection_reads_no_file_of_another_folder(root):
    (root / ".lassos").mkdir(parents=True)
    (root / "secret").write_text(sample_sets.pack((1, 2)))
    with pytest.raises(ValueError, match="secret"):
        sample_sets.unpack("@../secret")


def test_a_selection_that_unpacks_to_gigabytes_is_refused(root):
    bomb = base64.urlsafe_b64encode(zlib.compress(bytes(50_000_000), 9)).decode().rstrip("=")
    with pytest.raises(ValueError, match=r".*"):
        sample_sets.unpack(bomb)


# --- what the browser gets


def test_the_payload_holds_the_picture():
    picture = some_picture(sample=4, links=((2, 0.25),), note="a <b>")
    header, arrays = unpacked(packed(picture, 17))
    assert header["revision"] == 17
    assert (header["sample"], header["links"], header["note"]) == (4, [[2, 0.25]], "a <b>")
    assert header["box"] == [-2, -2, 6, 4]
    # both axes have one unit, that of the larger extent
    places = arrays["xy"].reshape(-1, 2) / 65535 * 6 - 2
    assert places == pytest.approx(picture.layout, abs=1e-4)
    assert arrays["ids"].tolist() == list(range(10, 16))
    wrong = picture.labels.given != picture.labels.true
    assert ((arrays["flags"] & 1) > 0).tolist() == wrong.tolist()
    assert ((arrays["flags"] & 2) > 0).tolist() == picture.selected.tolist()
    assert arrays["clean"] == pytest.approx(picture.labels.clean)
    assert all(offset % 8 == 0 for _, offset, _ in header["arrays"].values())


def test_arrays_are_aligned_whatever_the_header_holds():
    for length in range(9):
        data = packed(some_picture(note="x" * length), 0)
        assert (4 + int.from_bytes(data[:4], "little")) % 8 == 0


def test_without_truth_nothing_is_marked_wrong():
    labels = some_labels(true=False)
    picture = some_picture(labels=labels, coloring=colored(labels, "corrected"))
    header, arrays = unpacked(packed(picture, 0))
    assert "true" not in arrays
    assert not (arrays["flags"] & 1).any()
    assert "cross" not in header["legend"]


def test_bits_are_read_as_the_browser_writes_them():
    chosen = np.random.default_rng(0).random(37) < 0.5
    text = base64.b64encode(np.packbits(chosen, bitorder="little").tobytes()).decode()
    assert np.array_equal(from_bits(text, 37), chosen)


# --- colors


def test_changed_labels_are_colored_by_outcome():
    colors = colored(some_labels(), "changed")
    # before 0 1 0 0 1 2 -> after 0 0 2 0 1 1, all truly 0
    names = [name.split(" (")[0] for name in colors.legend["names"]]
    assert [names[c] for c in colors.color] == [
        "not changed",
        "corrected",
        "harmed",
        "not changed",
        "not changed",
        "changed",
    ]
    without = colored(some_labels(true=False), "changed")
    assert without.color.tolist() == [0, 1, 1, 0, 0, 1]


def test_values_run_over_the_whole_scale():
    colors = colored(some_labels(), "clean")
    assert colors.color[0] == 0
    assert colors.color[-1] == len(colors.palette) - 1 == coloring.SHADES - 1
    assert colors.palette[0] == "#440154"  # viridis begins dark
    assert (np.diff(colored(some_labels(), "loss").color) >= 0).all()


def test_crosses_mark_the_label_that_is_shown():
    labels = some_labels()
    assert np.array_equal(colored(labels, "given").cross, labels.given != labels.true)
    assert np.array_equal(colored(labels, "clean").cross, labels.corrected != labels.true)
    with pytest.raises(ValueError, match="not known"):
        colored(some_labels(true=False), "true")


def test_label_agreement_is_a_share_of_the_nearest():
    line = np.stack([np.arange(22.0), np.zeros(22)], axis=1)
    line[11:] += 1000
    sides = np.repeat([0, 1], 11)
    assert layouts.label_agreement(line, sides, np.arange(22)) == [1, 0]
    (equal,) = layouts.label_agreement(np.zeros((4, 2)), np.array([0, 0, 1, 1]))
    assert equal == pytest.approx(1 / 3)


# --- thumbnails


def test_sheets_hold_the_thumbnails_in_the_order_of_the_panel(finished, monkeypatch):
    monkeypatch.setattr(thumbnails, "PER_SHEET", 50)
    panel = run_cache.run(finished).labels["panel"]
    content = thumbnails.sheet(finished, "now", 1)
    with open_image(io.BytesIO(content)) as image:
        picture = np.array(image)
    for within in (0, 31, 32, 49):
        row, column = divmod(within, thumbnails.COLUMNS)
        cell = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        expected = run_cache.pixels(finished, [panel[50 + within]])[0, ..., 0]
        assert np.array_equal(cell, expected)


def test_sheets_are_created_on_request(laid_out, monkeypatch):
    monkeypatch.setattr(thumbnails, "PER_SHEET", 50)
    at = app("map", run=laid_out)
    urls = sent(at)[0]["thumbnails"]["urls"]
    assert [url is not None for url in urls] == [True, True, False, False]
    at.session_state[thumbnails.REQUESTED] = {(laid_out, 3)}
    at.run()
    assert [url is not None for url in sent(at)[0]["thumbnails"]["urls"]] == [
        True,
        True,
        False,
        True,
    ]


# --- the page


def test_pca_is_shown_until_umap_is_ready(finished, root, mapper):
    at = app("map", run=finished)
    assert sent(at)[0]["note"] == "PCA, epoch 5"
    assert mapper.requests
    assert set(mapper.requests) == {(finished, 2, False)}
    embed_next_epoch(root / finished, 2)
    embed_next_epoch(root / finished, 2)
    at.run()
    header, arrays = sent(at)
    assert header["note"] == "UMAP, epoch 1"
    # losses and labels are those of the epoch that is shown, not of the selected one
    panel = run_cache.run(finished).labels["panel"]
    assert np.array_equal(arrays["loss"], run_cache.run(finished).array("loss")[1][panel])


def test_the_chosen_epoch_is_shown(laid_out):
    at = app("map", run=laid_out, epoch=2)
    assert sent(at)[0]["note"] == "UMAP, epoch 2"
    layout = sent(at)[0]["layout"]
    at.button(key="epoch-on").click().run()
    header, _ = sent(at)
    assert header["note"] == "UMAP, epoch 3"
    assert header["layout"] != layout
    at.query_params["layout"] = "pca"
    at.run()
    assert sent(at)[0]["note"] == "PCA, epoch 3"


def test_epochs_share_one_box_and_one_view(laid_out):
    first, last = (sent(app("map", run=laid_out, epoch=e))[0] for e in (0, 5))
    assert first["box"] == last["box"]
    assert first["view"] == last["view"]


def test_a_failed_mapper_is_reported_and_can_be_tried_again(finished, mapper):
    mapper.answer = ("failed", "no room on the disk")
    at = app("map", run=finished)
    assert "no room on the disk" in texts(at)
    at.button(key="umap-again").click().run()
    assert (finished, 2, True) in mapper.requests


def test_a_broken_map_file_falls_back_to_the_one_before(laid_out, root):
    map_file(root / laid_out, 2, 5).write_bytes(b"\x93NUMPY broken")
    assert sent(app("map", run=laid_out))[0]["note"] == "UMAP, epoch 4"


def test_the_lasso_fills_table_and_images(laid_out):
    at = app("map", run=laid_out, lasso=sample_sets.pack((3, 5, 8)))
    panel = run_cache.run(laid_out).labels["panel"]
    chosen = panel[(sent(at)[1]["flags"] & 2) > 0]
    assert chosen.tolist() == [3, 5, 8]
    assert at.dataframe[0].value["id"].tolist() == [3, 5, 8]
    true = run_cache.run(laid_out).labels["true"][[3, 5, 8]]
    assert at.dataframe[0].value["true"].tolist() == [str(c) for c in true]
    assert "3 selected samples" in "\n".join(h.value for h in at.subheader)
    at.button(key="clear-lasso").click().run()
    assert not at.dataframe
    assert "lasso" not in at.query_params


def test_a_selection_beyond_the_data_is_left_out(laid_out):
    at = app("map", run=laid_out, lasso=sample_sets.pack((3, 199, 90_000)), sample=90_000)
    assert at.dataframe[0].value["id"].tolist() == [3, 199]
    assert sent(at)[0]["sample"] == -1


def test_a_sample_shows_its_neighbors_and_their_weights(laid_out):
    at = app("map", run=laid_out, sample=8, epoch=4)
    header, arrays = sent(at)
    run = run_cache.run(laid_out)
    neighbors, _, weights = run.mixing_of(4)
    assert arrays["ids"][header["sample"]] == 8
    assert [arrays["ids"][i] for i, _ in header["links"]] == neighbors[8].tolist()
    assert [w for _, w in header["links"]] == pytest.approx(weights[8, 1:].tolist())
    assert f"**Sample {run_cache.sample_name(laid_out, 8)}**" in texts(at)


def test_the_warm_up_has_no_neighbors_to_show(laid_out):
    at = app("map", run=laid_out, sample=8, epoch=0)
    assert sent(at)[0]["links"] == []
    assert "No samples were mixed" in texts(at)


def test_data_without_truth_says_so(unknown, mapper):
    at = app("map", run=unknown, color="true")
    assert "true labels are not known" in texts(at)
    header, arrays = sent(at)
    assert header["legend"]["title"] == "Given label"
    assert "true" not in arrays


def test_without_images_the_map_remains(unknown, mapper, root, monkeypatch):
    run = run_cache.run(unknown)
    hidden = run.config.dataset.removeprefix("npz:")
    shutil.move(hidden, hidden + ".away")
    try:
        st.cache_resource.clear()
        at = app("map", run=unknown, sample=3, lasso=sample_sets.pack((3, 4)))
        assert sent(at)[0]["thumbnails"] is None
        assert "cannot be shown" in texts(at)
        assert len(at.dataframe[0].value) == 2
    finally:
        shutil.move(hidden + ".away", hidden)


def test_three_dimensions(finished, mapper):
    at = app("map", run=finished, dims=3, layout="pca", sample=8)
    assert not maps(at)
    assert at.get("plotly_chart")


def test_the_3d_figure_holds_every_point_once():
    layout = np.random.default_rng(0).normal(size=(6, 3))
    colors = colored(some_labels(), "given")
    fig = map3d.embedding_map_3d(
        layout,
        np.arange(10, 16),
        colors.color,
        colors.palette,
        title="Given label",
        names=colors.legend["names"],
        cross=colors.cross,
        selected=np.arange(6) < 4,
        sample=1,
        links=[(2, 0.5)],
    )
    points = [t for t in fig.data if t.customdata is not None]
    assert sorted(i for t in points for i in t.customdata) == list(range(10, 16))
    crosses = [i for t in points if t.marker.symbol == "cross" for i in t.customdata]
    assert crosses == [i + 10 for i in range(4) if colors.cross[i]]
    assert {len(t.x) for t in fig.data if t.mode == "lines"} == {2}


def test_the_revision_of_the_lasso_is_sent_back(laid_out):
    """The browser keeps its own lasso until Python has received it."""
    at = app("map", run=laid_out)
    assert sent(at)[0]["revision"] == 0
    at.session_state[REVISION] = 123
    at.run()
    assert sent(at)[0]["revision"] == 123


def test_settings_of_the_page_are_in_the_url(laid_out):
    at = app("map", run=laid_out, color="loss", layout="pca")
    assert sent(at)[0]["legend"]["title"] == "Loss"
    assert url_state.PARAMS["dims"].parse("3") == 3
    with pytest.raises(KeyError):
        url_state.PARAMS["dims"].parse("4")
