"""The generated shapes: reproducible, balanced, with the right outline, and visible."""

import numpy as np
import pytest

from engine import data
from engine.data import shapes
from engine.errors import DataError

POLYGONS = [name for name, outline in shapes.CLASSES.items() if hasattr(outline, "args")]


def test_same_seed_same_images_and_a_smaller_set_is_the_beginning_of_a_larger_one():
    n = shapes.CHUNK + 70
    images, labels = shapes.draw(n, seed=5, part=0)
    more_images, more_labels = shapes.draw(2 * n, seed=5, part=0)
    assert (images == more_images[:n]).all()
    assert (labels == more_labels[:n]).all()


@pytest.mark.parametrize("other", [{"seed": 6, "part": 0}, {"seed": 5, "part": 1}])
def test_seed_part_and_chunk_each_give_other_images(other):
    images, _ = shapes.draw(2 * shapes.CHUNK, seed=5, part=0)
    assert (images[:50] != shapes.draw(50, **other)[0]).flatten(1).any(1).all()
    assert (images[:50] != images[shapes.CHUNK :][:50]).flatten(1).any(1).all()


def test_load_gives_train_and_test_of_every_class_in_equal_numbers():
    found = data.load("shapes:1000")
    assert found.images.shape == (1000, 3, 32, 32)
    assert found.test_images.shape == (200, 3, 32, 32)
    assert found.labels.bincount().tolist() == [100] * 10
    assert found.test_labels.bincount().tolist() == [20] * 10
    assert found.labels[:10].unique().numel() == 10
    assert (found.true_labels == found.labels).all()
    assert found.notes == ()
    # In random order: a fixed one would let a batch of ten be guessed by position.
    assert (found.labels[:500].reshape(-1, 10) != found.labels[:10]).any()


@pytest.mark.parametrize("n", ["49", "1000001", "1e4", "-5", "ten"])
def test_numbers_out_of_range_are_refused(n):
    with pytest.raises(DataError, match="50..1000000"):
        data.load(f"shapes:{n}")


def test_test_part_is_a_fifth_and_at_most_ten_thousand():
    assert [shapes.n_test(n) for n in (50, 10_000, 50_000, 1_000_000)] == [10, 2000, 10_000, 10_000]


@pytest.mark.parametrize("name", POLYGONS)
def test_polygon_distance_agrees_with_winding_angles_and_with_points_on_the_edges(name):
    """Independently: inside is where the corners' angles, seen from a point, add up to a turn."""
    corners = np.array(shapes.CLASSES[name].args[0])
    x, y = np.random.default_rng(0).uniform(-1.2, 1.2, (2, 500))
    found = shapes.CLASSES[name](x, y)
    points = x + 1j * y
    ends = corners @ [1, 1j]
    rays = ends - points[:, None]
    turns = np.angle(np.roll(rays, -1, axis=1) / rays).sum(1) / (2 * np.pi)
    t = np.linspace(0, 1, 400)[:, None]
    edges = ((1 - t) * ends + t * np.roll(ends, -1)).ravel()
    assert ((found < 0) == (np.abs(turns) > 0.5)).all()
    assert np.abs(np.abs(found) - np.abs(points[:, None] - edges).min(1)).max() < 0.005


def inside(name: str, side: int = 801) -> np.ndarray:
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, side)] * 2)
    return shapes.CLASSES[name](x, y) < 0


def disk(x0: float, y0: float, radius: float, side: int = 801) -> np.ndarray:
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, side)] * 2)
    return (x - x0) ** 2 + (y - y0) ** 2 < radius**2


def test_round_outlines_are_what_their_disks_make():
    expected = {
        "circle": disk(0, 0, 0.85),
        "ring": disk(0, 0, 0.94) & ~disk(0, 0, 0.5),
        "crescent": disk(0, 0, 0.95) & ~disk(0.45, 0, 0.78),
    }
    for name, mask in expected.items():
        assert (inside(name) != mask).mean() < 1e-4, name


def test_heart_is_two_lobes_over_a_right_angle():
    """A square on its corner and half disks on its two upper sides, as hearts are drawn by hand."""
    x, y = np.meshgrid(*[np.linspace(-1.2, 1.2, 801)] * 2)
    tip, half = -0.56 * 1.6, 0.5 * 1.6  # the square's lowest corner and half its diagonal
    square = np.abs(x) + np.abs(y - tip - half) < half
    lobe = 1.6 * np.sqrt(0.125)
    heart = (
        square | disk(half / 2, tip + 1.5 * half, lobe) | disk(-half / 2, tip + 1.5 * half, lobe)
    )
    assert (inside("heart") != heart).mean() < 1e-3


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_outlines_fit_the_unit_disk_and_fill_enough_of_it_to_be_seen(name):
    mask = inside(name)
    assert not (mask & ~disk(0, 0, 1.07)).any()
    assert 0.2 < mask.sum() / disk(0, 0, 1).sum() < 0.8


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_edges_are_one_pixel_wide(name):
    """A signed distance has slope 1 at the outline; more or less would blur or alias the edge."""
    grid = np.linspace(-1.2, 1.2, 801)
    distance = shapes.CLASSES[name](*np.meshgrid(grid, grid))
    slope = np.hypot(*np.gradient(distance, grid, grid))
    near = np.abs(distance) < 0.05
    assert (np.abs(slope[near] - 1) < 0.05).mean() > 0.9


def test_shapes_stand_out_from_the_background_and_are_mostly_visible():
    """Cutting at half brightness gives the disk back at its right area."""
    images, labels = shapes.draw(2000, seed=1, part=0)
    disks = images[labels == list(shapes.CLASSES).index("circle")].numpy()
    bright = np.einsum("nchw,c->nhw", disks, shapes.GRAY) > 127.5
    corners = bright[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean(1) > 0.5
    mask = bright ^ corners[:, None, None]
    # From 80 % of the smallest disk to the largest, and some grain.
    smallest, largest = np.pi * (0.85 * 8) ** 2, np.pi * (0.85 * 13) ** 2
    area = mask.sum((1, 2))
    assert ((area > 0.75 * smallest) & (area < 1.1 * largest)).mean() > 0.98
    assert area.max() > 2 * area.min()  # sizes vary
