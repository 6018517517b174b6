"""The replaceable parts of a method by name: one door for built-in ones and for your own.

A part is a function, a class or a module. Built-in ones are named as entry points are, by module
and attribute, so that nothing is imported before it is used. Your own come in by `register`, as a
value of a setting (`configure(loss=function)`), by `load_plugin`, or as an entry point of an
installed package. A setting stores one of them as custom:NAME@HASH; the hash is that of its source
text, which the run folder keeps, so that a run continues with the same code only.

Nothing here reads a run folder, and nothing executes text: code is what this process imported.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from engine.errors import ConfigError

GROUP = "mixnn_lab"  # of entry points: mixnn_lab.losses, mixnn_lab.weights, ...
MOST_SOURCE = 100_000  # characters; the most that a run folder may hold
NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,59}"
PRETRAINED = re.compile(r"timm:[\w.]{1,100}")  # a network of timm that is fine-tuned
CUSTOM = re.compile(rf"custom:({NAME})@([0-9a-f]{{12}})")  # a part of one's own in a setting


@dataclass(frozen=True)
class Kind:
    """What parts of one kind get, and the settings that name them."""

    arguments: tuple[str, ...]  # by position
    options: tuple[str, ...]  # by name, where the part has a parameter of that name
    settings: tuple[str, ...] = ()


KINDS = {
    "losses": Kind(
        ("logits", "targets"),
        ("indices", "epoch", "q", "a", "b", "memory", "strength"),
        ("loss", "early_loss"),
    ),
    "weights": Kind(
        ("clean", "neighbors"), ("distances", "features", "shares", "epoch"), ("weighting",)
    ),
    "clean": Kind(("losses",), ("labels", "features", "epoch", "mixture", "vote"), ("clean_from",)),
    "networks": Kind(("channels", "n_classes"), ("shape",), ("network",)),
    "augment": Kind(("images", "generator"), ("padding",), ("augment",)),
    "noise": Kind(
        ("labels", "rate", "rng"),
        ("n_classes", "images", "config", "data", "on_progress"),
        ("noise",),
    ),
    "datasets": Kind((), ("argument", "root", "seed", "image_size")),
}
KIND_OF = {setting: kind for kind, of in KINDS.items() for setting in of.settings}

_METHOD, _LABELS = "engine.method", "engine.training.noisy_labels"
BUILT_IN: dict[str, dict[str, str]] = {
    "losses": {
        "ce": f"{_METHOD}.losses:soft_cross_entropy",
        "linear": f"{_METHOD}.losses:linear",
        "gce": f"{_METHOD}.losses:gce",
        "sce": f"{_METHOD}.losses:sce",
        "elr": f"{_METHOD}.losses:elr",
    },
    "weights": {
        "clean": f"{_METHOD}.mixing:mixing_weights",
        "equal": f"{_METHOD}.mixing:equal_weights",
    },
    "clean": {
        "mixture": f"{_METHOD}.votes:clean_by_mixture",
        "vote": f"{_METHOD}.votes:clean_by_vote",
        "both": f"{_METHOD}.votes:clean_by_both",
    },
    "networks": {
        "linear": "engine.models.networks:linear",
        "mlp": "engine.models.networks:mlp",
        "small": "engine.models.networks:small",
        "resnet9-w16": "engine.models.networks:resnet9_w16",
        "resnet9": "engine.models.networks:resnet9",
        "resnet18": "engine.models.networks:resnet18",
        "resnet34": "engine.models.networks:resnet34",
    },
    "augment": {
        "none": f"{_METHOD}.augmentation:unchanged",
        "shift": f"{_METHOD}.augmentation:shift",
        "crop-flip": f"{_METHOD}.augmentation:crop_flip",
    },
    "noise": {
        **dict.fromkeys(
            (
                "none",
                "symmetric",
                "symmetric-exclusive",
                "asymmetric",
                "asymmetric-as-published",
                "pair",
                "matrix",
            ),
            f"{_LABELS}:by_class",
        ),
        "instance": f"{_LABELS}:by_instance",
        "margin": f"{_LABELS}:by_margin",
        "human": f"{_LABELS}:by_humans",
    },
    "datasets": {},  # see engine.data.registry, which also describes them
}


@dataclass(frozen=True)
class Part:
    """A part of one's own, with the text that it was recorded by."""

    kind: str
    name: str
    target: Any
    source: str  # its text, and the text of what it uses from the same file
    digest: str  # 12 hex digits of the SHA-256 of source
    module: str  # file or dotted name to import in another process; "" where there is none
    path: str  # of the target in that module

    @property
    def setting(self) -> str:
        """The value of a setting that names it: custom:focal@0123456789ab."""
        return f"custom:{self.name}@{self.digest}"


