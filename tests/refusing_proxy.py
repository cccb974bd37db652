# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A proxy before an S3 server that refuses, as the real one does on a bad day."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Refuses = Callable[[str, str], int | str | None]
"""Method and path → None to let it pass, a status to answer with, or ``hang``."""

_CODES = {403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}
_HANG_SECONDS = 30.0


class RefusingProxy:
    """
    Hands requests on to a server unless it is told to refuse them.

    :param behind: URL of the server
    """

    def __init__(self, behind: str) -> None:
        self._address = urlsplit(behind).netloc
        self.refuses: Refuses = lambda method, path: None
        self.refused: list[str] = []
        self._over = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - as its base names them

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, answer: int | str, *, times: int | None = None, method: str | None = None) -> None:
        """
        Refuse from now on.

        :param times: so many requests, then let all pass
        :param method: only requests of this kind
        """
        self.refused.clear()

        def refuses(asked: str, path: str) -> int | str | None:
            if (method is not None and asked != method) or (times is not None and len(self.refused) >= times):
                return None
            return answer

        self.refuses = refuses

    def pass_all(self) -> None:
        self.refuses = lambda method, path: None

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        answer = self.refuses(request.command, request.path)
        if answer is not None:
            self.refused.append(f"{request.command} {request.path}")
        if isinstance(answer, str):
            self._over.wait(_HANG_SECONDS)
            request.close_connection = True
            return
        if answer is not None:
            code = _CODES[answer]
            text = f"<Error><Code>{code}</Code><Message>{code}, says the proxy</Message></Error>".encode()
            _reply(request, answer, {"Content-Type": "application/xml"}, text)
            return
        server = http.client.HTTPConnection(self._address, timeout=60)
        try:
            server.request(request.command, request.path, body, dict(request.headers))
            reply = server.getresponse()
            content = reply.read()
            headers = {k: v for k, v in reply.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
            _reply(request, reply.status, headers, content)
        finally:
            server.close()


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        request.send_response_only(100)
        request.end_headers()
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    parts = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    del request.headers["Transfer-Encoding"]
    return b"".join(parts)


def _reply(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
    request.send_response(status)
    head = request.command == "HEAD"
    for name, value in headers.items():
        if name.lower() != "content-length" or head:
            request.send_header(name, value)
    if not head:
        request.send_header("Content-Length", str(len(content)))
    elif "Content-Length" not in headers and "content-length" not in headers:
        request.send_header("Content-Length", "0")
    request.end_headers()
    if not head:
        request.wfile.write(content)
