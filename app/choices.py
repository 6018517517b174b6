"""What a visitor picked: one owner, mirrored into the URL, turned into the engine's settings.

Values live in the session under one key; widgets borrow them (`bound`) and give them back when
they change, so they survive page switches, and the URL always says them all.
"""

import base64
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import ids
from app.lesson.answers import CODE_WORDS, class_code
from app.lesson.lessons import RATE, RATES, SEEDS
from app.review.uploads import may_read
from app.runs import runs
from app.sample.samples import SEARCHES
from app.visitors import CHOICES as KEPT
from app.visitors import visitor as visitor
from engine.config import (
    METHODS,
    NETWORK_ALIASES,
    PRESET_ALIASES,
    PRESET_NAMES,
    RunConfig,
    configure,
)
from engine.errors import ConfigError

MIRROR, PROBLEMS = "choices.mirror", "choices.problems"
SHOWN, LEFT = "choices.shown", "choices.left"  # by widgets now, and before others changed it
MOST_NUMBER = 2**53 - 1  # beyond it a browser's whole numbers are not exact
MOST_TEXT, MOST_PACKED = 4_000, 60_000  # characters of a value in the URL, and of a packed one
MOST_URL = 100_000  # characters of all values together
MOST_SHAPES = 50_000  # drawn by the server for whoever asks
STALE = 3.0  # seconds in which a browser may still send a URL that was replaced


@dataclass(frozen=True)
class Param:
    """How one value stands in the URL. parse raises ValueError for a text that is none."""

    default: Any = None
    parse: Callable[[str], Any] = str
    format: Callable[[Any], str] = str
    words: str = "a text"  # what is allowed, for the error
    most: int = MOST_TEXT  # characters

    def read(self, text: str) -> Any:
        """The value that a text of the URL stands for. Raises ValueError saying what is allowed."""
        if len(text) > self.most:
            raise ValueError(f"{self.words}, in at most {self.most:,} characters")
        try:
            return self.parse(text)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise ValueError(self.words) from None


