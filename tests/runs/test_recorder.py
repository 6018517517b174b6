"""Recorded training loops: what is logged, what is derived from it, and what is refused."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from engine import Recorder, RunFolder, load
from engine.analysis.label_issues import label_issues
from engine.analysis.summary import summary
from engine.errors import ConfigError, DataError, StoreError
from engine.method.mixing import mixing_weights
from engine.runs.runner import Runner

N, C = 240, 10
EPOCHS = 4


def digits():
    """A subset of digits, and labels of which a quarter is wrong."""
    data = load("digits", limit=N)
    rng = np.random.default_rng(0)
    given = data.labels.numpy().copy()
    wrong = rng.random(N) < 0.25
    given[wrong] = (given[wrong] + rng.integers(1, C, wrong.sum())) % C
    return data, given


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, C))


def plain_torch(folder):
    """The shortest loop: three lines are the recorder's."""
    data, given = digits()
    x, y, net = data.images / 255, torch.from_numpy(given), network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    recorder = Recorder(folder, data, y, epochs=EPOCHS, name="plain-torch", source=plain_torch)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(N).split(32):
            optimizer.zero_grad()
            cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            features = net[:3](x)
            logits = net[3](features)
            accuracy = (net(data.test_images / 255).argmax(1) == data.test_labels).float().mean()
        probabilities = logits.softmax(1)
        recorder.log(epoch, probabilities=probabilities, features=features, test_accuracy=accuracy)


def data_loader(folder):
    """DataLoader and AdamW; losses are collected by sample number while it trains."""
    data, given = digits()
    rows = TensorDataset(torch.arange(N), data.images / 255, torch.from_numpy(given))
    batches = DataLoader(rows, batch_size=32, shuffle=True)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = torch.zeros(N)
    with Recorder(folder, data, given, name="data-loader") as recorder:
        for epoch in range(EPOCHS):
            for index, x, y in batches:
                loss = cross_entropy(net(x), y, reduction="none")
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
                losses[index] = loss.detach()
            recorder.log(epoch, losses=losses, train_loss=losses.mean())


def accelerated(folder):
    """Hugging Face's accelerate, which wraps network, optimizer and batches."""
    accelerate = pytest.importorskip("accelerate")
    data, given = digits()
    accelerator = accelerate.Accelerator(cpu=True)
    rows = TensorDataset(data.images / 255, torch.from_numpy(given))
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    batches = DataLoader(rows, batch_size=32, shuffle=True)
    net, optimizer, batches = accelerator.prepare(net, optimizer, batches)
    recorder = Recorder(folder, data, given, epochs=EPOCHS, name="accelerated")
    for epoch in range(EPOCHS):
        for x, y in batches:
            optimizer.zero_grad()
            accelerator.backward(cross_entropy(net(x), y))
            optimizer.step()
        with torch.no_grad():
            recorder.log(epoch, probabilities=net(data.images / 255).softmax(1))


def partial_fit(folder):
    """scikit-learn, without images."""
    data, given = digits()
    x = data.images.flatten(1).numpy() / 255
    model = SGDClassifier(loss="log_loss", random_state=0)
    recorder = Recorder(folder, None, given, epochs=EPOCHS, name="partial-fit")
    for epoch in range(EPOCHS):
        model.partial_fit(x, given, classes=np.arange(C))
        recorder.log(epoch, probabilities=model.predict_proba(x), features=x)


