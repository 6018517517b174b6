"""Published methods as loops of their own, recorded: notebooks/examples/peers.py."""

import pytest

from notebooks.examples import peers

SETTINGS = dict(rate=0.4, seed=0, epochs=6, limit=300)


@pytest.mark.slow
@pytest.mark.parametrize("method", peers.PEERS)
def test_a_peer_learns_finds_wrong_labels_and_is_recorded(method, tmp_path):
    run = peers.run(method, tmp_path / method, **SETTINGS)
    last = run.epochs[-1]["metrics"]
    assert last["test_accuracy"] > 0.25, "chance is 0.1"
    assert last["detection_auroc"] > 0.7, "chance is 0.5"
    assert run.config.method == f"custom: {method}"
    assert "arXiv" in run.info["parts"][0]["source"]
    assert run.status["state"] == "done"
    given = run.labels["given"]
    ours = peers.run("ce", tmp_path / "ce", **SETTINGS | dict(epochs=1))
    assert (given == ours.labels["given"]).all(), "the same wrong labels"
