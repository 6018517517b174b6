"""Noise: reasons and tables against independent counts, the page in every state, the editor."""

import numpy as np
import pandas as pd
import pytest

from app.state import url_state
from app.views.noise import matrix_editor, noisy_labels
from app.views.noise.noisy_labels import LabelNoise
from engine.charts import noise as charts
from engine.config import configure
from engine.data import load
from engine.errors import NoiseError
from engine.noise.class_dependent import class_dependent_noise
from engine.training import noisy_labels as training_labels
from engine.training.noisy_labels import make_noisy_labels, margins_known
from tests.app.conftest import app, texts

NAMES = ["cat", "dog", "owl"]


def make(kind="symmetric", rate=0.4, n=3000, **more) -> LabelNoise:
    true = np.arange(n) % 3
    noise = class_dependent_noise(true, kind, rate, n_classes=3, **more)
    return LabelNoise(kind, noise.rate_requested, NAMES, noise.labels, true, noise.matrix)


def test_rates_are_counted():
    labels = make()
    assert labels.actual == pytest.approx(np.mean(labels.given != labels.true))
    assert labels.expected == pytest.approx(0.4 * 2 / 3)
    expected = pd.crosstab(labels.true, labels.given, normalize="index").to_numpy()
    np.testing.assert_allclose(labels.observed, expected)


def test_large_classes_count_more():
    matrix = np.array([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    true = np.array([0] * 6 + [1] * 3 + [2])
    labels = LabelNoise("matrix", 1 / 6, NAMES, true, true, matrix)
    assert labels.expected == pytest.approx(0.3)
    assert labels.sizes.tolist() == [6, 3, 1]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("symmetric", "0.4 × (1 − 1/3) = 26.7 %"),
        ("symmetric-exclusive", "a class other than its own"),
        ("pair", "Every label flips independently"),
        ("none", "every label is right"),
    ],
)
def test_the_explanation_of_the_rates(kind, words):
    assert words in make(kind).explanation()


def test_the_explanation_of_a_matrix_and_of_unknown_labels():
    table = [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]
    assert "about 16.7 %" in make("matrix", matrix=table).explanation()
    labels = make()
    unknown = LabelNoise("none", 0.0, NAMES, labels.given, None, np.eye(3))
    assert "is not known" in unknown.explanation()
    assert unknown.largest_deviation() is None


