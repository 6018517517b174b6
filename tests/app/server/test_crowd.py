"""Viewers of a live run on a server with almost no CPU: responses keep coming."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conftest import slow

pytest.importorskip("psutil")
pytest.importorskip("websockets")
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import crowd  # noqa: E402
from served import server_process, wait_for  # noqa: E402
from starved import limited  # noqa: E402
from viewers import Viewer  # noqa: E402

VIEWERS, CORES, SECONDS = 8, 0.05, 10.0


async def watch(url: str, root: Path, pid: int) -> tuple[dict, list[Viewer]]:
    await (await Viewer.join(url)).open("train")
    wait_for(lambda: (root / crowd.RUN / "epochs.jsonl").exists())
    viewers = [await Viewer.join(url) for _ in range(VIEWERS)]
    for viewer in viewers:
        await viewer.open("train", run=crowd.RUN)
    with limited(pid, CORES):
        await crowd.minute(viewers, pid, 5.0)
        result = await crowd.minute(viewers, pid, SECONDS)
    for viewer in viewers:
        await viewer.leave()
    return result, viewers


@slow
def test_responses_keep_coming_on_a_starved_server(tmp_path):
    root = tmp_path / "runs"
    root.mkdir()
    crowd.prepare(root)
    with server_process(root) as server:
        result, _ = asyncio.run(watch(server.url, root, server.process.pid))
    print(result)
    assert result["fewest_of_a_viewer"] >= 1
    assert result["oldest"] < 10
    assert result["errors"] == 0
