"""Home: the shipped recording, and a pair that is started, found again and steered."""

import pytest

from app.server import player_routes
from app.server.run_manager import runs
from app.views.home import pair
from engine.runs.folder import RunFolder
from tests.app.conftest import app, bound, n_epochs, texts, wait_until
from tests.records import read_records, write_records

TINY = dict(limit="200", epochs="4", warmup="1", correction_start="2", k="3")
LONG = TINY | dict(epochs="5000")


def shown(at) -> tuple[str, ...]:
    """The pair in the address."""
    return tuple(at.query_params["pair"].split(","))


def data_of_the_player(at) -> str:
    (player,) = [c for c in at.get("bidi_component") if c.proto.component_name == "mixnn.player"]
    return player.proto.json


def states(names) -> set[str]:
    return {runs().info(name).state for name in names}


def test_the_first_visit_shows_the_product_and_the_shipped_recording(root):
    at = app("home")
    assert at.header[0].value == "MixNN Lab"
    assert player_routes.shipped().path in data_of_the_player(at)
    assert not at.button(key="start").disabled
    assert "pair" not in at.query_params


def test_start_trains_a_pair_on_the_same_wrong_labels_and_finds_it_again(root):
    at = app("home", **TINY)
    at.button(key="start").click().run()
    names = shown(at)
    wait_until(lambda: states(names) == {"done"}, 180)  # two runs, and all imports
    plain, other = (RunFolder(root / name) for name in names)
    assert [plain.config.method, other.config.method] == ["ce", "mixnn"]
    assert (plain.labels["given"] == other.labels["given"]).all()
    at.run()
    assert "Both are done" in texts(at)
    at.button(key="example").click().run()
    assert "pair" not in at.query_params
    at.button(key="start").click().run()
    assert shown(at) == names
    assert len(runs().names()) == 2
    again = app("home", pair=",".join(names))  # reloaded, or shared
    assert "Both are done" in texts(again)
    assert pair.existing([plain.config, other.config.changed(k=4)]) is None
    records = read_records(other.folder)
    records[-1]["settings"]["k"] = 9  # steered on its way: no longer a run with these settings
    write_records(other.folder, records)
    assert pair.existing([plain.config, other.config]) is None


def test_k_acts_on_the_pair_and_the_noise_rate_starts_another(root):
    at = app("home", **LONG)
    bound(at.slider, "rate").set_value(0.2).run()
    assert not runs().names()  # nothing is started before Start
    at.button(key="start").click().run()
    names = shown(at)
    wait_until(lambda: all((root / name / "config.json").exists() for name in names))
    bound(at.slider, "k").set_value(7).run()
    mixnn = RunFolder(root / names[1])
    wait_until(lambda: mixnn.epochs and mixnn.epochs[-1]["settings"]["k"] == 7)
    assert RunFolder(root / names[0]).config.method == "ce"
    bound(at.slider, "rate").set_value(0.5).run()
    assert states(names) == {"stopped"}
    assert set(shown(at)).isdisjoint(names)
    wait_until(lambda: all((root / name / "config.json").exists() for name in shown(at)))
    assert {RunFolder(root / name).config.rate for name in shown(at)} == {0.5}
    assert n_epochs(root / names[0]) > 0


@pytest.mark.parametrize("names", ["gone", "../..,..", "<script>,'", "a,b,c,d", ",", "%00"])
def test_a_pair_that_is_not_there_is_named_and_the_recording_shown(root, names):
    at = app("home", pair=names)
    assert player_routes.shipped().path in data_of_the_player(at)
    assert not at.exception
    assert "Unexpected error" not in texts(at)


def test_the_address_of_home_has_what_home_shows_and_the_selection_remains(finished):
    at = app("losses", run=finished, epoch="3")
    at.query_params.clear()
    at.switch_page("views/home/page.py").run()
    assert "run" not in at.query_params
    at.query_params.clear()
    at.switch_page("views/losses/page.py").run()
    assert (at.query_params["run"], at.query_params["epoch"]) == (finished, "3")