@pytest.mark.parametrize("loop", [plain_torch, data_loader, accelerated, partial_fit])
def test_a_loop_becomes_a_finished_run(loop, tmp_path):
    loop(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    numbers = summary(run)
    assert numbers["method"] == f"custom: {loop.__name__.replace('_', '-')}"
    assert (numbers["state"], numbers["epochs"], numbers["epochs_planned"]) == ("done", 4, 4)
    assert run.array("loss")[-1].mean() < 0.8 * run.array("loss")[0].mean()
    issues = label_issues(run)
    if run.labels.get("true") is None:
        return
    wrong = run.labels["given"] != run.labels["true"]
    assert np.isclose(numbers["rate_actual"], wrong.mean())
    assert roc_auc_score(wrong, -issues.quality) > 0.85


def test_what_is_derived_is_what_other_libraries_say(tmp_path):
    plain_torch(tmp_path / "run")
    run, (data, given) = RunFolder(tmp_path / "run"), digits()
    losses = run.array("loss")[-1]
    scaled = (losses - losses.min()) / np.ptp(losses)
    np.testing.assert_allclose(run.array("scaled_loss")[-1], scaled, atol=1e-6)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0)
    posterior = mixture.fit(scaled[:, None]).predict_proba(scaled[:, None])
    clean = posterior[:, mixture.means_.argmin()]
    np.testing.assert_allclose(run.array("clean")[-1], clean, atol=1e-4)
    true, metrics = data.labels.numpy(), run.epochs[-1]["metrics"]
    prediction = run.array("prediction")[-1]
    assert np.isclose(metrics["train_accuracy"], (prediction == true).mean())
    assert np.isclose(metrics["memorized"], (prediction == given)[given != true].mean())
    assert np.isclose(metrics["clean_auroc"], roc_auc_score(given == true, clean), atol=1e-3)
    own = run.array("confidence")[-1][prediction == given]
    np.testing.assert_allclose(losses[prediction == given], -np.log(own), rtol=1e-4)
    (part,) = run.info["parts"]
    assert "three lines are the recorder's" in part["source"]


def test_mixing_and_corrected_labels_of_a_loop(tmp_path):
    data, given = digits()
    rng = np.random.default_rng(1)
    soft = rng.dirichlet(np.ones(C), N)
    neighbors = rng.integers(N, size=(N, 2))
    features = rng.standard_normal((N, 5))
    with Recorder(tmp_path / "run", data, given) as recorder:
        for epoch in range(2):
            losses = rng.random(N)
            recorder.log(epoch, losses=losses, neighbors=neighbors, features=features, soft=soft)
    run = RunFolder(tmp_path / "run")
    found, distances, weights = run.mixing_of(1)
    assert np.array_equal(found, neighbors)
    expected = np.linalg.norm(features[0] - features[neighbors[0, 1]])
    assert np.isclose(distances[0, 1], expected)
    before = torch.from_numpy(np.array(run.array("clean")[0]))
    expected = mixing_weights(before, torch.from_numpy(neighbors)).numpy()
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_allclose(run.array("soft")[1], soft, rtol=1e-5)
    changed = (soft.argmax(1) != given).mean()
    assert np.isclose(run.epochs[1]["metrics"]["changed_labels"], changed)


def test_the_number_of_epochs_need_not_be_known(tmp_path):
    data, given = digits()
    rng = np.random.default_rng(0)
    losses, features = rng.random((9, N)), rng.random((9, N, 3))
    with Recorder(tmp_path / "run", data, given) as recorder:
        for epoch in range(9):
            recorder.log(epoch, losses=losses[epoch], features=features[epoch])
            run = RunFolder(tmp_path / "run")
            np.testing.assert_allclose(run.array("loss"), losses[: epoch + 1], rtol=1e-6)
            assert run.config.epochs == epoch + 1
    stored = run.array("panel_features")
    np.testing.assert_allclose(stored, features[:, run.labels["panel"]], rtol=1e-3)


