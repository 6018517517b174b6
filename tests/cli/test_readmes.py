"""Commands in the READMEs are commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from engine.cli.parser import _parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob(".github/*.md"), *ROOT.glob("[a-z]*/**/README.md")]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}


def commands() -> list:
    """Whole commands of lines of code, each with its page."""
    found = [
        (page, command)
        for page, text in TEXTS.items()
        for command in re.findall(
            r"^    (?:\S*/)?python3? -m engine (.+)$", re.sub(r"\\\n\s*", "", text), re.M
        )
    ]
    return [pytest.param(*pair, id=f"{pair[0]}: {pair[1][:40]}") for pair in found]


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_is_understood(page, command):
    words = shlex.split(command, comments=True)
    if "--help" in words:
        with pytest.raises(SystemExit, match="^0$"):
            _parse(words)
    else:
        assert callable(_parse(words).command)


@pytest.mark.parametrize("page", TEXTS)
def test_named_scripts_and_linked_files_exist(page):
    scripts = re.findall(r"python (tests/[\w/]+\.py)", TEXTS[page])
    assert not [
        script for script in scripts if not (ROOT / script.replace("NAME", "crowd")).exists()
    ]
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", TEXTS[page])
    assert not [link for link in links if not (folder / link).exists()]
