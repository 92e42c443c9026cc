"""A small server on loopback that speaks the part of the hub's protocol that we use."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WRITE_TOKEN = "hf_may_write"


@dataclass
class Repository:
    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = "a" * 40
    revisions: dict[str, str] = field(default_factory=dict)  # name -> commit
    access: str = "public"  # or "gated", "private"
    fault: str | None = None  # or "truncated", "corrupted", "busy"
    etag: str | None = None  # in the place of the content's hash


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = {}
        self.requests_seen = []
        self.uploads = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def downloads_of(self, name):
        return sum(method == "GET" and name in path for method, path in self.requests_seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._resolve(body=False)

    def do_GET(self):
        self._resolve(body=True)

    def _resolve(self, body):
        self.server.requests_seen.append((self.command, self.path))
        listed = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/[^/?]+(\?.*)?", self.path)
        if listed and listed[1] in self.server.repositories:
            files = self.server.repositories[listed[1]].files
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in files.items()
                ]
            )
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/main\?expand=\w+", self.path)
        if asked and asked[1] in self.server.repositories:  # huggingface_hub 0.30 before an upload
            return self._json({"id": asked[1], "xetEnabled": False})
        found = re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if not found:
            return self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
        name, revision, filename = found.groups()
        repository = self.server.repositories.get(name)
        token = self.headers.get("Authorization", "")
        if repository is None:
            return self._answer(401, headers={"X-Error-Code": "RepoNotFound"})
        if repository.access == "gated" and not token:
            return self._answer(401, headers={"X-Error-Code": "GatedRepo"})
        if repository.access == "gated" and "accepted" not in token:
            return self._answer(403, headers={"X-Error-Code": "GatedRepo"})
        if repository.fault == "busy":
            return self._answer(418)
        commits = {"main": repository.commit, repository.commit: repository.commit}
        commit = (commits | repository.revisions).get(revision)
        if commit is None:
            return self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        content = repository.files.get(filename)
        if content is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return self._answer(404, headers=headers)
        digest = repository.etag or hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{digest}"',
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        if repository.fault == "corrupted":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if not body:
            return self._answer(200, length=len(content), headers=headers)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        status = 200
        if wanted:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        if repository.fault == "truncated":
            self._answer(status, length=len(content), headers=headers)
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        return self._answer(status, content, headers=headers)

    def do_PUT(self):
        self.server.uploads[self.path.rpartition("/")[2]] = self._body()
        self._answer(200)

    def do_POST(self):
        self.server.requests_seen.append((self.command, self.path))
        body = self._body()
        if WRITE_TOKEN not in self.headers.get("Authorization", ""):
            return self._answer(403)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = asked["name"]
            if asked.get("organization"):
                name = f"{asked['organization']}/{name}"
            elif "/" not in name:
                name = f"me/{name}"
            self.server.repositories.setdefault(name, Repository())
            return self._json({"url": f"{self.server.url}/{name}", "name": name})
        if self.path.endswith("/validate-yaml"):
            return self._json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            return self._json({"files": modes})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": o["oid"],
                    "size": o["size"],
                    "actions": {"upload": {"href": f"{self.server.url}/upload/{o['oid']}"}},
                }
                for o in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            repository = self.server.repositories[found[1]]
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    repository.files[value["path"]] = self.server.uploads[value["oid"]]
            repository.commit = hashlib.sha1(body).hexdigest()
            address = f"{self.server.url}/{found[1]}/commit/{repository.commit}"
            return self._json(
                {"success": True, "commitOid": repository.commit, "commitUrl": address}
            )
        return self._answer(404)

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, content):
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, status, content=b"", headers=None, length=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
