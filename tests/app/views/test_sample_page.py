"""The Sample page in every state, and what its controls do."""

import json

import numpy as np
import pytest

from app.server import run_cache
from app.server.run_view import RunView
from app.views.sample import card, equation, manual_mixing
from app.views.sample.sample import Sample
from engine.analysis import sample_history
from engine.charts import sample as charts
from engine.runs.folder import RunFolder
from engine.runs.predictor import predict_proba
from engine.runs.runner import Runner
from tests.app.conftest import app, bound, texts
from tests.conftest import quick_digits
from tests.records import keep_epochs


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A finished run in which labels move, and the networks of 0, 2, 4 and 5 are kept."""
    folder = tmp_path_factory.mktemp("moving") / "moving"
    Runner.new(quick_digits(alpha=0.2, state_interval=2), folder).run()
    return folder


@pytest.fixture
def run(root, moving):
    """The same run under the runs root."""
    root.mkdir(exist_ok=True)
    (root / "moving").symlink_to(moving)
    return RunFolder(root / "moving")


def page(**params):
    at = app("sample", **params)
    assert "that should not" not in texts(at)
    return at


def html(at) -> str:
    return "\n".join(element.proto.body for element in at.get("html"))


def button(at, label):
    return next(b for b in at.button if b.label == label)


def chosen(at, name):
    return at.query_params.get(name)


# --- states


def test_no_run(root):
    at = page()
    assert "There is no run yet" in texts(at)


def test_a_finished_run_shows_a_corrected_sample(run):
    at = page(run="moving")
    assert chosen(at, "search") == "corrected"
    sample = int(chosen(at, "sample"))
    soft = run.array("soft")[-1]
    assert soft[sample].argmax() != run.labels["given"][sample]
    for word in ("Given label", "True label", "Corrected label", "Prediction", "P(clean)"):
        assert word in html(at)
    assert f"{run.array('clean')[-1, sample]:.3f}" in html(at)
    assert f"{run.array('loss')[-1, sample]:.3f}" in html(at)
    assert not at.error
    assert all(box.value.startswith(("Missed: ", "Changed: ")) for box in at.warning)


def test_a_link_of_an_earlier_version_finds_the_same_samples(run):
    assert chosen(page(run="moving", search="missed"), "search") == "wrong"


def test_a_running_run(running):
    at = page(run=running)
    assert not at.error
    assert "mixed image" in html(at)


def test_a_failed_run_shows_what_it_has(failed):
    at = page(run=failed, sample=3)
    assert not at.error
    assert "Sample 3" in html(at)


def test_a_broken_run(broken):
    at = page(run=broken)
    assert "Select another run" in texts(at)


def test_unknown_truth(unknown):
    at = page(run=unknown, sample=3)
    assert "not known" in html(at)
    assert "The true label is not known" in texts(at)
    options = at.selectbox(key="w-search").options
    assert "Harmed" not in options
    assert "Largest change" in options
    assert "✓" not in html(at)
    at = page(run=unknown, search="harmed", sample=3)
    assert "cannot be used: the true labels are not known here" in texts(at)


def test_missing_images(root, unknown, tmp_path):
    config = root / unknown / "config.json"
    info = json.loads(config.read_text())
    info["config"]["dataset"] = f"npz:{tmp_path / 'gone.npz'}"
    config.write_text(json.dumps(info))
    at = page(run=unknown, sample=3, part="mix")
    assert "cannot be shown" in texts(at)
    assert "image not available" in html(at)
    assert "there is nothing to mix" in texts(at)
    assert not at.error
    assert "P(clean)" in html(at)
    assert "sample 3" in texts(at).lower()


def test_the_page_says_when_a_network_is_not_kept(run):
    kept = page(run="moving", sample=3, epoch=4, part="mix")
    other = page(run="moving", sample=3, epoch=3, part="mix")
    assert "is not kept" not in texts(kept)
    assert "The network of epoch 3 is not kept: this is the one of epoch 2" in texts(other)


def test_no_network_at_all(root, finished):
    for path in (root / finished / "states").glob("*.pt"):
        path.unlink()
    at = page(run=finished, sample=3, part="mix")
    assert "keeps no network" in texts(at)


def test_a_single_epoch(root, finished):
    keep_epochs(root / finished, 1)
    at = page(run=finished, sample=3)
    assert "Warm-up: no neighbors yet" in texts(at)
    assert "No epoch so far has mixed this sample" in texts(at)


def test_methods_without_neighbors_say_so(root):
    for method, words in (("ce", "mixes nothing"), ("mixup", "one random partner, no neighbor")):
        Runner.new(quick_digits(method=method, epochs=3), root / method).run()
        at = page(run=method, sample=3)
        assert words in texts(at)


def test_the_page_mentions_augmentation(root):
    Runner.new(quick_digits(epochs=3, augment="crop-flip"), root / "moved").run()
    assert "before augmentation" in texts(page(run="moved", sample=3))
    Runner.new(quick_digits(epochs=3, augment="none"), root / "still").run()
    assert "before augmentation" not in texts(page(run="still", sample=3))


# --- links and controls


def test_a_link_restores_the_view(run):
    at = page(run="moving", sample=17, epoch=3, search="given", **{"class": 4}, beside=5)
    assert at.number_input(key="w-sample").value == 17
    assert at.number_input(key="w-beside").value == 5
    assert at.selectbox(key="w-search").value == "given"
    assert at.selectbox(key="w-class").value == 4
    assert "after epoch 3" in html(at)
    assert {"sample": "17", "epoch": "3", "beside": "5"}.items() <= at.query_params.items()


@pytest.mark.parametrize("name", ["sample", "beside"])
def test_a_number_that_is_too_large(run, name):
    at = page(run="moving", **{name: 4000})
    assert f"{name} = 4000: allowed is 0 to 199" in texts(at)


def test_next_and_previous_walk_through_the_search(run):
    at = page(run="moving", search="doubted")
    order = np.argsort(run.array("clean")[-1], kind="stable")
    assert int(chosen(at, "sample")) == order[0]
    assert button(at, "Previous").disabled
    button(at, "Next").click().run()
    button(at, "Next").click().run()
    assert int(chosen(at, "sample")) == order[2]
    button(at, "Previous").click().run()
    assert int(chosen(at, "sample")) == order[1]
    assert "sample is number 2" in texts(at).replace(f"sample {order[1]}", "sample")


def test_the_keys_differ_from_those_of_the_epoch_slider(run):
    at = page(run="moving")
    keys = [b.proto.shortcut for b in at.button if b.proto.shortcut]
    assert (button(at, "Next").proto.shortcut, button(at, "Previous").proto.shortcut) == ("n", "p")
    assert len(set(keys)) == len(keys) == 5


def test_the_number_field_works_directly_after_a_button(run):
    at = page(run="moving", sample=5, search="all")
    button(at, "Next").click().run()
    assert bound(at.number_input, "sample").value == 6
    for number in (5, 90, 6):
        bound(at.number_input, "sample").set_value(number).run()
        assert chosen(at, "sample") == str(number)


def test_another_search_starts_with_its_first_sample(run):
    at = page(run="moving", sample=5, search="all")
    at.selectbox(key="w-search").set_value("given").run()
    bound(at.selectbox, "class").set_value(6).run()
    assert int(chosen(at, "sample")) == np.flatnonzero(run.labels["given"] == 6)[0]


def test_a_search_that_finds_nothing_says_so(run):
    at = page(run="moving", search="corrected", epoch=0)
    assert "None at this epoch" in texts(at)
    assert "No sample to show" in texts(at)


def test_shuffle_draws_another_order(run):
    at = page(run="moving", search="random")
    first = chosen(at, "sample")
    button(at, "Shuffle").click().run()
    assert chosen(at, "shuffle") == "1"
    assert chosen(at, "sample") != first


def test_two_samples_side_by_side(run):
    at = page(run="moving", sample=17)
    button(at, "Second sample").click().run()
    assert chosen(at, "beside") == "18"
    assert "Sample 17" in html(at)
    assert "Sample 18" in html(at)
    bound(at.number_input, "beside").set_value(17).run()  # the same one twice is allowed
    assert "that should not" not in texts(at)
    button(at, "One sample").click().run()
    assert chosen(at, "beside") is None


def test_a_neighbor_opens(run):
    at = page(run="moving", sample=17, epoch=4)
    neighbor = str(run.array("neighbors")[4, 0, 17])
    button(at, neighbor).click().run()
    assert chosen(at, "sample") == neighbor


# --- mix by hand


def test_by_hand_starts_from_the_epochs_own_mix(run):
    at = page(run="moving", sample=17, epoch=4, part="mix")
    weights = run.array("weights")[4, :4, 17]
    for i, weight in enumerate(weights):
        assert at.slider(key=f"w-mix-{i}").value == round(100 * float(weight))
    assert at.slider(key="w-mix-k").value == 3


def test_sliders_mix_and_the_network_predicts(run):
    at = page(run="moving", sample=17, epoch=4, part="mix")
    at.slider(key="w-mix-k").set_value(1).run()
    at.slider(key="w-mix-0").set_value(20).run()
    at.slider(key="w-mix-1").set_value(60).run()
    assert chosen(at, "mix") == "20-60"
    sample = Sample(RunView("moving", 4), 17)
    neighbor = int(run.array("neighbors")[4, 0, 17])
    images = run_cache.pixels("moving", [17, neighbor]).astype(float)
    mixed = 0.25 * images[0] + 0.75 * images[1]
    predicted, _ = predict_proba(run, 4, np.stack([images[0], mixed]).transpose(0, 3, 1, 2))
    text = texts(at)
    for row in predicted:
        assert f"**{sample.classes[row.argmax()]} ({100 * row.max():.0f} %)**" in text
    label = 0.25 * run.array("soft")[3, 17] + 0.75 * run.array("soft")[3, neighbor]
    assert f"mixed label is **{label.argmax()} ({100 * label.max():.0f} %)**" in text


def test_more_neighbors_than_the_epoch_used(run):
    at = page(run="moving", sample=17, epoch=4, part="mix")
    at.slider(key="w-mix-k").set_value(6).run()
    assert len(chosen(at, "mix").split("-")) == 7
    assert "The first 3 are the epoch's own; the others are the nearest" in texts(at)
    button(at, "Back to MixNN's weights").click().run()
    assert chosen(at, "mix") is None
    assert at.slider(key="w-mix-k").value == 3


def test_all_weights_zero(run):
    at = page(run="moving", sample=17, epoch=4, mix="0-0-0")
    assert "the sample keeps itself" in texts(at)


def test_another_sample_resets_the_weights(run):
    at = page(run="moving", sample=17, epoch=4, mix="20-60")
    button(at, "Next").click().run()
    assert chosen(at, "mix") is None
    at = page(run="moving", sample=17, epoch=4, mix="20-60")
    at.button(key="epoch-back").click().run()
    assert chosen(at, "mix") == "20-60"  # the same weights at another epoch


@pytest.mark.parametrize("bad", ["20-x", "101-3", "-1", ""])
def test_invalid_weights_in_a_link(run, bad):
    at = page(run="moving", sample=17, mix=bad, part="mix")
    assert bad == "" or "weights 0 to 100" in texts(at)
    assert at.slider(key="w-mix-k").value == 3


def test_features_of_a_sample_outside_the_panel_come_from_the_network(root):
    Runner.new(quick_digits(panel_size=20, epochs=3), root / "panel").run()
    run = RunFolder(root / "panel")
    outside = next(i for i in range(200) if i not in run.labels["panel"])
    at = page(run="panel", sample=outside, epoch=0, part="mix")
    assert at.slider(key="w-mix-k").value == 3
    for path in (root / "panel" / "states").glob("*.pt"):
        path.unlink()
    at = page(run="panel", sample=outside, epoch=0, part="mix")
    assert "There is nothing to mix with" in texts(at)


# --- pictures and words


def test_the_table_holds_the_folders_numbers(run):
    page(run="moving")
    sample = Sample(RunView("moving", 4), 17)
    table = card.table(sample, np.arange(6))
    np.testing.assert_array_equal(table["loss"], run.array("loss")[:6, 17])
    np.testing.assert_array_equal(table["soft 3"], run.array("soft")[:6, 17, 3])
    np.testing.assert_array_equal(table["neighbor 2"][2:], run.array("neighbors")[2:6, 1, 17])
    assert table["neighbor 2"][0] == -1


def test_the_history_marks_the_epoch_and_shares_add_up(run):
    history = sample_history.sample_history(run, 17, 6)
    fig = charts.sample_history(np.arange(6), history, [str(c) for c in range(10)], 4)
    assert {shape.x0 for shape in fig.layout.shapes} == {4}
    areas = [trace for trace in fig.data if trace.type == "scatter" and trace.stackgroup]
    np.testing.assert_allclose(sum(np.array(trace.y) for trace in areas), 1, atol=0.01)
    strip = next(trace for trace in fig.data if trace.type == "heatmap")
    assert np.isnan(strip.z[:, 0]).all()  # warm-up
    np.testing.assert_array_equal(strip.z[0, 2:], history["neighbor_labels"][2:, 0])
    np.testing.assert_array_equal(strip.customdata[1, 3, 0], history["neighbors"][3, 1])


def test_each_class_has_its_step_of_the_scale():
    scale = charts._class_scale(3)
    assert [edge for edge, _ in scale] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    assert scale[2][1] == scale[3][1] != scale[1][1]


def test_many_classes_show_the_largest_and_the_given():
    shares = np.zeros((1, 100))
    shares[0, 40:60] = np.linspace(0.01, 0.09, 20)
    shown = charts.top_classes(shares, {3: "given", 70: "true"})
    assert shown == sorted([3, 70, *range(50, 60)])
    assert charts.top_classes(np.zeros((2, 10)), {}) == list(range(10))


def test_names_of_users_stay_text(run):
    page(run="moving")
    sample = Sample(RunView("moving", 4), 17)
    sample.classes = ["<script>*x*</script>"] * 10
    mix = sample_history.training_mix(sample.run, sample.records, 4, 17)
    words = equation.part_caption(sample, mix, 1)
    assert "<script>" not in words


def test_whole_weights():
    assert manual_mixing._whole(np.array([0.126, 0.874])) == (13, 87)