def test_the_cell_that_differs_most():
    given, true = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 0, 0, 0, 1, 2])
    labels = LabelNoise("pair", 0.1, NAMES, given, true, np.eye(3))
    assert labels.largest_deviation().startswith("They differ most at cat (labels kept): 100.0 %")
    matrix = np.array([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    labels = LabelNoise("pair", 0.1, NAMES, given, true, matrix)
    assert "cat → " in labels.largest_deviation()


def test_random_wrong_labels_have_the_classes_and_repeat():
    labels = make()
    rows = labels.sample_wrong(true=1, given=2, n=10, seed=3)
    assert (labels.true[rows] == 1).all()
    assert (labels.given[rows] == 2).all()
    np.testing.assert_array_equal(rows, labels.sample_wrong(true=1, given=2, n=10, seed=3))
    assert set(rows) != set(labels.sample_wrong(true=1, given=2, n=10, seed=4))
    everything = labels.sample_wrong(true=None, given=None, n=10_000, seed=0)
    assert sorted(everything) == np.flatnonzero(labels.given != labels.true).tolist()


def test_a_preview_has_the_labels_of_the_run(finished):
    from app.server import run_cache

    run = run_cache.run(finished)
    preview = noisy_labels.of_settings(run.config, load("digits", limit=run.config.limit))
    np.testing.assert_array_equal(preview.given, run.labels["given"])
    np.testing.assert_array_equal(noisy_labels.of_run(run).observed, run.labels["matrix_actual"])


def test_problems_name_the_row():
    table = matrix_editor.frame(np.eye(3), NAMES)
    assert matrix_editor.problems(table) == []
    table.loc["dog", "cat"] = 0.1
    table.loc["owl", "owl"] = np.nan
    table.loc["cat", "dog"] = -0.2
    assert matrix_editor.problems(table) == [
        "Row cat has a number outside 0 to 1.",
        "Row dog sums to 1.1: it must be 1.",
        "Row owl has an empty cell: every cell needs a number.",
    ]


def test_normalized_rows_are_a_matrix_that_the_engine_accepts():
    table = matrix_editor.frame(np.random.default_rng(0).random((3, 3)), NAMES)
    table.iloc[1] = 0.0
    table.iloc[2, 0] = np.nan
    rows = matrix_editor.normalized(table)
    assert matrix_editor.problems(rows) == []
    np.testing.assert_array_equal(rows.loc["dog"], [0, 1, 0])
    np.testing.assert_allclose(rows.iloc[0], table.iloc[0] / table.iloc[0].sum(), atol=1e-4)
    class_dependent_noise(np.arange(9) % 3, "matrix", n_classes=3, matrix=rows.to_numpy())


def test_thirds_become_exact():
    matrix = matrix_editor.tidy(np.full((3, 3), 0.3333))
    assert np.abs(matrix.sum(1) - 1).max() < 1e-9


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("index", [True, False])
def test_csv_with_and_without_names(header, index):
    table = matrix_editor.frame(np.array([[0.9, 0.1, 0], [0, 1, 0], [0.25, 0.25, 0.5]]), NAMES)
    text = table.to_csv(header=header, index=index)
    pd.testing.assert_frame_equal(matrix_editor.from_csv(text.encode(), NAMES), table)


def test_csv_that_is_saved_can_be_loaded():
    table = matrix_editor.frame(np.eye(3), ["0", "1", "2"])
    back = matrix_editor.from_csv(matrix_editor.to_csv(table).encode(), ["0", "1", "2"])
    pd.testing.assert_frame_equal(back, table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,0\n0,1\n", "2 rows and 2 columns"),
        (b"1,0,0\n0,x,0\n0,0,1\n", "'x' in row dog, column dog"),
        (b"1,0,0\n0,inf,0\n0,0,1\n", "is not a number"),
        (b"", "not a CSV table"),
        (b"\xff\xfe\x00", "not a CSV table"),
        (b"1," * 600_000, "allowed are 1,000,000"),
    ],
)
def test_odd_files_are_refused_with_a_reason(content, words):
    with pytest.raises(NoiseError, match=words):
        matrix_editor.from_csv(content, NAMES)


def test_equal_class_names_stay_apart():
    assert list(matrix_editor.frame(np.eye(2), ["a", "a"]).columns) == ["a (0)", "a (1)"]


def test_the_heat_map_has_numbers_only_where_they_fit():
    values = np.array([[0.9, 0.1, 0], [0, 1, 0], [0.25, 0.25, 0.5]])
    fig = charts.matrix_heatmap(values, NAMES)
    written = {
        (int(y), int(x)): text
        for trace in fig.data[1:]
        for x, y, text in zip(trace.x, trace.y, trace.text, strict=True)
    }
    assert written == {
        (0, 0): "90",
        (0, 1): "10",
        (1, 1): "100",
        (2, 0): "25",
        (2, 1): "25",
        (2, 2): "50",
    }
    assert len(charts.matrix_heatmap(np.eye(100), [str(c) for c in range(100)]).data) == 1


def test_the_page_shows_both_rates(finished):
    from app.server import run_cache

    at = app("noise", run=finished)
    labels = run_cache.run(finished).labels
    wrong = int((labels["given"] != labels["true"]).sum())
    shown = {m.label: m.value for m in at.metric}
    assert shown["Requested"] == "40.0 %"
    assert shown["Wrong labels"] == f"{wrong} of 200"
    assert "own class again" in texts(at)


def test_no_run_means_a_preview(root):
    at = app("noise")
    assert "There is no run yet" in texts(at)
    assert {m.label: m.value for m in at.metric}["Wrong labels"] == "517 of 1,437"


def test_the_preview_follows_its_controls(root):
    at = app("noise", noise_of="settings", noise="pair", rate="0.2", seed="5")
    digits = load("digits")
    n = int(
        class_dependent_noise(digits.labels.numpy(), "pair", 0.2, n_classes=10, seed=5).labels.size
    )
    wrong = (
        class_dependent_noise(digits.labels.numpy(), "pair", 0.2, n_classes=10, seed=5).rate_actual
        * n
    )
    assert {m.label: m.value for m in at.metric}["Wrong labels"].startswith(f"{round(wrong)} of")
    at.slider(key="w-rate").set_value(0.0).run()
    assert "0 of 1,437" in {m.value for m in at.metric}


def test_noise_that_does_not_fit_the_data_says_so(root):
    at = app("noise", noise_of="settings", noise="asymmetric-as-published")
    assert any("no class map" in e.value for e in at.error)
    assert at.get("arrow_data_frame") or at.dataframe  # the editor is still shown


def test_data_that_would_be_downloaded_is_not(root, monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    at = app("noise", noise_of="settings", dataset="cifar100")
    assert "not on this machine yet" in texts(at)


def test_noise_by_image_and_by_margin_is_previewed(root):
    at = app("noise", noise_of="settings", noise="instance", limit=200)
    digits = load("digits", limit=200)
    instance = make_noisy_labels(configure(noise="instance", limit=200), digits)
    wrong = int((instance.given != instance.true).sum())
    assert {m.label: m.value for m in at.metric}["Wrong labels"] == f"{wrong} of 200"
    assert "a flip rate of its own" in texts(at)
    at.selectbox(key="w-noise").set_value("margin").run()
    assert not at.exception
    at.selectbox(key="w-margin_type").set_value("II").run()
    margin = make_noisy_labels(configure(noise="margin", margin_type="II", limit=200), digits)
    wrong = int((margin.given != margin.true).sum())
    assert {m.label: m.value for m in at.metric}["Wrong labels"] == f"{wrong} of 200"
    assert margins_known(digits)
    assert at.query_params["margin_type"] == "II"


def test_networks_for_many_images_are_trained_on_request(root, monkeypatch):
    monkeypatch.setattr(training_labels, "cross_val_predict_proba", None)
    at = app("noise", noise_of="settings", noise="margin", dataset="shapes:2100")
    assert [b.label for b in at.button if "networks" in b.label] == [
        "Train networks on 2,100 images"
    ]
    assert not at.metric


def test_human_labels_are_shown_or_requested(root, monkeypatch, tmp_path):
    monkeypatch.setenv("MIXNN_DATA", str(tmp_path))
    at = app("noise", noise_of="settings", noise="human")
    assert "no published human labels of 'digits'" in texts(at)
    clean = np.arange(60, dtype=np.uint8) % 10
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "cifar10.npz", train_images=images, train_labels=clean)
    at.query_params["dataset"] = "cifar10"
    at.run()
    assert f"put CIFAR-10_human.pt or cifar10n_labels.npz into {tmp_path}" in texts(at)
    worse = np.where(clean < 3, 9, clean)
    np.savez(tmp_path / "cifar10n_labels.npz", clean_label=clean, worse_label=worse)
    at.run()
    assert {m.label: m.value for m in at.metric}["Wrong labels"] == "18 of 60"
    assert "People gave these labels: 30.0 %" in texts(at)
    at.selectbox(key="w-human_labels").set_value("aggre").run()
    assert "contains worse" in texts(at)
    at.switch_page("views/train/page.py").run()
    assert "contains worse" in texts(at)
    at.query_params["human_labels"] = "worse"
    at.run()
    assert "human labels (worse)" in texts(at)
    assert not at.exception


def click(at, label: str):
    next(b for b in at.button if b.label == label).click().run()


def edit(at, row: int, **cells: float) -> None:
    """Type numbers into the edited table, whose columns are named by class."""
    key = f"matrix-{at.session_state['matrix.round']}"
    changes = {"edited_rows": {row: cells}, "added_rows": [], "deleted_rows": []}
    at.session_state[key] = changes
    at.run()


def test_the_table_becomes_the_noise_of_the_next_run(finished):
    at = app("noise", run=finished, part="matrix")
    edit(at, 2, **{"2": 0.5, "7": 0.18})
    click(at, "Use this matrix")
    kept = at.session_state[url_state.CHOICES]
    assert (kept["noise"], kept["noise_of"], kept["limit"]) == ("matrix", "settings", 200)
    config = configure(dataset="digits", noise="matrix", noise_matrix=kept["noise_matrix"])
    assert config.noise_matrix[2][2] == 0.5
    assert config.noise_matrix[2][7] == 0.18
    assert config.noise_matrix[3][3] == 0.64
    assert {m.label: m.value for m in at.metric}["Requested"] == "37.4 %"  # (9 * 0.36 + 0.5) / 10
    assert url_state.PARAMS["noise_matrix"].parse(at.query_params["noise_matrix"])


def test_a_row_that_does_not_sum_to_one_is_named_and_normalized(finished):
    at = app("noise", run=finished, part="matrix")
    edit(at, 4, **{"4": 0.04})
    assert "Row 4 sums to 0.4: it must be 1." in texts(at)
    assert next(b for b in at.button if b.label == "Use this matrix").disabled
    click(at, "Normalize rows")
    assert "Row 4" not in texts(at)
    click(at, "Use this matrix")
    np.testing.assert_allclose(at.session_state[url_state.CHOICES]["noise_matrix"][4], 0.1)


def test_unknown_true_labels_are_named(unknown):
    at = app("noise", run=unknown)
    assert "The true labels are not known" in texts(at)
    assert not at.error


def test_a_failed_run_shows_its_labels(failed):
    assert app("noise", run=failed).metric


def test_a_broken_run_says_so(broken):
    at = app("noise", run=broken)
    assert any("config.json" in e.value for e in at.error)
    assert not at.metric


def test_a_running_run(running):
    at = app("noise", run=running)
    assert at.metric
    assert not at.error


def test_a_queued_run_waits(root):
    from app.server.run_manager import runs
    from tests.app.conftest import ANYONE, wait_until
    from tests.conftest import quick_digits

    first = runs().submit(quick_digits(epochs=5000), visitor=ANYONE)
    wait_until(lambda: (root / first / "config.json").exists())
    second = runs().submit(quick_digits(seed=2), visitor=ANYONE)
    at = app("noise", run=second)
    assert "drawn when this run starts" in texts(at)


def test_a_url_generates_no_million_shapes(root):
    at = app("noise", dataset="shapes:999999")
    assert "allowed are up to 50,000 shapes here" in texts(at)
