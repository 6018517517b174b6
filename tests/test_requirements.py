"""Every package that the project imports is declared, and every declared one is of use."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

packages_distributions = cache(metadata.packages_distributions)  # takes a second
ROOT = Path(__file__).resolve().parents[1]
# benchmarks import each other by file name
OWN = {
    "engine",
    "app",
    "tests",
    "notebooks",
    *(p.stem for p in (ROOT / "tests/benchmarks").glob("*.py")),
}
# used without an import: figures as PNG, notebooks, downloads by name
NOT_IMPORTED = {"kaleido", "jupyterlab", "torchvision"}


def sources(*folders: str) -> list[tuple[str, str]]:
    """(file, code) of the Python files and notebooks below these folders."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.append((str(path), path.read_text()))
        for path in sorted((ROOT / folder).rglob("*.ipynb")):
            cells = json.loads(path.read_text())["cells"]
            code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
            lines = [line for line in "\n".join(code).splitlines() if line[:1] not in ("%", "!")]
            found.append((str(path), "\n".join(lines)))
    return found


def imported(*folders: str) -> dict[str, str]:
    """Third-party packages that are imported, wherever in a file: name -> one such file."""
    names: dict[str, str] = {}
    for file, code in sources(*folders):
        for node in ast.walk(ast.parse(code)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for module in modules:
                names.setdefault(module.partition(".")[0], file)
    return {n: f for n, f in names.items() if n not in OWN and n not in sys.stdlib_module_names}


def declared() -> set[str]:
    """Names of all requirements, those of the extras among them, as the package index has them."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in extras.get("optional-dependencies", {}).values():
        lines += extra
    names = {re.match(r"[\w.-]*", line.strip())[0] for line in lines}
    return {normal(name) for name in names if name}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("folder", ["engine", "app", "notebooks", "tests"])
def test_every_import_is_declared(folder):
    known, of_module = declared(), packages_distributions()
    missing = {
        name: file
        for name, file in imported(folder).items()
        if not {normal(d) for d in of_module.get(name, [name])} & known
    }
    assert not missing


def test_every_requirement_is_used():
    of_module = packages_distributions()
    used = {
        normal(d)
        for name in imported("engine", "app", "notebooks")
        for d in of_module.get(name, [])
    }
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    needed = {normal(re.match(r"[\w.-]*", line)[0]) for line in lines if line[:1] not in ("", "#")}
    assert needed - used - NOT_IMPORTED == set()