def test_what_was_not_logged_is_named_with_the_argument_that_logs_it(tmp_path):
    data_loader(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    with pytest.raises(
        StoreError, match=r"without predictions.*log\(epoch, probabilities=\.\.\.\)"
    ):
        run.array("prediction")
    with pytest.raises(StoreError, match=r"without features.*log\(epoch, features=\.\.\.\)"):
        run.array("panel_features")
    history = run.sample(3)
    assert (history["prediction"] == -1).all()
    assert np.isnan(history["confidence"]).all()
    with pytest.raises(StoreError, match="training loop of its own .custom: data-loader."):
        Runner.resume(run.folder)
    with pytest.raises(StoreError, match="training loop of its own"):
        Runner.fork(run.folder, 1, tmp_path / "fork")


def test_a_loop_that_fails_keeps_its_epochs(tmp_path):
    data, given = digits()

    def fail():
        with Recorder(tmp_path / "run", data, given) as recorder:
            recorder.log(0, losses=np.ones(N))
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError):
        fail()
    run = RunFolder(tmp_path / "run")
    assert run.status["state"] == "failed"
    assert run.status["message"] == "ZeroDivisionError: division by zero"
    assert len(run.epochs) == 1
    open_one = Recorder(tmp_path / "open", data, given)
    open_one.log(0, losses=np.ones(N))
    assert RunFolder(tmp_path / "open").status["state"] == "running"
    del open_one
    status = RunFolder(tmp_path / "open").status
    assert status["state"] == "interrupted"
    assert "resumed" not in status["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(), r"losses = None: allowed is \(N,\), or probabilities"),
        (dict(losses=np.ones(5)), r"losses have type float64 and shape \(5,\): allowed.*\(240\)"),
        (dict(losses=np.full(N, np.nan)), "losses from nan to nan: allowed are finite"),
        (dict(probabilities=np.ones((N, C))), "probabilities in rows that sum to 10 to 10"),
        (dict(probabilities=np.full((N, C), -3.0)), "from -3 to -3: allowed are numbers from 0"),
        (dict(losses=np.ones(N), clean=np.full(N, 2)), "clean from 2 to 2"),
        (dict(losses=np.ones(N), weights=np.ones((N, 1))), "weights: allowed together with neighb"),
        (dict(losses=np.ones(N), neighbors=np.zeros((N, 2), int)), "with their distances, or with"),
        (dict(losses=np.ones(N), neighbors=np.full((N, 2), N)), "allowed are sample numbers 0 to"),
        (
            dict(losses=np.ones(N), neighbors=np.zeros((N, 30), int)),
            "allowed are 1 to 20 .argument",
        ),
        (
            dict(losses=np.ones(N), neighbors=np.zeros((N, 2), int), distances=np.ones((N, 3))),
            "distances of 3 columns: allowed are 2, for 2 neighbors",
        ),
        (dict(losses=np.ones(N), test_accuracy="high"), "test_accuracy = 'high': allowed is a num"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(arguments, message, tmp_path):
    data, given = digits()
    with Recorder(tmp_path / "run", data, given) as recorder:
        with pytest.raises((DataError, ConfigError), match=message):
            recorder.log(0, **arguments)
        assert RunFolder(tmp_path / "run").epochs == []
        recorder.log(0, losses=np.ones(N))
        with pytest.raises(ConfigError, match="epoch = 0: allowed is 1"):
            recorder.log(0, losses=np.ones(N))
        with pytest.raises(DataError, match="clean in epoch 1: allowed are the same arrays"):
            recorder.log(1, losses=np.ones(N), clean=np.ones(N))
    with pytest.raises(ConfigError, match="allowed is none, it is closed"):
        recorder.log(1, losses=np.ones(N))


def test_a_new_recorder_refuses_what_it_cannot_record(tmp_path):
    data, given = digits()
    with pytest.raises(DataError, match="labels = None"):
        Recorder(tmp_path / "run", None)
    with pytest.raises(DataError, match=r"from 0 to 12: allowed are \(240,\) from 0 to 9"):
        Recorder(tmp_path / "run", data, np.where(given == 0, 12, given) * 1 - (given == 9) * 9)
    with pytest.raises(ConfigError, match="name = 'a b'"):
        Recorder(tmp_path / "run", data, given, name="a b")
    with pytest.raises(ConfigError, match="learning_rat = 1: no such setting"):
        Recorder(tmp_path / "run", data, given, learning_rat=1)
    assert not (tmp_path / "run").exists()
    Recorder(tmp_path / "run", data, given, seed=3, learning_rate=0.5).close()
    assert RunFolder(tmp_path / "run").config.learning_rate == 0.5
    with pytest.raises(StoreError, match="already holds a run"):
        Recorder(tmp_path / "run", data, given)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["parts"][0]["kind"] == "loops"
