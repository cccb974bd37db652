# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An API server that gives the same answer to each request, and holds the last request."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answering:
    """Run it in a ``with`` block.

    :param status: of each answer.
    :param body: of each answer, as JSON.
    """

    def __init__(self, status: int, body: Any) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked = (self.path, self.headers["Authorization"], None)
                self._answer()

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                owner.asked = (self.path, self.headers["Authorization"], json.loads(self.rfile.read(size)))
                self._answer()

            def _answer(self) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.asked: tuple[str, str, Any] | None = None
        """Path, header ``Authorization`` and body of the last request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
