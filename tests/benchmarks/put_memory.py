"""What stays in the server's memory of files that no page waits for: python put_memory.py

Opens a session on a page without an uploader, sends 8 files of 60 MB into it, and says the answers
and the resident memory before and after. --page your_data: on a page with an uploader.
"""

import argparse
import asyncio
import http.client
import os
import re
import sys
import tempfile
from pathlib import Path

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.browser.conftest import Server, serve  # noqa: E402

MB = 1_000_000


def put(server: Server, session: str, token: str, number: int) -> int:
    """Send 60 MB; returns the answer's status, 0 where the connection was closed before."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\n'
    body = part + os.urandom(60 * MB) + b"\r\n--x--\r\n"
    host = server.url.removeprefix("http://")
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "X-Xsrftoken": token,
        "Cookie": f"_streamlit_xsrf={token}",
        "Origin": server.url,
    }
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        path = f"/_stcore/upload_file/{session}/file{number}"
        connection.request("PUT", path, body, headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def token_of(server: Server) -> str:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", "/_stcore/health")
    cookies = connection.getresponse().getheader("Set-Cookie") or ""
    found = re.search(r"_streamlit_xsrf=([^;]+)", cookies)
    return found.group(1) if found else ""


async def measure(server: Server, page: str) -> None:
    token = token_of(server)
    address = server.url.replace("http", "ws", 1) + "/_stcore/stream"
    headers = {"Cookie": f"_streamlit_xsrf={token}", "Origin": server.url}
    async with connect(
        address, subprotocols=["streamlit"], max_size=None, additional_headers=headers
    ) as socket:
        request = BackMsg()
        request.rerun_script.query_string = ""
        request.rerun_script.page_name = page
        await socket.send(request.SerializeToString())
        session = ""
        while True:
            message = ForwardMsg()
            message.ParseFromString(await socket.recv())
            if message.HasField("new_session"):
                session = message.new_session.initialize.session_id
            if message.HasField("script_finished"):
                break
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        answers = [await asyncio.to_thread(put, server, session, token, n) for n in range(8)]
        after = process.memory_info().rss
        print(f"answers {answers}; RSS {before / MB:.0f} MB before, {after / MB:.0f} MB after")
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.request("GET", "/_stcore/metrics")
    print(f"/_stcore/metrics: {len(connection.getresponse().read())} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", default="", help="the page that is open, such as your_data")
    page = parser.parse_args().page
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        root.mkdir()
        server = serve(root)
        try:
            asyncio.run(measure(server, page))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