_parts: dict[tuple[str, str], Part] = {}  # (kind, value of a setting) -> part
_newest: dict[tuple[str, str], Part] = {}  # (kind, name) -> part
_plugins: dict[Path, tuple[str, ModuleType]] = {}  # file -> its text, and the module of it


def register(kind: str, target: Any = None, *, name: str | None = None) -> Any:
    """Make a part of your own known by its name; returns it, so it serves as a decorator, too.

    kind: one of KINDS, whose arguments the part gets; engine/README.md has their shapes. name: by
    default that of the function or class. The newest part of a name counts; earlier ones stay for
    runs that began with them. Raises ConfigError for an unknown kind, a name that is built in, a
    part that asks for an argument that does not exist, and one whose source cannot be read.

    >>> @register("losses")
    ... def squared(logits, targets):
    ...     return (logits.softmax(1) - targets).square().sum(1)
    """
    if kind not in KINDS:
        raise ConfigError(f"kind = {kind!r}: allowed are {', '.join(KINDS)}")
    if target is None:
        return functools.partial(register, kind, name=name)
    _add(kind, target, name)
    return target


def load_plugin(file: Path | str) -> ModuleType:
    """Import a file of your own, whose `register` calls make its parts known. Raises ConfigError.

    A file that has not changed is imported once.
    """
    path = Path(file).resolve()
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(f"plugin = {str(file)!r}: allowed is a Python file ({error})") from None
    if path in _plugins and _plugins[path][0] == text:
        return _plugins[path][1]
    name = f"mixnn_plugin_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin = {str(file)!r}: allowed is a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes look for their module there
    try:
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:  # whatever the file raises
        raise ConfigError(
            f"plugin = {str(file)!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    _plugins[path] = text, module
    return module


def names(kind: str) -> list[str]:
    """The names of a kind: the built-in ones, then those registered in this process."""
    return [*BUILT_IN[kind], *(name for of, name in _newest if of == kind)]


def is_custom(value: object) -> bool:
    """Whether the value of a setting names a part of one's own."""
    return isinstance(value, str) and CUSTOM.fullmatch(value) is not None


def is_pretrained(value: object) -> bool:
    """Whether the value of the setting network names a network of timm."""
    return isinstance(value, str) and PRETRAINED.fullmatch(value) is not None


def in_words(value: Any) -> str:
    """The value of a setting for people: "custom: focal" for custom:focal@0123456789ab."""
    found = CUSTOM.fullmatch(value) if isinstance(value, str) else None
    return f"custom: {found[1]}" if found else str(value)


def as_setting(kind: str, value: Any) -> Any:
    """The value as a setting stores it: a part itself and a name of one become custom:NAME@HASH.

    Whatever names no part is returned as it is. Raises ConfigError as `register` does.
    """
    if not isinstance(value, str):
        return _add(kind, value, None).setting if callable(value) else value
    if value in BUILT_IN[kind] or is_custom(value):
        return value
    part = find(kind, value.removeprefix("custom:"))
    return value if part is None else part.setting


def find(kind: str, name: str) -> Part | None:
    """The part of one's own of this name: the newest registered one, or that of an entry point."""
    if (kind, name) not in _newest and re.fullmatch(NAME, name):
        for entry in entry_points(group=f"{GROUP}.{kind}", name=name):
            _add(kind, entry.load(), name)
    return _newest.get((kind, name))


def function(kind: str, value: str) -> Callable[..., Any]:
    """The part that a setting names, which may be called with all arguments and options of KINDS.

    Options that it has no parameter for are left out. Raises ConfigError where the code of a part
    of one's own is not known here, or is other code than the setting names.
    """
    return _callable(kind, _target(kind, value))


def require(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the code of every part that these settings name is known here."""
    for setting, kind in KIND_OF.items():
        if is_custom(settings[setting]):
            try:
                _target(kind, settings[setting])
            except ConfigError as error:
                raise ConfigError(f"{setting} = {settings[setting]!r}: {error}") from None


def used(settings: Mapping[str, Any]) -> list[tuple[str, Part]]:
    """The parts of one's own that settings name, and known here, each with its setting."""
    named = [(s, _parts.get((kind, settings[s]))) for s, kind in KIND_OF.items()]
    named.append(("dataset", _newest.get(("datasets", settings["dataset"].partition(":")[0]))))
    return [(setting, part) for setting, part in named if part is not None]


def origins(settings: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """What `restore` needs to find the parts of these settings in another process.

    Raises ConfigError for a part that exists in this process alone, as one of a notebook does.
    """
    found = []
    for setting, part in used(settings):
        if not part.module:
            raise ConfigError(
                f"{setting} = {in_words(part.setting)!r}: it is defined in this process alone, and "
                "the runs of a sweep have processes of their own: put it into a file and load that "
                "with load_plugin (--plugin FILE.py)"
            )
        found.append((part.kind, part.name, part.module, part.path))
    return found


def restore(parts: Iterable[tuple[str, str, str, str]]) -> None:
    """Import and register parts by their `origins`. Raises ConfigError."""
    for kind, name, module, path in parts:
        file = Path(module)
        home: Any = load_plugin(file) if file.suffix == ".py" else import_module(module)
        if path and (kind, name) not in _newest:
            register(kind, functools.reduce(getattr, path.split("."), home), name=name)


def source_of(kind: str, name: str, target: Any) -> str:
    """The text of a part and of what it uses from its own file: functions, classes, constants.

    Raises ConfigError where it cannot be read or has more than MOST_SOURCE characters.
    """
    texts: dict[str, str] = {}
    waiting = [target]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, functools.partial):
            texts[f"partial {name}"] = f"# partial: {item.args!r}, {item.keywords!r}"
            waiting.insert(0, item.func)
            continue
        code = item if isinstance(item, (FunctionType, type)) else type(item)
        if code is not item:
            texts[f"instance {name}"] = textwrap.indent(repr(item), "# ")
        text = _text(code)
        if text is None:
            raise ConfigError(
                f"{kind}: the source of {name} cannot be read: define it by def or class in a file "
                "or in a cell of a notebook"
            )
        texts.setdefault(code.__qualname__, text)
        for label, value in _uses(code).items():
            if isinstance(value, (FunctionType, type)):
                if value.__module__ == code.__module__:
                    waiting.append(value)
            elif _is_constant(value):
                texts.setdefault(label, f"{label} = {value!r}")
    joined = "\n\n".join(texts.values()) + "\n"
    if len(joined) > MOST_SOURCE:
        raise ConfigError(
            f"{kind}: {name} has {len(joined):,} characters: {MOST_SOURCE:,} are most"
        )
    return joined


def _add(kind: str, target: Any, name: str | None) -> Part:
    name = name or getattr(target, "__name__", type(target).__name__).strip("<>")
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"{kind}: name = {name!r}: allowed are up to 60 letters, digits, _, . and -"
        )
    if name in BUILT_IN[kind]:
        raise ConfigError(f"{kind}: name = {name!r}: allowed is a name that is not built in")
    if not callable(target):
        raise ConfigError(f"{kind}: {name} is no function, class or module but {target!r:.60}")
    _check_parameters(kind, name, target)
    source = source_of(kind, name, target)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    part = Part(kind, name, target, source, digest, *_home(target))
    _parts[kind, part.setting] = _newest[kind, name] = part
    return part


def _target(kind: str, value: str) -> Any:
    if value in BUILT_IN[kind]:
        module, _, attribute = BUILT_IN[kind][value].partition(":")
        return getattr(import_module(module), attribute)
    if kind == "networks" and is_pretrained(value):
        fine_tuned = import_module("engine.data.fine_tuning").fine_tuned
        return functools.partial(fine_tuned, name=value)
    part, named = _parts.get((kind, value)), CUSTOM.fullmatch(value)
    if part is None and named:
        newest = find(kind, named[1])
        if newest is not None and newest.setting != value:
            raise ConfigError(
                f"the code of {named[1]!r} has changed: it is {newest.digest} now, and a run "
                "continues with the same code only"
            )
        part = newest
    if part is None and not named:
        raise ConfigError(f"{kind}: {value!r}: allowed are {', '.join(names(kind))}")
    if part is None:
        raise ConfigError(
            f"the code of {in_words(value)!r} is not loaded: pass the file that registers it "
            "(--plugin FILE.py on the command line, engine.load_plugin in Python)"
        )
    return part.target


@functools.lru_cache(256)
def _callable(kind: str, target: Any) -> Callable[..., Any]:
    if kind == "networks" and not isinstance(target, (FunctionType, type, functools.partial)):
        import copy  # an instance of a module: each run trains a copy of it

        return lambda *_, **__: copy.deepcopy(target)
    _, others = _parameters(kind, target)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in others):
        return target
    wanted = {parameter.name for parameter in others} & set(KINDS[kind].options)

    def call(*arguments: Any, **options: Any) -> Any:
        return target(*arguments, **{n: v for n, v in options.items() if n in wanted})

    return call


