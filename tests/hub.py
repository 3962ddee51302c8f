"""A small Hugging Face hub on this machine, for what needs one: real requests, no internet.

    with hub.serve({"maker/tiny": folder}) as served: ...     # served.requests, served.slow

It speaks what huggingface_hub asks: model info, file tree, and files. "maker/gated" wants a
licence accepted; what is not there is unknown, as on the real one.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "maker/gated"


@dataclass
class Served:
    """extra: what model info says besides the files. slow: seconds each file takes. requests: the
    paths that were asked for."""

    models: Mapping[str, Path]
    extra: dict = field(default_factory=dict)
    slow: float = 0.0
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def downloads(self) -> list[str]:
        return [path for path in self.requests if "/resolve/" in path]


@contextmanager
def serve(models: Mapping[str, Path], **more) -> Iterator[Served]:
    """Serve folders as models and point huggingface_hub, here and in processes started here, at
    them."""
    served = Served(models, **more)
    handler = type("Handler", (_Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", served.address)
        patch.setattr(constants, "ENDPOINT", served.address)
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            served.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        try:
            yield served
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.served.requests.append(path)
        name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        folder = self.served.models.get(name)
        if folder is None:
            return self._refuse(401, "RepoNotFound")
        if path.startswith("/api/models/"):
            files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
            if "/tree/" in path:
                return self._json([self._facts(folder, p) for p in files])
            said = {"id": name, "sha": COMMIT, "gated": name == GATED and "manual"}
            siblings = [
                {"rfilename": str(p.relative_to(folder)), "size": p.stat().st_size} for p in files
            ]
            return self._json(said | {"siblings": siblings} | self.served.extra)
        if name == GATED:
            return self._refuse(403, "GatedRepo")
        time.sleep(self.served.slow if body else 0)
        self._file(folder / path.split(f"/resolve/{COMMIT}/")[1], body)

    @staticmethod
    def _facts(folder: Path, file: Path) -> dict:
        return {
            "type": "file",
            "path": str(file.relative_to(folder)),
            "size": file.stat().st_size,
            "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
        }

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, record: object) -> None:
        content = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _file(self, file: Path, body: bool) -> None:
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