def whole(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MOST_NUMBER:
        raise ValueError(text)
    return value


def finite(text: str) -> float:
    value = float(text)
    if not abs(value) <= MOST_NUMBER:  # nan, too
        raise ValueError(text)
    return value


def between(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def share_key(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError(text)
    return text


def one_number(*options: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if float(text) not in options:
            raise ValueError(text)
        return float(text)

    return parse


def one_of(*options: str, aliases: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """A parser of these words. aliases: older words, as links may hold them -> current ones."""

    def parse(text: str) -> str:
        text = (aliases or {}).get(text, text)
        if text not in options:
            raise ValueError(text)
        return text

    return parse


def _choice(
    *options: str, default: str | None = None, aliases: Mapping[str, str] | None = None
) -> Param:
    return Param(
        options[0] if default is None else default,
        one_of(*options, aliases=aliases),
        words=" | ".join(options),
    )


def _flag(text: str) -> bool:
    return {"1": True, "0": False}[text]


def pack(value: Any) -> str:
    """Any JSON value as a short text for the URL."""
    data = zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(text: str) -> Any:
    """The value behind a text of `pack`. Raises ValueError."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        limited = zlib.decompressobj()
        raw = limited.decompress(data, 1_000_000)
        value = json.loads(raw)
    except (zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(text[:60]) from error
    if not limited.eof:
        raise ValueError(text[:60])
    return value


def _table(text: str) -> list[list[float]]:
    """A packed table: at most 1,000 rows of numbers."""
    rows = unpack(text)
    if not isinstance(rows, list) or len(rows) > 1000:
        raise ValueError(text[:60])
    for row in rows:
        if not isinstance(row, list) or len(row) > 1000 or not all(map(_is_number, row)):
            raise ValueError(text[:60])
    return rows


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MOST_NUMBER


def _weights(text: str) -> tuple[int, ...]:
    values = tuple(whole(part) for part in text.split("-"))
    if not 1 <= len(values) <= 101 or max(values) > 100:
        raise ValueError(text)
    return values


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _joined(names: tuple[str, ...]) -> str:
    return ",".join(names)


_whole = Param(None, whole, words="a whole number from 0")
_share = Param(None, finite, words="a number")

# The settings of the next run; None is what the preset of the data set says.
KNOBS: dict[str, Param] = {
    "dataset": Param("digits"),
    "noise": Param(None),
    "rate": _share,
    "k": _whole,
    "alpha": _share,
    "warmup": _whole,
    "correction_start": _whole,
    "correction": Param(None),
    "network": Param(None, lambda text: NETWORK_ALIASES.get(text, text)),
    "epochs": _whole,
    "seed": Param(0, whole, words="a whole number from 0"),
    "limit": _whole,
    "learning_rate": _share,
    "batch_size": _whole,
    "noise_matrix": Param(None, _table, pack, "a packed table of numbers", MOST_PACKED),
    "margin_type": Param(None),
    "human_labels": Param(None),
}

PARAMS: dict[str, Param] = {
    **KNOBS,
    "method": _choice(*METHODS, default="mixnn"),
    "preset": _choice(*PRESET_NAMES, aliases=PRESET_ALIASES),
    # the selection, shared by all pages
    "run": Param(),
    "key": Param(None, share_key, words="the key of a share link"),
    "epoch": _whole,  # None: the newest
    "sample": _whole,
    "beside": _whole,  # a second sample
    "lasso": Param(
        (), ids.unpack, ids.pack, "a packed set of samples, or the name of a kept one", MOST_PACKED
    ),  # fmt: skip
    # how a page shows it
    "search": Param(  # of samples
        None, one_of(*SEARCHES, aliases={"missed": "wrong"}), words=" | ".join(SEARCHES)
    ),
    "shuffle": Param(0, whole, words="a whole number from 0"),  # seed of a random search
    "find": Param(""),  # part of a sample's name
    "mix": Param(
        None, _weights, lambda v: "-".join(map(str, v)), "weights 0 to 100, like 60-30-10"
    ),
    "color": _choice("given", "true", "corrected", "clean", "loss", "changed"),
    "layout": _choice("umap", "pca"),
    "dims": Param(2, {"2": 2, "3": 3}.__getitem__, words="2 | 3"),
    "class": _whole,  # one class of Noise, Losses or Sample
    "threshold": Param(0.5, finite, words="a number from 0 to 1"),  # on P(clean)
    "loss": _choice("scaled", "plain"),
    "bars": _choice("cut", "full", "log"),
    "lines": _choice("loss", "clean"),
    "who": _choice("typical", "chosen"),  # samples whose course over the epochs is drawn
    "noise_of": _choice("run", "settings"),
    "given_class": _whole,
    "draw": Param(0, whole, words="a whole number from 0"),  # seed of the wall of spoiled samples
    "compare": Param((), _names, _joined, "names of runs, separated by commas"),
    "metric": Param(),  # the fourth curve of Compare
    "like": Param(""),  # words that filter its table of runs
    "sweep": Param(),  # the folder whose heat maps Compare shows
    "sweep_of": Param(),
    "sweep_metric": Param(),
    "changes": _choice(  # listed on Labels
        "all",
        "corrected",
        "missed",
        "harmed",
        "changed",
        aliases={"helpful": "corrected", "harmful": "harmed", "neutral": "changed"},
    ),  # fmt: skip
    "confusion": _choice("after", "before"),
    "kept": Param(False, _flag, lambda on: "1" if on else "0", "0 or 1"),  # in the flow of labels
    "lesson": Param(1, between(1, 6), words="a step, 1 to 6"),
    "class_code": Param(None, class_code, words=CODE_WORDS),  # whose answers are collected
    "lesson_rate": Param(RATE, one_number(*RATES), words=" | ".join(map(str, RATES))),
    "lesson_seed": Param(0, between(SEEDS[0], SEEDS[-1]), words=f"0 to {SEEDS[-1]}"),
    # own data and the review of its labels
    "upload": Param(),
    "step": Param(None, one_of("bring", "check", "review", "take"), words="a step of Your data"),
    "desk_show": _choice("open", "decided", "all"),
    "desk_class": _whole,
    "desk_sure": _share,
    "accept": _share,
    "guide": Param(False, _flag, lambda on: "1" if on else "0", "0 or 1"),  # a teacher's link
}


def get(name: str) -> Any:
    """The chosen value."""
    return _kept().get(name, PARAMS[name].default)


def put(**values: Any) -> None:
    """Choose values; None means the default. The URL follows."""
    kept = _kept()
    for name, value in values.items():
        if value is None or value == PARAMS[name].default:
            kept.pop(name, None)
        else:
            kept[name] = value
    publish()


def bound(
    name: str, shown: Any = None, *, within: tuple[float, float] | None = None,
    convert: Callable[[Any], Any] | None = None, instead: bool = False,
) -> dict:  # fmt: skip
    """key and on_change of a widget that shows and changes a value.

    shown: what to show where nothing is chosen and the default is not what is meant; with instead,
    in any case. within: the widget's range; a link may say more. convert: the widget's value -> the
    value to keep.
    """
    key = f"w-{name}"
    value = get(name)
    value = shown if value is None or instead else value
    if within is not None and value is not None:
        value = type(value)(min(max(value, within[0]), within[1]))
    shown_last = st.session_state.setdefault(SHOWN, {})
    if name in shown_last and shown_last[name] != value:
        left = st.session_state.setdefault(LEFT, {}).setdefault(name, [])
        left.append((time.monotonic(), shown_last[name]))
        del left[:-10]
    st.session_state[key] = shown_last[name] = value

    def take() -> None:
        value, now = st.session_state[key], time.monotonic()
        if value == shown_last[name]:  # a widget that was not drawn for a while reports itself
            return
        left = st.session_state.get(LEFT, {}).get(name, [])
        # a fast key may still carry what the widget showed before a button changed it
        if any(value == old and now - then < STALE for then, old in left):
            return
        left.clear()
        shown_last[name] = value
        put(**{name: convert(value) if convert else value})

    return {"key": key, "on_change": take}


def link(**changes: Any) -> dict[str, str]:
    """Query parameters of all that is chosen, with changes, for a link to a page."""
    values = _kept() | changes
    return {
        name: PARAMS[name].format(value)
        for name, value in values.items()
        if value is not None and value != PARAMS[name].default
    }


def sync() -> None:
    """Take up the URL where a visitor brought one; to be called once, before a page is drawn."""
    url = {name: text for name, text in st.query_params.to_dict().items() if name in PARAMS}
    mirror = st.session_state.setdefault(MIRROR, [])
    now = time.monotonic()
    # a page switch drops the parameters; a fast click may still carry the URL before the last
    if not url or any(url == old and now - then < STALE for then, old in mirror[:-1]):
        publish()
        return
    if mirror and url == mirror[-1][1]:
        return
    kept, problems = {}, []
    if (n := sum(map(len, url.values()))) > MOST_URL:
        problems.append(
            f"The link has {n:,} characters, so it was not read: allowed is {MOST_URL:,}"
        )
        url = {}
    for name, text in url.items():
        try:
            kept[name] = PARAMS[name].read(text)
        except ValueError as error:
            problems.append(f"{name} = {text[:60]!r} in the link: allowed is {error}")
    st.session_state[KEPT], st.session_state[PROBLEMS] = kept, problems
    publish()


def publish() -> None:
    """Write what is chosen into the URL, next to parameters of others."""
    mine = link()
    st.session_state.setdefault(MIRROR, [])
    now, mirror = time.monotonic(), st.session_state[MIRROR]
    if not mirror or mirror[-1][1] != mine:
        mirror.append((now, mine))
        del mirror[:-50]
    others = {n: v for n, v in st.query_params.to_dict().items() if n not in PARAMS}
    if st.query_params.to_dict() != others | mine:
        st.query_params.from_dict(others | mine)


def problems() -> list[str]:
    """What the link said wrongly, told once."""
    return st.session_state.pop(PROBLEMS, [])


def settings(**changes: Any) -> RunConfig:
    """The settings of the next run, with changes; None: as the preset says. Raises ConfigError."""
    picked = {name: get(name) for name in (*KNOBS, "method", "preset")} | changes
    knobs = {name: value for name, value in picked.items() if value is not None}
    if knobs.get("noise") != "matrix":
        knobs.pop("noise_matrix", None)
    if not (may_read(knobs["dataset"], runs().root) and runs().may_use(knobs["dataset"])):
        raise ConfigError(
            f"dataset = {knobs['dataset']!r}: allowed is a named data set, one uploaded on Your "
            "data, or a path inside the folders that MIXNN_FOLDERS names on the server"
        )
    family, _, argument = knobs["dataset"].partition(":")
    if family == "shapes" and argument.isdecimal() and int(argument) > MOST_SHAPES:
        raise ConfigError(
            f"dataset = {knobs['dataset']!r}: allowed are up to {MOST_SHAPES:,} shapes here, more "
            "on the command line"
        )
    return configure(**knobs)


def _kept() -> dict[str, Any]:
    return st.session_state.setdefault(KEPT, {})