def _parameters(kind: str, target: Any) -> tuple[int, list[inspect.Parameter]]:
    """How many of the kind's arguments a part takes by position, and its other parameters."""
    try:
        every = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # written in C
        return len(KINDS[kind].arguments), []
    most = len(KINDS[kind].arguments)
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    n = sum(parameter.kind in by_position for parameter in every[:most])
    others = every[n:]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in others):
        n = most
    return n, others


def _check_parameters(kind: str, name: str, target: Any) -> None:
    """Raise ConfigError for a part that does not take what it gets, or asks for more."""
    if kind == "networks" and not isinstance(target, (FunctionType, type, functools.partial)):
        return
    of, (n, others) = KINDS[kind], _parameters(kind, target)
    gets = ", ".join(of.arguments) + (" and, by name, " if of.arguments else "")
    gets += ", ".join(of.options)
    if n < len(of.arguments):
        raise ConfigError(f"{kind}: {name} takes {n} arguments: it gets {gets}")
    for parameter in others:
        variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        passed = parameter.name in of.options and parameter.kind is not parameter.POSITIONAL_ONLY
        if parameter.default is parameter.empty and not variable and not passed:
            raise ConfigError(f"{kind}: {name} needs {parameter.name!r}: it gets {gets}")


def _home(target: Any) -> tuple[str, str]:
    """(module, path): where another process finds the target; ("", "") where it cannot."""
    path = getattr(target, "__qualname__", "")
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None or "<" in path:
        return "", ""
    in_file = module.__name__ == "__main__" or module.__name__.startswith("mixnn_plugin_")
    return (str(Path(file).resolve()) if in_file else module.__name__), path


