"""The house rules of the README map: who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = (
    "noise", "augment", "losses", "clean", "neighbors", "mixing", "labels",
    "metrics", "optim", "device", "control", "snapshot", "embed",
)  # fmt: skip


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_no_sibling(leaf):
    siblings = {n for n in imported(ROOT / "engine" / f"{leaf}.py") if n.startswith("engine")}
    assert not {n for n in siblings if not n.startswith(("engine.errors.", "engine.hardware."))}


@pytest.mark.parametrize("leaf", ["config", "data", "model"])
def test_rooms_that_are_leaves_import_nothing_of_the_engine_but_themselves(leaf):
    below = {"data": ("engine.config.",)}
    for path in (ROOT / "engine" / leaf).glob("*.py"):
        siblings = {name for name in imported(path) if name.startswith("engine")}
        allowed = (f"engine.{leaf}", "engine.errors.", *below.get(leaf, ()))
        assert all(name.startswith(allowed) for name in siblings), path


def test_the_method_knows_no_files_threads_or_pages():
    above = {
        "engine.runs.folder",
        "engine.runs.writer",
        "engine.runs.runner",
        "engine.analysis.summary",
        "threading",
        "json",
    }
    names = {n for m in ("train", "state") for n in imported(ROOT / "engine" / f"{m}.py")}
    assert not {name for name in names if any(name.startswith(a) for a in above)}


def test_no_streamlit_under_engine_and_in_charts():
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "app" / "charts").rglob("*.py")]:
        assert not any(name.startswith("streamlit") for name in imported(path)), path


def test_the_engine_knows_no_app():
    """But for one file: an experiment's pictures are charts, and charts know no Streamlit."""
    charts = {ROOT / "engine" / "experiments" / "figures.py": "engine.charts."}
    for path in (ROOT / "engine").rglob("*.py"):
        names = {name for name in imported(path) if name.split(".")[0] == "app"}
        allowed = charts.get(path)
        assert all(allowed is not None and name.startswith(allowed) for name in names), path


def test_no_folder_of_pages_beside_the_frame():
    """Streamlit would run the files of a folder pages/ without main.py."""
    assert not (ROOT / "app" / "pages").exists()


def test_the_engine_starts_without_the_heavy_libraries():
    """They must come late: a machine that only trains may lack them."""
    heavy = "{'sklearn', 'hnswlib', 'umap', 'streamlit', 'plotly', 'torchvision'}"
    code = f"import sys, engine.runs.runner, engine.analysis.summary; print({heavy} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "set()"


def test_the_readme_maps_every_file():
    readme = (ROOT / "README.md").read_text()
    for room in ("engine", "app", "tests"):
        for path in (ROOT / room).rglob("*.py"):
            assert path.name == "__init__.py" or path.name in readme, path


HEAVY = ("torch", "sklearn", "pandas", "scipy", "umap", "plotly", "streamlit", "pyarrow")


@pytest.mark.parametrize(
    ("modules", "needed"),
    [
        ("engine.cli.parser, engine.cli.commands", set()),
        (
            "engine.config, engine.training.control, engine.training.snapshot, engine.analysis.diagnostics",
            set(),
        ),
        (
            "engine.runs.folder, engine.analysis.summary, engine.analysis.label_issues, engine.cli.console",
            set(),
        ),
        (
            "engine.runs.runner, engine.runs.writer, engine.embedding.worker, engine.data.registry",
            set(),
        ),
        (
            "engine.analysis.sample_history, engine.analysis.data_checks, engine.analysis.run_table",
            set(),
        ),
        # Streamlit itself imports the beginnings of plotly
        (
            "app.server.run_manager, app.components.settings_form, app.views.train.live_charts, app.server.run_cache, app.components.page",
            {"streamlit", "plotly"},
        ),
    ],
)
def test_reading_and_the_first_page_import_no_heavy_library(modules, needed):
    """PyTorch takes two seconds and 500 MB; whoever computes imports it then."""
    code = f"import sys, {modules}; print(*set({HEAVY!r}) & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(ended.stdout.split()) == needed


def test_help_comes_at_once():
    """It needs none of the libraries; wall time is tests/benchmarks/bench_app.py's business."""
    code = """
import sys
from engine.cli.parser import main
try:
    main(["--help"])
finally:
    print(*{"numpy", "pydantic", "tqdm", "torch"} & set(sys.modules), file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "headline" in ended.stdout
    assert ended.stderr.strip() == ""
