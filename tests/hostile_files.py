"""Uploads as a stranger could make them: several hundred cases, built when asked for."""

import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

SMALL = "small"  # builds and runs in a moment
BOMB = "bomb"  # must run under the limits of the other process


@dataclass(frozen=True)
class Case:
    """One upload. outcome: "taken", "refused" or "either"; reason: part of the refusal or notes."""

    name: str
    make: Callable[[], bytes]
    outcome: str = "refused"
    reason: str = ""
    size: str = SMALL


def cases(marker: str = "/nowhere") -> Iterator[Case]:
    """All of them. marker: a file that PostScript would write if anything ran it."""
    yield from _containers()
    yield from _names()
    yield from _headers()
    yield from _types()
    yield from _shapes_and_values()
    yield from _class_names()
    yield from _images(marker)
    yield from _tables()
    yield from _bombs()


def png(value: int = 0, side: int = 8) -> bytes:
    return saved(Image.fromarray(np.full((side, side), value, np.uint8)), "PNG")


def saved(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def animation(n: int) -> bytes:
    """A PNG of n frames, the first one black."""
    frames = [Image.fromarray(np.full((8, 8), 9 * i, np.uint8)) for i in range(n)]
    return saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, method
            archive.writestr(info, content)
    return out.getvalue()


def pets(**more: bytes) -> dict[str, bytes]:
    good = {
        f"{kind}/{i}.png": png(40 * i + c)
        for c, kind in enumerate(("cat", "dog"))
        for i in range(3)
    }
    return good | more


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def claimed(header: str, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy file with a header of one's own."""
    text = header.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + content


def described(descr: str, shape: str, fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}"


def arrays(raw: dict[str, bytes] | None = None, **changes) -> bytes:
    """A good npz of 6 images in 3 classes, with changes; None leaves an array out."""
    made: dict = dict(
        train_images=np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8),
        train_labels=np.array([0, 1, 0, 1, 2, 2], np.uint8),
    )
    files = {f"{k}.npy": npy(v) for k, v in (made | changes).items() if v is not None}
    return zipped(files | (raw or {}))


def _containers() -> Iterator[Case]:
    good, numbers = zipped(pets()), arrays()
    yield Case("empty file", lambda: b"", reason="empty")
    for name, raw in {"gif": b"GIF89a" * 99, "rar": b"Rar!\x1a\x07" * 9, "text": b"hello"}.items():
        yield Case(f"no zip: {name}", lambda raw=raw: raw, reason="neither")
    yield Case("zip without a file", lambda: zipped({}), reason="holds no")
    for kind, whole in {"images": good, "arrays": numbers}.items():
        for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
            cut = int(len(whole) * share)
            yield Case(f"{kind} cut at {share}", lambda w=whole, c=cut: w[:c])
            yield Case(f"{kind} beginning at {share}", lambda w=whole, c=cut: w[c:], "either")
        for seed in range(20):
            yield Case(
                f"{kind}, bytes changed {seed}", lambda w=whole, s=seed: changed(w, s), "either"
            )
        for prefix in (b"x" * 64, b"#!/bin/sh\n"):
            yield Case(f"{kind} behind {prefix[:4]}", lambda w=whole, p=prefix: p + w, "taken")
        yield Case(f"{kind}, more behind it", lambda w=whole: w + b"x" * 100, "either")
        yield Case(f"{kind}, encrypted", lambda w=whole: _flag(w, 1), reason="password")
        for method in (12, 14):
            files = pets() if kind == "images" else {"train_images.npy": npy(np.zeros(3))}
            yield Case(
                f"{kind}, method {method}",
                lambda f=files, m=method: zipped(f, m),
                reason="stored (0)",
            )
        yield Case(f"{kind}, method 99", lambda w=whole: _method(w, 99), reason="stored (0)")
        for size in (1 << 60, (1 << 32) - 2, 5 << 30):
            yield Case(
                f"{kind}, claims {size} bytes",
                lambda w=whole, s=size: _claims(w, s),
                reason="MB, more than",
            )
    yield Case("member without a name", lambda: _nameless(good), reason="without a name")
    yield Case("twice the same image", lambda: _twice("cat/0.png", pets()), reason="twice")
    yield Case("twice the same array", lambda: _twice("train_labels.npy", {
        "train_images.npy": npy(np.zeros((6, 8, 8), np.uint8)),
        "train_labels.npy": npy(np.arange(6))}), reason="twice")  # fmt: skip
    for mode, what in ((0o120777, "link"), (0o010777, "plain"), (0o020777, "plain")):
        yield Case(f"mode {mode:o}", lambda m=mode: _mode(m), reason=what)
    yield Case(
        "zip in a zip", lambda: zipped({"cat/a.zip": good, "dog/b.zip": good}), reason="holds no"
    )
    yield Case(
        "array that is none",
        lambda: zipped({"train_images.npy": b"x" * 50}),
        reason="not an array that NumPy wrote",
    )


def _names() -> Iterator[Case]:
    outside = [
        "../x.png", "cat/../../x.png", "..\\x.png", "cat\\..\\..\\x.png", "/x.png", "//x/y.png",
        "C:\\x.png", "c:/x.png", "\\\\server\\x.png", "cat/../x.png", "../../../../../../etc/x.png",
        "train/../../x.png", "./../x.png", "cat/./../../x.png", "..", "cat/..",
    ]  # fmt: skip
    for name in outside:
        yield Case(f"path {name}", lambda n=name: zipped(pets(**{n: png()})), reason=" in it ")
    for mark in "\x00\x01\n\r\t\x1b\x7f\x85\u2028\u2029\u202e\u202d\u2066\u2067\u2069":
        for name in (f"c{mark}at/1.png", f"cat/1{mark}.png"):
            yield Case(
                f"character {ord(mark):04x} in {'class' if 'c' + mark in name else 'file'}",
                lambda n=name: zipped(pets(**{n: png()})),
                "either" if mark == "\x00" else "refused",
            )
    # what strip() would turn into a path of its own
    for kind in (" .. ", ". ", " .", "\xa0..\xa0", "\u3000..", " .git", "...", " "):
        yield Case(
            f"class {kind!r}",
            lambda k=kind: zipped(pets(**{f"{k}/1.png": png()})),
            "taken" if kind[0] == "." else "refused",
        )
    yield Case("class of 201 characters", lambda: zipped(pets(**{"x" * 201 + "/1.png": png()})))
    yield Case("file of 250 bytes", lambda: zipped(pets(**{"cat/" + "x" * 250 + ".png": png()})))
    yield Case("deep path", lambda: zipped(pets(**{"a/" * 400 + "x.png": png()})), "taken")
    yield Case(
        "classes alike",
        lambda: zipped({"caf\u00e9/1.png": png(), "cafe\u0301/2.png": png(1), "dog/1.png": png(2)}),
        "taken",
    )
    yield Case(
        "classes but for a space",
        lambda: zipped(pets(**{"cat /1.png": png(9)})),
        "taken",
    )
    for kind in ("=1+1", "@SUM(A1)", "<b>x</b>", "[a](http://x)", "Käse", "🐈", "$x$", "a;b",
                 "NA", "con", "-rf", "~", "$(id)", "`id`", "%00", "..a", "a..", "train",
                 "x y"):  # fmt: skip
        yield Case(
            f"class {kind}",
            lambda k=kind: zipped(pets(**{f"{k}/1.png": png(7)})),
            "either" if kind == "train" else "taken",
        )


def _headers() -> Iterator[Case]:
    shapes = ["(True,)", "(-1,)", "(-6, 8, 8)", "(2**64, 0)", f"({2**64}, 0)", f"({2**63},)",
              f"({2**40}, {2**40})", "(6.0, 8, 8)", "('6', 8, 8)", "6", "[6, 8, 8]", "None", "()",
              "(6, 8, 8, " + "1, " * 40 + ")", "(6, (8,), 8)", "(6, 8, 9)", "(6, 8, 7)",
              "(0, 8, 8)", "(6, False, 8)", "(10**9, 8, 8)", f"(1, {'9' * 4000})"]  # fmt: skip
    for shape in shapes:
        raw = claimed(described("'|u1'", shape), bytes(6 * 64))
        yield Case(f"shape {shape[:40]}", lambda r=raw: arrays({"train_images.npy": r}))
    descrs = ["'|O'", "'O8'", "[]", "[('a', '|u1')]", "[('a', 'O')]", "'|V0'", "'<U0'", "'|S0'",
              "'x9'", "''", "None", "7", "('|u1', (8,))", "'|u1,|u1'", "'<f3'", "'<i16'",
              "{'names': ['a'], 'formats': ['u1']}", "[('a', [('b', 'O')])]", "'<M8[ns]'",
              "'<c8'", "'>f2'", "'datetime64'", "b'|u1'", "'|u1' * 9"]  # fmt: skip
    for descr, key in itertools.product(descrs, ("train_images", "train_labels", "extra")):
        raw = claimed(
            described(descr, "(6, 8, 8)" if key != "train_labels" else "(6,)"), bytes(384)
        )
        yield Case(
            f"type {descr[:30]} of {key}", lambda r=raw, k=key: arrays({f"{k}.npy": r}), "either"
        )
    texts = {
        "5,000 minus signs": "-" * 5000 + "1", "9,000 brackets": "[" * 9000,
        "90,000 brackets": "(" * 60_000, "empty": "", "a list": "[1, 2]", "no dict": "1",
        "code": "__import__('os').system('id')", "NUL": "\x00", "no shape": "{'descr': '|u1'}",
        "one key more": described("'|u1'", "(6,)")[:-1] + ", 'x': 1}",
        "fortran 3": described("'|u1'", "(6,)", "3"), "9,000 spaces": " " * 9000,
        "name": "{'descr': descr}", "bytes": "\xff\xfe\xfa", "indent": "  \n\t\n {",
        "long string": "'" + "x" * 20_000 + "'", "number": "{1: " + "9" * 5000 + "}",
    }  # fmt: skip
    for name, text in texts.items():
        raw = claimed(text, bytes(384))
        yield Case(
            f"header: {name}",
            lambda r=raw: arrays({"train_images.npy": r}),
            reason="not an array that NumPy wrote",
        )
    for version in ((0, 0), (3, 0), (9, 9), (255, 255)):
        raw = claimed(described("'|u1'", "(6, 8, 8)"), bytes(384), version)
        yield Case(f"version {version}", lambda r=raw: arrays({"train_images.npy": r}))
    whole = npy(np.zeros((6, 8, 8), np.uint8))
    for cut in (0, 3, 6, 8, 10, 40, 127, 128, 200, len(whole) - 1):
        yield Case(f"array cut at {cut}", lambda c=cut: arrays({"train_images.npy": whole[:c]}))
    yield Case("array with more behind", lambda: arrays({"train_images.npy": whole + b"x"}))


def _types() -> Iterator[Case]:
    good = {"?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", ">u2", ">f4"}
    texts = {"U1", "S1", "U0", "S0"}
    for code in [*sorted(good | texts), "F", "D", "M8[s]", "m8[s]", "V8"]:
        outcome = "taken" if code in good else "refused"
        yield Case(
            f"images of {code}",
            lambda c=code: arrays(train_images=(np.arange(384).reshape(6, 8, 8) % 2).astype(c)),
            outcome,
        )
        if code != "?":
            yield Case(
                f"labels of {code}",
                lambda c=code: arrays(train_labels=np.array([0, 1, 0, 1, 2, 2]).astype(c)),
                "taken" if code in texts else outcome,
            )
    by_columns = np.asfortranarray(np.arange(384, dtype=np.uint8).reshape(6, 8, 8))
    yield Case("images by columns", lambda: arrays(train_images=by_columns), "taken")
    for key in ("train_images", "train_labels", "class_names", "extra"):
        yield Case(
            f"pickle in {key}",
            lambda k=key: arrays(**{k: np.array([print, None])}),
            reason="pickle",
        )


def _shapes_and_values() -> Iterator[Case]:
    for shape in ((), (6,), (6, 8), (6, 8, 8, 2), (6, 8, 8, 4), (6, 8, 8, 0), (6, 8, 8, 1, 1),
                  (0, 8, 8), (6, 0, 8), (6, 8, 0), (1, 8, 8), (5, 8, 8), (7, 8, 8), (6, 4, 4),
                  (6, 300, 8), (6, 8, 300), (6, 1, 8, 8), (6, 3, 8, 8)):  # fmt: skip
        yield Case(f"images {shape}", lambda s=shape: arrays(train_images=np.zeros(s, np.uint8)))
    for shape in ((6, 8, 8, 1), (6, 8, 8, 3)):
        yield Case(
            f"images {shape}", lambda s=shape: arrays(train_images=np.zeros(s, np.uint8)), "taken"
        )
    for shape in ((), (5,), (7,), (6, 2), (6, 1, 1), (6, 0), (0,), (2, 3), (1, 6)):
        yield Case(f"labels {shape}", lambda s=shape: arrays(train_labels=np.zeros(s, np.uint8)))
    labels = {
        "2^63": np.array([0, 1, 2, 1, 0, 2**63], np.uint64),
        "-1": np.array([0, 1, 2, 0, 1, -1]),
        "least": np.array([0, 1, 2, 0, 1, -(2**63)]),
        "1e300": np.array([0, 1, 2, 0, 1, 1e300]),
        "inf": np.array([0, 1, 2, 0, 1, np.inf]),
        "nan": np.array([0, 1, 2, 0, 1, np.nan]),
        "half": np.array([0, 1, 2, 0, 1, 0.5]),
        "one class": np.zeros(6, int),
        "a million": np.array([0, 1, 2, 0, 1, 10**6]),
        "2^31": np.array([0, 1, 2, 0, 1, 2**31]),
    }
    for name, values in labels.items():
        yield Case(
            f"label {name}",
            lambda v=values: arrays(train_labels=v),
            "taken" if name == "a million" else "refused",
            "label" if name != "one class" else "two classes",
        )
        yield Case(
            f"true label {name}",
            lambda v=values: arrays(train_true_labels=v),
            "either" if name == "one class" else "taken" if name == "a million" else "refused",
        )
        yield Case(
            f"test label {name}",
            lambda v=values: arrays(test_images=np.zeros((6, 8, 8), np.uint8), test_labels=v),
            "either",
        )
    for value in (np.nan, np.inf, -np.inf, -0.1, 1.1, 1e300, 255.0):
        yield Case(
            f"image value {value}",
            lambda v=value: arrays(train_images=np.full((6, 8, 8), v)),
            reason="within",
        )
    for value in (-1, 256, 2**62):
        yield Case(
            f"image value {value}",
            lambda v=value: arrays(train_images=np.full((6, 8, 8), v)),
            reason="within",
        )
    for key in ("train_images", "train_labels"):
        yield Case(f"no {key}", lambda k=key: arrays(**{k: None}), reason=f"no {key}")
    yield Case("test images only", lambda: arrays(test_images=np.zeros((6, 8, 8), np.uint8)))
    yield Case(
        "other test size",
        lambda: arrays(test_images=np.zeros((2, 9, 9), np.uint8), test_labels=np.zeros(2, int)),
        reason="must be",
    )


def _class_names() -> Iterator[Case]:
    yield Case(
        "class names in UTF-8 bytes",
        lambda: arrays(class_names=np.array(["Käse".encode(), b"b", b"c"])),
        "taken",
    )
    yield Case("class names as numbers", lambda: arrays(class_names=np.array([7, 8, 9])), "taken")
    latin = np.array(["Käse".encode("latin1"), b"b", b"c"])
    yield Case("bytes that are no UTF-8", lambda: arrays(class_names=latin), reason="not UTF-8")
    bad = {
        "empty": "", "spaces": "   ", "long": "x" * 201, "5 MB": "x" * 1_300_000,
        "surrogate": "a\ud800", "bidi": "a\u202eb", "newline": "a\nb", "escape": "\x1b[31m",
        "same": "b", "same but for a space": " b", "line separator": "a\u2028b",
    }  # fmt: skip
    for name, text in bad.items():
        raw = claimed(
            described(f"'<U{len(text) or 1}'", "(3,)"),
            b"".join(
                t.ljust(len(text) or 1, "\0").encode("utf-32-le", "surrogatepass")
                for t in (text, "b", "c")
            ),
        )
        yield Case(
            f"class name: {name}", lambda r=raw: arrays({"class_names.npy": r}), reason="class"
        )
    raw = claimed(described("'<U1'", "(3,)"), struct.pack("<3I", 0x110000, 98, 99))
    yield Case("class name beyond Unicode", lambda r=raw: arrays({"class_names.npy": r}))
    for code in ("<U0", "|S0", "|V0", "|V4", "<f8", "?", "<c8", "<M8[s]"):
        n_bytes = 3 * (np.dtype(code).itemsize if code[1:] not in ("U0", "S0", "V0") else 0)
        raw = claimed(described(f"'{code}'", "(3,)"), bytes(n_bytes))
        yield Case(
            f"class names of {code}",
            lambda r=raw: arrays({"class_names.npy": r}),
            reason="class_names",
        )
    for shape in ((2,), (0,), (3, 2), (), (2, 3, 1)):
        yield Case(f"class names {shape}", lambda s=shape: arrays(class_names=np.full(s, "a")))
    yield Case(
        "too many class names",
        lambda: arrays(class_names=np.array([str(i) for i in range(1001)])),
        reason="1,000 classes",
    )


def _images(marker: str) -> Iterator[Case]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    for form in ("GIF", "BMP", "TIFF", "WEBP", "AVIF"):
        yield Case(
            f"{form} called .png",
            lambda f=form: zipped(pets(**{"cat/good.png": _other(image, f)})),
            "taken",
            "Resized 1 of 7 images",
        )
    for form in ("ICO", "PPM", "TGA", "PCX", "SGI", "EPS", "PDF", "DDS", "IM", "MSP", "XBM",
                 "JPEG2000", "ICNS", "BLP", "QOI"):  # fmt: skip
        yield Case(
            f"{form} called .png",
            lambda f=form: zipped(pets(**{"cat/bad.png": _other(image, f)})),
            "taken",
            "cat/bad.png is no JPEG, PNG",
        )
    script = eps(marker)
    for suffix in ("png", "jpg", "JPEG"):
        yield Case(
            f"PostScript called .{suffix}",
            lambda s=suffix: zipped(pets(**{f"cat/bad.{s}": script})),
            "taken",
            "is no JPEG, PNG",
        )
    yield Case(
        "PostScript only",
        lambda: zipped({f"{k}/1.png": script for k in "ab"}),
        reason="no readable",
    )
    for form, mode in itertools.product(
        ("PNG", "JPEG"), ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK")
    ):
        if (
            form == "JPEG"
            and mode in ("LA", "P", "RGBA", "I;16")
            or (form, mode) == ("PNG", "CMYK")
        ):
            continue
        yield Case(f"{form} {mode}", lambda f=form, m=mode: zipped(pets(**{
            "cat/x.jpg": saved(image.convert("L").convert(m) if m == "I;16" else image.convert(m),
                               f)})), "taken")  # fmt: skip
    for form in ("PNG", "JPEG"):
        whole = saved(image, form)
        for cut in (1, 8, 20, 33, 60, len(whole) // 2, len(whole) - 4):
            yield Case(
                f"{form} cut at {cut}",
                lambda w=whole, c=cut: zipped(pets(**{"cat/bad.png": w[:c]})),
                "either",
            )
        for seed in range(12):
            yield Case(
                f"{form}, bytes changed {seed}",
                lambda w=whole, s=seed: zipped(pets(**{"cat/bad.png": changed(w, s)})),
                "either",
            )
    for width, height in ((60_000, 60_000), (2**31 - 1, 2**31 - 1), (9000, 9000), (31_000, 8),
                          (0, 8), (8, 0), (30_000, 2600)):  # fmt: skip
        yield Case(
            f"claims {width} x {height}",
            lambda w=width, h=height: zipped(pets(**{"cat/bad.png": png_header(w, h)})),
            "taken",
            "cat/bad.png",
        )
    for n in (2, 11):
        yield Case(
            f"{n} frames",
            lambda n=n: zipped(pets(**{"cat/x.png": animation(n)})),
            "taken",
            "frames; allowed" if n > 10 else "",
        )
    for orientation in (*range(10), 65_535, "left"):
        yield Case(
            f"orientation {orientation}",
            lambda o=orientation: zipped(
                pets(**{"cat/x.jpg": saved(image, "JPEG", exif=_exif(o))})
            ),
            "taken",
        )
    for kind in (b"zTXt", b"iCCP", b"tEXt", b"eXIf", b"acTL", b"PLTE", b"tRNS", b"iTXt"):
        yield Case(
            f"chunk {kind.decode()} of zeros",
            lambda k=kind: zipped(
                pets(
                    **{"cat/x.png": _with_chunk(png(), k, b"a\0\0" + zlib.compress(bytes(1 << 22)))}
                )
            ),
            "either",
        )
    yield Case(
        "no image in any class",
        lambda: zipped({"a/1.png": b"x", "b/1.png": b""}),
        reason="no readable",
    )
    yield Case("images without a class", lambda: zipped({"1.png": png()}), reason="class folder")


def _tables() -> Iterator[Case]:
    """Images without class folders beside a table of labels."""
    images = {f"images/{i}.png": png(9 * i) for i in range(3)}
    good = b"path,label\n0.png,a\n1.png,b\n2.png,b\n"
    for name, raw in {
        "table.csv": good,
        "deep/t.tsv": good.replace(b",", b"\t"),
        "t.jsonl": b"".join(b'{"path": "%d.png", "label": %d}\n' % (i, i % 2) for i in range(3)),
    }.items():
        yield Case(
            f"table {name}", lambda n=name, r=raw: zipped(images | {n: r}), "taken", "Labels are"
        )
    bad = {
        "NUL": good.replace(b"0.png", b"0\0.png").replace(b"1.png", b"\0"),
        "class ..": good.replace(b",b", b",.."),
        "class with /": good.replace(b",b", b",../../b"),
        "class with \\": good.replace(b",b", b",..\\b"),
        "class with a bell": good.replace(b",b", b",b\7"),
        "long class": good.replace(b",b", b"," + b"b" * 300),
        "outside": b"path,label\n/etc/passwd,a\n../../x.png,b\n",
        "long cell": good + b"x" * 200_000 + b",a\n",
        "quote": good + b'"x,a\n',
        "no text": b"\xff\xfe" + good,
        "11 MB": good + b"x,a\n" * 2_800_000,
        "part": b"path,label,split\n0.png,a,x\n",
    }
    for name, raw in bad.items():
        yield Case(f"table: {name}", lambda r=raw: zipped(images | {"t.csv": r}))
    for name, line in {
        "deep": b"[" * 100_000,
        "long number": b'{"path": "0.png", "label": ' + b"9" * 5000 + b"}",
        "label {}": b'{"path": "0.png", "label": {"a": 1}}',
        "path []": b'{"path": [], "label": "a"}',
    }.items():
        yield Case(f"line: {name}", lambda r=line: zipped(images | {"t.jsonl": r}))


def _bombs() -> Iterator[Case]:
    def zeros(name: str, descr: str, shape: str, n_bytes: int) -> bytes:
        return arrays({f"{name}.npy": claimed(described(descr, shape), bytes(n_bytes))})

    made = {
        "2*10^8 names of <U0": ("class_names", "'<U0'", f"({2 * 10**8},)", 0),
        "3*10^9 names of |S0": ("class_names", "'|S0'", f"({3 * 10**9},)", 0),
        "3*10^9 names of |V0": ("class_names", "'|V0'", f"({3 * 10**9},)", 0),
        "images of <U0": ("train_images", "'<U0'", f"({10**9}, 8, 8)", 0),
        "6*10^7 bools as names": ("class_names", "'|b1'", "(60000000,)", 60_000_000),
        "6*10^7 names of S1": ("class_names", "'|S1'", "(60000000,)", 60_000_000),
        "10^9 x 0 images": ("train_images", "'|u1'", f"({10**9}, 8, 0)", 0),
        "6*10^7 labels": ("train_labels", "'|u1'", "(60000000,)", 60_000_000),
        "bools of 60 MB": ("train_images", "'|b1'", "(3662, 128, 128)", 3662 << 14),
    }
    for name, case in made.items():
        yield Case(f"bomb: {name}", lambda c=case: zeros(*c), size=BOMB)
    yield Case(
        "bomb: zeros in a zip",
        lambda: zipped(pets(**{"cat/x.png": bytes(80 << 20)})),
        reason="zip bomb",
        size=BOMB,
    )
    yield Case("bomb: one payload, many members", lambda: _overlapping(4000), size=BOMB)
    yield Case(
        "bomb: 70,000 members",
        lambda: zipped({f"c/{i}.png": b"" for i in range(70_000)}),
        reason="70,000 files",
        size=BOMB,
    )
    yield Case(
        "bomb: 1,001 classes",
        lambda: zipped({f"{i}/1.png": b"" for i in range(1001)}),
        reason="1,001 classes",
        size=BOMB,
    )
    large = zlib.compress(bytes(6301 * 6300), 9)
    one = _png_of(6300, 6300, large)
    yield Case(
        "bomb: 5 images of 40 million pixels",
        lambda: zipped(pets(**{f"cat/x{i}.png": one for i in range(5)}), zipfile.ZIP_STORED),
        "taken",
        size=BOMB,
    )
    yield Case(
        "bomb: 110 images of 40 million pixels",
        lambda: zipped(pets(**{f"cat/x{i}.png": one for i in range(110)}), zipfile.ZIP_STORED),
        reason="million pixels in all",
        size=BOMB,
    )


def eps(marker: str) -> bytes:
    """PostScript that would write the file marker."""
    return (
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n"
        f"({marker}) (w) file dup (ran) writestring closefile\nshowpage\n%%EOF\n"
    ).encode()


def changed(whole: bytes, seed: int) -> bytes:
    """A few bytes set to others."""
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(whole, np.uint8).copy()
    raw[rng.integers(0, len(raw), 6)] = rng.integers(0, 256, 6)
    return raw.tobytes()


def _other(image: Image.Image, form: str) -> bytes:
    mode = {"MSP": "1", "XBM": "1", "BLP": "P"}.get(form, "RGB")
    try:
        return saved(image.convert(mode), form)
    except (OSError, KeyError, ValueError):  # this Pillow cannot write it
        return b"II*\0" + form.encode() * 9


def _patched(whole: bytes, central: int, local: int, raw: bytes) -> bytes:
    """Every member's field changed, at these offsets of its two headers."""
    out = bytearray(whole)
    for mark, at in ((b"PK\x01\x02", central), (b"PK\x03\x04", local)):
        start = -1
        while (start := whole.find(mark, start + 1)) >= 0:
            out[start + at : start + at + len(raw)] = raw
    return bytes(out)


def _flag(whole: bytes, flag: int) -> bytes:
    return _patched(whole, 8, 6, struct.pack("<H", flag))


def _method(whole: bytes, method: int) -> bytes:
    return _patched(whole, 10, 8, struct.pack("<H", method))


def _claims(whole: bytes, size: int) -> bytes:
    """The first member says that it unpacks to so many bytes."""
    if size < (1 << 32) - 1:
        at = whole.index(b"PK\x01\x02") + 24
        return whole[:at] + struct.pack("<I", size) + whole[at + 4 :]
    at = whole.index(b"PK\x01\x02")
    n_name = struct.unpack_from("<H", whole, at + 28)[0]
    extra = struct.pack("<HHQ", 1, 8, size)
    entry = bytearray(whole[at : at + 46 + n_name])
    struct.pack_into("<I", entry, 24, (1 << 32) - 1)
    struct.pack_into("<H", entry, 30, len(extra))
    end = whole.index(b"PK\x05\x06")
    tail = bytearray(whole[end:])
    struct.pack_into("<I", tail, 12, struct.unpack_from("<I", tail, 12)[0] + len(extra))
    return whole[:at] + bytes(entry) + extra + whole[at + 46 + n_name : end] + bytes(tail)


def _nameless(whole: bytes) -> bytes:
    out = io.BytesIO(whole)
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = ""
        archive.writestr(info, b"x")
    return out.getvalue()


def _twice(name: str, files: dict[str, bytes]) -> bytes:
    """Written under another name of the same length, so that no writer warns."""
    other = "#" * len(name)
    return zipped(files | {other: files[name]}).replace(other.encode(), name.encode())


def _mode(mode: int) -> bytes:
    out = io.BytesIO(zipped(pets()))
    with zipfile.ZipFile(out, "a") as archive:
        info = zipfile.ZipInfo("cat/link.png")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


def _overlapping(n: int) -> bytes:
    """n members that all point to the same packed megabyte of zeros."""
    whole = zipped({"cat/00000.png": bytes(1 << 20)})
    at, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    entry = whole[at:end]
    entries = b"".join(entry.replace(b"00000", b"%05d" % i) for i in range(n))
    tail = bytearray(whole[end:])
    struct.pack_into("<HHI", tail, 8, n, n, len(entries))
    return whole[:at] + entries + bytes(tail)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png_of(width: int, height: int, packed: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", packed)
        + _chunk(b"IEND", b"")
    )


def png_header(width: int, height: int) -> bytes:
    return _png_of(width, height, zlib.compress(bytes(100)))


def _with_chunk(whole: bytes, kind: bytes, content: bytes) -> bytes:
    return whole[:33] + _chunk(kind, content) + whole[33:]


def _exif(orientation: object) -> bytes:
    if isinstance(orientation, int):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return exif.tobytes()
    entry = struct.pack("<HHI4s", 0x0112, 2, 4, b"abc\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
