"""Visitors without a screen: Streamlit's protocol over a websocket, as its own front end speaks it.

A Viewer requests pages, fills in fields, presses buttons, and polls as a browser does: some time
after the component of app/components/live_updates.py came with a new serial number, and at every
fragment's interval.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

try:
    from websockets.asyncio.client import connect
except ImportError:
    raise SystemExit(
        "this benchmark needs the package websockets: pip install websockets"
    ) from None

PATIENCE = 120.0  # seconds for one answer
LOOK = "mixnn.poll"  # component of app/components/live_updates.py
RARE = 30.0  # seconds of an interval
FULL, FRAGMENT = ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY


@dataclass
class Answer:
    """The answer to a request, until the script has ended."""

    seconds: float
    n_bytes: int


@dataclass
class Viewer:
    """One visitor. Use `join`; the connection closes with `leave`."""

    socket: object
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)  # label or key -> ids
    fields: dict[str, Any] = field(default_factory=dict)  # key -> message of a radio, slider, text
    values: dict[str, WidgetState] = field(default_factory=dict)  # id -> what was filled in
    pages: list[str] = field(default_factory=list)  # addresses, the first page's is ""
    problems: list[str] = field(default_factory=list)  # errors that a page showed
    latencies: list[float] = field(default_factory=list)  # of polls, seconds
    busy: int = 0  # answers of a busy server

    def __post_init__(self):
        self.query, self._page = "", ""
        self._script = ""  # hash of the open page, which the browser sends once it knows it
        self._timers: dict[str, asyncio.Task] = {}  # of fragments, and of components by their ids
        self._intervals: dict[str, float] = {}
        self._serials: dict[str, int] = {}  # of components, as last received
        self._seen: set[str] = set()  # components of the page since it was drawn as a whole
        self._due: dict[str, float] = {}  # component or fragment -> time of its unanswered request
        self._runs: dict[str, dict[str, float]] = {}  # script run -> what it answers
        self._drawn: asyncio.Future | None = None
        self._polled: float | None = None  # when the newest poll was sent, until it is answered
        self._begun = False  # whether the page that was asked for last has begun to come
        self._n_bytes = 0
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def join(cls, url: str) -> "Viewer":
        """Connect to the app at http://host:port, as a browser of its own."""
        address = url.replace("http", "ws", 1) + "/_stcore/stream"
        return cls(
            await connect(
                address,
                subprotocols=["streamlit"],
                additional_headers={"Cookie": f"_streamlit_xsrf={generate_xsrf_token_string()}"},
                max_size=None,
                ping_interval=None,
            )
        )

    async def leave(self) -> None:
        self._stop_timers()
        self._reader.cancel()
        await self.socket.close()

    async def open(self, page: str, *, patience: float = PATIENCE, **query: str | int) -> Answer:
        """Go to a page ("" is the first one), without or with a link's choices."""
        self._page, self._script, self.query = page, "", urlencode(query)
        return await self._whole(patience=patience)

    def fill(self, field: str, value: str | int) -> None:
        """Fill in a field by its key; the server learns it with the next request."""
        found = self.fields[field]
        state = self.values[found.id] = WidgetState(id=found.id)
        if isinstance(found, Slider):
            state.double_array_value.data.append(value)
        else:
            state.string_value = value

    async def press(self, button: str) -> Answer:
        """Press a button by its label or its key; raises KeyError where it is not there."""
        widget, fragment = self.buttons[button]
        message = BackMsg()
        message.rerun_script.widget_states.widgets.add(id=widget, trigger_value=True)
        message.rerun_script.fragment_id = fragment
        return await self._whole(message)

    async def _whole(self, message: BackMsg | None = None, patience: float = PATIENCE) -> Answer:
        message = message or BackMsg()
        self._drawn, self._n_bytes = asyncio.get_running_loop().create_future(), 0
        start, self._begun, self._polled = time.perf_counter(), False, None
        await self._send(message)
        done, _ = await asyncio.wait(
            {self._drawn, self._reader}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if self._reader in done:
            raise RuntimeError("the server hung up") from self._reader.exception()
        if not done:
            raise TimeoutError(f"no answer in {patience:g} s: {self.problems or 'no error shown'}")
        end = self._drawn.result()
        return Answer(end - start, self._n_bytes)

    async def _send(self, message: BackMsg) -> None:
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self._script
        if not self._script:
            state.page_name = self._page
        shown = [self.values[f.id] for f in self.fields.values() if f.id in self.values]
        state.widget_states.widgets.extend(shown)
        await self.socket.send(message.SerializeToString())

    async def _read(self) -> None:
        async for data in self.socket:
            self._n_bytes += len(data)
            message = ForwardMsg.FromString(data)
            getattr(self, f"_on_{message.WhichOneof('type')}", lambda message: None)(message)

    def _on_new_session(self, message: ForwardMsg) -> None:
        run = message.metadata.run
        if not run.fragment_ids:
            self._stop_intervals()
            self.buttons.clear()
            self.fields.clear()
            self._seen.clear()
            self._begun = True
        fragments = run.fragment_ids or [f for f in self._due if f not in self._serials]
        self._runs[run.script_run_id] = {f: self._due.pop(f) for f in fragments if f in self._due}

    def _on_script_finished(self, message: ForwardMsg) -> None:
        now = time.perf_counter()
        fragments = self._runs.pop(message.metadata.run.script_run_id, {})
        if message.script_finished not in (FULL, FRAGMENT):  # dropped, for one that comes after it
            self._due |= fragments
            return
        self.latencies += [now - then for then in fragments.values()]
        polled, self._polled = self._polled, None
        if not message.metadata.run.fragment_ids:
            self.on_page(None if polled is None else now - polled)
            for gone in self._serials.keys() - self._seen:  # the browser removes them now
                del self._serials[gone]
                self._timers.pop(gone).cancel()
                self._due.pop(gone, None)
        # Streamlit loses the end of a page if a poll comes in that moment: its fragment follows it
        if self._drawn and not self._drawn.done() and self._begun:
            self._drawn.set_result(now)

    def _on_navigation(self, message: ForwardMsg) -> None:
        self.pages = [page.url_pathname for page in message.navigation.app_pages]
        self._script = message.navigation.page_script_hash

    def _on_page_info_changed(self, message: ForwardMsg) -> None:
        self.query = message.page_info_changed.query_string

    def _on_delta(self, message: ForwardMsg) -> None:
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "button":
            if element.button.disabled:
                return
            ids = element.button.id, message.delta.fragment_id
            self.buttons[element.button.label] = ids
            self.buttons[element.button.id.split("-", 2)[-1]] = ids  # $$ID-hash-key
        elif kind in ("radio", "slider", "text_input"):
            found = getattr(element, kind)
            self.fields[found.id.split("-", 2)[-1]] = found
        elif kind == "bidi_component" and element.bidi_component.component_name == LOOK:
            self._on_look(element.bidi_component, message.delta.fragment_id)
        elif kind == "exception":
            self.problems.append(element.exception.message)
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.problems.append(element.alert.body)
        elif kind == "alert" and "server is busy" in element.alert.body:
            self.busy += 1

    def _on_look(self, component: Any, fragment: str) -> None:
        """What the component's script does with new data: it sets its timer, once."""
        self._seen.add(component.id)
        data = json.loads(component.json)
        if self._serials.get(component.id) == data["serial"]:
            return
        self._serials[component.id] = data["serial"]
        if component.id in self._due:
            self.latencies.append(time.perf_counter() - self._due.pop(component.id))
        if component.id in self._timers:
            self._timers[component.id].cancel()
        timer = self._ask(component.id, fragment, data)
        self._timers[component.id] = asyncio.create_task(timer)

    async def _ask(self, component: str, fragment: str, data: dict) -> None:
        await asyncio.sleep(data["wait"])
        message = BackMsg()
        message.rerun_script.fragment_id = fragment
        message.rerun_script.widget_states.widgets.add(
            id=f"$$STREAMLIT_INTERNAL_KEY_{component}__events",
            json_trigger_value=json.dumps([{"event": "poll", "value": data["serial"]}]),
        )
        self._due[component] = self._polled = time.perf_counter()
        await self._send(message)

    def on_page(self, seconds: float | None) -> None:
        """Called for each complete page. seconds: since the poll that it answers, if it does."""

    def oldest(self) -> float:
        """Seconds that the oldest unanswered poll waits; 0 for none."""
        due = [
            *self._due.values(),
            *(t for fragments in self._runs.values() for t in fragments.values()),
        ]
        return time.perf_counter() - min(due) if due else 0.0

    def _on_auto_rerun(self, message: ForwardMsg) -> None:
        rerun = message.auto_rerun
        if self._intervals.get(rerun.fragment_id) == rerun.interval:
            return  # the browser keeps a timer of the same interval
        if rerun.fragment_id in self._timers:
            self._timers[rerun.fragment_id].cancel()
        self._intervals[rerun.fragment_id] = rerun.interval
        timer = self._look(rerun.fragment_id, rerun.interval)
        self._timers[rerun.fragment_id] = asyncio.create_task(timer)

    def _on_stop_auto_rerun(self, message: ForwardMsg) -> None:
        for fragment in message.stop_auto_rerun.fragment_ids:
            if fragment in self._timers:
                self._timers.pop(fragment).cancel()
            self._intervals.pop(fragment, None)

    async def _look(self, fragment: str, interval: float) -> None:
        """Ask for a fragment at its interval, whether or not the last answer has come."""
        while True:
            await asyncio.sleep(interval)
            message = BackMsg()
            message.rerun_script.fragment_id = fragment
            message.rerun_script.is_auto_rerun = True
            if interval < RARE:  # a rare one only sees to it that no viewer is forgotten
                self._due.setdefault(fragment, time.perf_counter())
            await self._send(message)

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _stop_intervals(self) -> None:
        for fragment in self._intervals:
            self._timers.pop(fragment).cancel()
        self._intervals.clear()


async def crowd(url: str, n: int, page: str = "train", **query: str) -> list[Viewer]:
    """n viewers of a page, come one after the other."""
    viewers = []
    for _ in range(n):
        viewers.append(await Viewer.join(url))
        await viewers[-1].open(page, **query)
    return viewers


async def look_on(viewers: list[Viewer], while_true: Callable[[], bool]) -> list[float]:
    """Latencies of all their fragments while something is true; then they leave.

    Raises RuntimeError for an error that a page showed.
    """
    for viewer in viewers:
        viewer.latencies.clear()
    while while_true():
        await asyncio.sleep(0.05)
    for viewer in viewers:
        await viewer.leave()
    problems = [problem for viewer in viewers for problem in viewer.problems]
    if problems:
        raise RuntimeError(f"a viewer saw: {problems[0]}")
    return [latency for viewer in viewers for latency in viewer.latencies]


def spread(values: list[float]) -> dict[str, float | int]:
    """n, median, 95th percentile and largest."""
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": statistics.median(ordered),
        "p95": ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
        "largest": ordered[-1],
    }
