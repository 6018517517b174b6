"""What two browsers see of each other's data, on one server with a teacher."""

import numpy as np
import pytest

from tests.browser.conftest import go
from tests.browser.test_review_journeys import digits, learn

PAGES = ("train", "noise", "losses", "map", "sample", "labels", "compare", "your_data", "runs")
CLASSES = np.array([f"zebra{n}kind" for n in range(10)])


def everything(tab) -> str:
    """The whole page as the browser has it."""
    return tab.content() + tab.locator("body").inner_text()


@pytest.mark.slow
def test_what_ann_brought_is_hers_until_she_shares_it(visit, server, tmp_path):
    images, labels, _ = digits()
    np.savez(tmp_path / "pets.npz", train_images=images, train_labels=labels, class_names=CLASSES)
    before = set(server.root.iterdir())
    ann, bob = visit(on=server), visit(on=server)
    learn(ann, server, tmp_path / "pets.npz")
    (name,) = (path.name for path in set(server.root.glob("npz*")) - before)
    assert "zebra" in everything(ann)
    for page in PAGES:
        go(bob, server, page, run=name, compare=name, step="review")
        assert "zebra" not in everything(bob), page

    go(ann, server, run=name)
    ann.get_by_role("button", name="Share").click()
    ann.get_by_role("button", name="Create a link").click()
    address = ann.locator("[data-testid='stCode']").filter(has_text="key=").inner_text().strip()
    query = dict(part.split("=", 1) for part in address.partition("?")[2].split("&"))
    assert query["run"] == name
    go(bob, server, "your_data", step="review", **query)
    bob.get_by_text("you can only view them").wait_for()
    assert "zebra" in everything(bob)
    bob.keyboard.press("k")
    bob.wait_for_timeout(1000)
    assert not (server.root / name / "review.json").exists()
    go(bob, server, "losses", **query)
    assert "zebra" in everything(bob)

    ann.get_by_role("button", name="Revoke the link").click()
    ann.get_by_role("button", name="Create a link").wait_for()
    go(bob, server, "losses", **query)
    assert "zebra" not in everything(bob)
