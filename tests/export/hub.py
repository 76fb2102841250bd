"""A hub on this machine: enough of its interface to take a commit."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(BaseHTTPRequestHandler):
    """Repositories by name: {"private": bool, "files": {path: bytes}}."""

    repositories: dict[str, dict[str, Any]]
    token = "hf_" + "x" * 20

    def do_GET(self) -> None:
        if self.headers.get("authorization") != f"Bearer {self.token}":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/whoami-v2":
            return self.answer(200, {"name": "nora", "type": "user"})
        name = self.path.removeprefix("/api/models/").split("?")[0].split("/revision")[0]
        found = self.repositories[name]
        return self.answer(200, {"id": name, "private": found["private"], "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'nora'}/{wanted['name']}"
            address = f"http://{self.headers['host']}/{name}"
            private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
            if name in self.repositories:
                return self.answer(409, {"error": "exists", "url": address})
            self.repositories[name] = {"private": private, "files": {}}
            return self.answer(200, {"url": address, "id": name})
        if self.path == "/api/validate-yaml":  # the front matter of a card
            return self.answer(200, {"warnings": [], "errors": []})
        name = self.path.removeprefix("/api/models/")
        if "/preupload/" in name:
            files = [
                {**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        name = name.split("/commit/")[0]
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.repositories[name]["files"][line["value"]["path"]] = base64.b64decode(
                    line["value"]["content"]
                )
        commit = {"commitOid": "1", "commitUrl": f"http://{self.headers['host']}/{name}/commit/1"}
        return self.answer(200, {**commit, "commitMessage": "", "hookOutput": ""})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def hub() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """The address of a hub, and its repositories."""
    repositories: dict[str, dict[str, Any]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"repositories": repositories}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