def _text(code: Any) -> str | None:
    """The source of a function or class; None where it is not known or not its own alone."""
    try:
        if isinstance(code, FunctionType) and code.__code__.co_filename in ("<string>", "<stdin>"):
            return None  # inspect would find lines of another file
        text = textwrap.dedent(inspect.getsource(code)).strip()
    except (OSError, TypeError):
        return None
    if code.__name__ != "<lambda>":
        return text
    n_lambdas = 0
    with contextlib.suppress(tokenize.TokenError, SyntaxError):  # a part of a statement
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            n_lambdas += token.string == "lambda"
    return text if n_lambdas == 1 else None


def _uses(code: Any) -> dict[str, Any]:
    """Names of its own file that a function or class refers to, with their values."""
    functions = [code] if isinstance(code, FunctionType) else list(vars(code).values())
    found: dict[str, Any] = {}
    for function in functions:
        function = inspect.unwrap(function) if callable(function) else function
        if isinstance(function, FunctionType):
            of = inspect.getclosurevars(function)
            found |= {**of.globals, **of.nonlocals}
    bases = code.__bases__ if isinstance(code, type) else ()
    return dict(sorted(found.items())) | {base.__name__: base for base in bases}


def _is_constant(value: Any) -> bool:
    try:
        ast.literal_eval(repr(value))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return True
