"""A journey over Runs, Train and Compare: rename a run, fork it with another K, repeat it."""

import pytest

from tests.app.conftest import wait_until
from tests.browser.conftest import go, settled
from tests.browser.test_train_journeys import button, start, state
from tests.records import read_records

QUICK = dict(limit="100", epochs="3", warmup="0", correction_start="1", k="3")


@pytest.mark.slow
def test_a_run_is_forked_with_another_k_renamed_and_repeated_with_five_seeds(visit, own_server):
    server = own_server()
    tab = visit(on=server, **QUICK)
    name = start(tab)
    state(tab, "done")
    tab.get_by_text("Start a variant of this run").click()
    tab.get_by_role("slider", name="K, neighbors").last.focus()
    tab.keyboard.press("End")
    settled(tab)
    button(tab, "Fork").click()
    tab.get_by_text("K 3 → 99").first.wait_for()
    tab.get_by_text("are those of").wait_for()
    state(tab, "done")
    (fork,) = {p.name for p in server.root.iterdir() if p.is_dir()} - {name}
    assert read_records(server.root / fork)[0]["settings"]["k"] == 99

    go(tab, server, "runs", marked=name)
    tab.get_by_role("textbox", name="Title").fill("my first run")
    button(tab, "Save").click()
    tab.get_by_text("my first run: MixNN").first.wait_for()

    go(tab, server, "compare", compare=f"{name},{fork}")
    button(tab, "Repeat with 5 seeds").click()
    tab.get_by_text("5 seeds").first.wait_for()
    wait_until(lambda: len(list(server.root.glob("*/config.json"))) == 6)
    tab.get_by_text("Is the difference more than chance?").wait_for()
    tab.get_by_text("it is a fork").first.wait_for()
