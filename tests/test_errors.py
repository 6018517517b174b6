"""Every expected failure is a kind of EngineError."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

from engine.errors import EngineError, MemoryShortage

ROOT = Path(__file__).resolve().parents[1]


def exceptions_defined_in(package: str) -> list[tuple[str, str]]:
    """Module and name of each class whose name ends in Error."""
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), node.name)
        for path in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
    ]


@pytest.mark.parametrize("package", ["engine", "app"])
def test_every_error_is_a_kind_of_engine_error(package):
    defined = exceptions_defined_in(package)
    assert len(defined) > 4
    for module, name in defined:
        kind = getattr(importlib.import_module(module), name)
        assert issubclass(kind, EngineError), f"{module}.{name}"


def test_the_errors_of_the_engine_are_defined_in_one_module():
    modules = {module for module, _ in exceptions_defined_in("engine")}
    assert modules == {"engine.errors"}
    assert issubclass(MemoryShortage, EngineError)


def test_errors_imports_nothing_of_the_project():
    tree = ast.parse((ROOT / "engine" / "errors.py").read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not [n for n in imports if "engine" in ast.unparse(n) or "app" in ast.unparse(n)]


@pytest.mark.parametrize(
    ("name", "status"),
    [("ConfigError", 2), ("StoreError", 2), ("TrainingError", 1), ("MemoryShortage", 1)],
)
def test_the_command_line_prints_the_sentence_of_every_kind(name, status, monkeypatch, capsys):
    main = importlib.import_module("engine.__main__").main

    def fail(*_):
        raise getattr(sys.modules["engine.errors"], name)("one sentence")

    monkeypatch.setattr("engine.cli.console.print_table", fail)
    assert main(["methods"]) == status
    assert capsys.readouterr().err == "error: one sentence\n"
