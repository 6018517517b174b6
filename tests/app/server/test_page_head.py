"""The head of HTML pages: the style is there before anything is drawn; nothing else changes."""

import asyncio
import gzip

import pytest

from app.server.page_head import PageHead

PAGE = b"<html><head><title>x</title></head><body></body></html>"


@pytest.fixture
def head(tmp_path):
    (tmp_path / "a.css").write_text("p { color: red }")
    (tmp_path / "a.js").write_text("let a = 1;")

    def wrap(kind: bytes, body: bytes, parts: int = 1):
        async def app(scope, receive, send):
            seen.update(dict(scope["headers"]))
            compress = b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")
            whole = gzip.compress(body) if compress else body
            headers = [(b"content-type", kind), (b"content-length", str(len(whole)).encode())]
            headers.append((b"etag", b"1"))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            size = -(-len(whole) // parts)
            for i in range(parts):
                chunk = whole[i * size : (i + 1) * size]
                more = i + 1 < parts
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

        return PageHead(app, tmp_path / "a.css", tmp_path / "a.js")

    seen: dict = {}
    wrap.seen = seen
    return wrap


def ask(app, accept: bytes, kind: str = "http") -> tuple[dict, bytes]:
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"accept", accept), (b"accept-encoding", b"gzip"), (b"if-none-match", b"1")]
    asyncio.run(app({"type": kind, "method": "GET", "headers": headers}, None, send))
    body = b"".join(message["body"] for message in sent[1:])
    return dict(sent[0]["headers"]), body


@pytest.mark.parametrize("parts", [1, 3])
def test_a_page_gets_style_and_script(head, parts):
    headers, body = ask(head(b"text/html; charset=utf-8", PAGE, parts), b"text/html,*/*")
    assert body.count(b"p { color: red }") == body.count(b"let a = 1;") == 1
    assert body.index(b"</script>") < body.index(b"</head>")
    assert int(headers[b"content-length"]) == len(body)
    assert b"etag" not in headers  # it would be that of the page without the style
    assert b"if-none-match" not in head.seen


def test_other_responses_are_unchanged(head):
    headers, body = ask(head(b"text/css", b"</head>"), b"text/html,*/*")
    assert (body, headers[b"etag"]) == (b"</head>", b"1")
    headers, body = ask(head(b"text/html", PAGE), b"*/*")
    assert (gzip.decompress(body), headers[b"etag"]) == (PAGE, b"1")
