"""The rules of the house: who may import whom, how deep, and where a thing is found."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_DEEP = 10  # imports from the topmost file down to the ground
MOST_ARROWS = 75  # pairs of rooms of the engine of which one imports the other

# from the ground up; siblings of a floor may import each other, in no circle
FLOORS = [
    "engine.config engine.errors engine.files engine.hardware engine.metrics engine.caching",
    "engine.method engine.models engine.noise engine.data",
    "engine.training",
    "engine.runs engine.embedding",
    "engine.analysis",
    "engine.charts",
    "engine.estimator engine.reports engine.experiments engine.profiling engine.cli "
    "engine.__main__",
    "app.server",
    "app.state",
    "app.components",
    "app.views app.frame app.main app.warm_up",
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for top in ("engine", "app") for path in (ROOT / top).rglob("*.py")}


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(path: Path) -> set[str]:
    """Dotted names of everything that a file imports when it runs, wherever in it."""
    names, nodes = set(), [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        nodes += [] if is_for_types_only(node) else ast.iter_child_nodes(node)
    return names


@functools.cache
def dependencies(name: str) -> frozenset[str]:
    """Modules of this project that a module imports; a package's __init__ stands for itself."""
    found = {n if n in MODULES else n.rpartition(".")[0] for n in imported(MODULES[name])}
    return frozenset(n for n in found if n in MODULES and n != name)


@functools.cache
def chain(name: str) -> tuple[str, ...]:
    """The longest way down from a module; packages' faces are no stop of their own."""
    below = max((chain(n) for n in dependencies(name)), key=len, default=())
    return below if MODULES[name].name == "__init__.py" else (name, *below)


def room(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_every_module_has_a_floor():
    rooms = {room(name) for name in MODULES if "." in name}
    assert rooms <= set(FLOOR), rooms - set(FLOOR)


def test_arrows_point_down():
    arrows = [(a, b) for a in MODULES for b in dependencies(a) if "." in a and "." in b]
    assert not [(a, b) for a, b in arrows if FLOOR[room(a)] < FLOOR[room(b)]]


def test_the_engine_knows_no_app_and_no_streamlit():
    for name, path in MODULES.items():
        if name.startswith("engine"):
            roots = {n.partition(".")[0] for n in imported(path)}
            assert not roots & {"app", "streamlit"}, name


def test_no_chain_of_imports_is_long():
    longest = max((chain(name) for name in MODULES), key=len)
    assert len(longest) - 1 <= MOST_DEEP, " > ".join(longest)


def test_rooms_of_the_engine_know_few_others():
    arrows = [(a, b) for a in MODULES for b in dependencies(a) if a.startswith("engine.")]
    between = {(room(a), room(b)) for a, b in arrows if "." in b and room(a) != room(b)}
    assert len(between) <= MOST_ARROWS


def test_the_method_knows_no_files_threads_or_pages():
    above = ("engine.runs", "engine.analysis", "threading", "json")
    for path in [*(ROOT / "engine" / "method").glob("*.py"), ROOT / "engine/training/train.py"]:
        assert not {name for name in imported(path) if name.startswith(above)}, path


def test_no_folder_of_pages_beside_the_frame():
    """Until a session has called st.navigation, Streamlit runs the files of a folder pages/."""
    assert not (ROOT / "app" / "pages").exists()


def test_the_engine_starts_without_the_heavy_libraries():
    """They must come late: a machine that only trains may lack them."""
    heavy = "{'sklearn', 'hnswlib', 'umap', 'streamlit', 'plotly', 'torchvision'}"
    code = "import sys, engine.runs.runner, engine.analysis.summary; "
    code += f"print({heavy} & {{*sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


HEAVY = ("torch", "sklearn", "pandas", "scipy", "umap", "plotly", "streamlit", "pyarrow")


@pytest.mark.parametrize(
    ("modules", "needed"),
    [
        (
            "engine.cli.parser, engine.cli.commands, engine.cli.sweep_commands, engine.cli.console",
            set(),
        ),
        ("engine.config, engine.training.control, engine.analysis.diagnostics", set()),
        ("engine.runs.folder, engine.analysis.summary, engine.analysis.label_issues", set()),
        ("engine.runs.runner, engine.runs.writer, engine.embedding.worker", set()),
        ("engine.data.registry, engine.analysis.sample_history", set()),
        ("engine.analysis.data_checks, engine.analysis.run_table", set()),
        # Streamlit itself imports the beginnings of plotly
        (
            "app.server.run_manager, app.components.settings_form, app.components.run_picker, "
            "app.components.figures, app.views.train.live_charts, app.views.home.pair, "
            "app.components.player, app.server.recordings, app.server.first_page",
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


def test_help_needs_no_library():
    """Wall time is measured by tests/benchmarks/bench_app.py."""
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


@pytest.mark.parametrize("top", ["engine", "app", "tests"])
def test_the_readme_has_a_caption_for_every_folder(top):
    lines = (ROOT / "README.md").read_text().splitlines()
    folders = {path.parent for path in (ROOT / top).rglob("*.py")}
    for folder in folders:
        assert any(f"{folder.name}/" in line for line in lines), folder


@pytest.mark.parametrize("top", ["engine", "app", "tests"])
def test_the_readme_of_a_room_names_its_files(top):
    """The nearest README.md at or above a file's folder has its name."""
    for path in (ROOT / top).rglob("*.py"):
        folders = [folder for folder in path.parents if (folder / "README.md").exists()]
        assert path.name == "__init__.py" or path.name in (folders[0] / "README.md").read_text()
