"""The moving average of the weights: its numbers, its stored form, its cost."""

import copy

import pytest
import torch

from engine import models
from engine.config import registry
from engine.models.averaging import WeightAverage


@pytest.fixture
def network():
    return models.build(registry.function("networks", "resnet9-w16"), (3, 8, 8), 3, seed=0)


def change(network: torch.nn.Module) -> None:
    """One pass in training mode, which moves the running statistics, and other weights."""
    network.train()(torch.rand(4, 3, 8, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_it_is_bit_for_bit_the_interpolation_of_all_tensors(network):
    torch.manual_seed(0)
    average, expected = WeightAverage(network, 0.8), copy.deepcopy(network.state_dict())
    for step in range(1, 8):
        change(network)
        average.update(step)
        decay = min(0.8, step / (step + 10))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected[name].lerp_(value, 1 - decay)
            else:
                expected[name] = value.clone()
    state = average.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    assert not average.network.training


def test_what_was_stored_is_loaded_and_still_averaged(network):
    average = WeightAverage(network, 0.8)
    change(network)
    average.update(3)
    stored = copy.deepcopy(average.state_dict())
    other = WeightAverage(network, 0.8)
    other.load_state_dict(stored)
    change(network)
    average.update(4)
    other.update(4)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(other.state_dict()[name], value), name
    plain = copy.deepcopy(network)
    plain.load_state_dict(stored)  # the names are the network's own


def test_no_table_of_tensors_is_made_at_a_step(network, monkeypatch):
    average = WeightAverage(network, 0.8)
    monkeypatch.setattr(torch.nn.Module, "state_dict", None)
    average.update(1)
