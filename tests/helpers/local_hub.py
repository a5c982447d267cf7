"""A local replacement of the Hugging Face hub, and users of it in their own processes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys

from loopback import QuietHandler


class Hub(QuietHandler):
    """The part of the hub's interface that pushing and loading a model needs; small files only."""

    commits: dict[str, dict[str, dict[str, bytes]]] = {}  # repository → commit → path → content
    tokens: set[str | None] = set()

    def do_POST(self):
        self.tokens.add(self.headers.get("Authorization"))
        body = self.body()
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.commits.setdefault(name, {})
            return self.tell({"url": f"http://{self.headers['Host']}/{name}"})
        if self.path == "/api/validate-yaml":
            return self.tell({"errors": [], "warnings": []})
        if found := re.match(r"/api/models/(\w+/\w+)/preupload/main", self.path):
            files = [one["path"] for one in json.loads(body)["files"]]
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            return self.tell({"files": [{"path": path, **plain} for path in files]})
        if found := re.match(r"/api/models/(\w+/\w+)/commit/main", self.path):
            lines = [json.loads(line) for line in body.splitlines()]
            added = [line["value"] for line in lines if line["key"] == "file"]
            files = {one["path"]: base64.b64decode(one["content"]) for one in added}
            commits = self.commits[found[1]]
            before = list(commits.values())[-1] if commits else {}
            oid = hashlib.sha1(str(len(commits)).encode()).hexdigest()
            commits[oid] = before | files
            url = f"http://{self.headers['Host']}/{found[1]}/commit/{oid}"
            return self.tell({"commitUrl": url, "commitOid": oid})
        return self.answer(404)

    def do_GET(self):
        path = self.path.split("?")[0]
        found = re.match(r"/api/models/(\w+/\w+)(?:/(?:revision|tree)/(\w+))?(?:/)?$", path)
        found = found or re.match(r"/(\w+/\w+)/resolve/(\w+)/([\w.]+)$", path)
        if not found or found[1] not in self.commits:
            return self.answer(404, X_Error_Code="RepoNotFound")
        commits = self.commits[found[1]]
        revision = found[2] if found[2] not in (None, "main") else list(commits)[-1]
        if revision not in commits:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        files = commits[revision]
        if "/tree/" in path:
            sizes = {name: {"size": len(data), "oid": _oid(data)} for name, data in files.items()}
            return self.tell([{"type": "file", "path": name, **of} for name, of in sizes.items()])
        if path.startswith("/api/"):
            siblings = [{"rfilename": name} for name in files]
            return self.tell({"id": found[1], "sha": revision, "siblings": siblings})
        if found[3] not in files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        etag = f'"{_oid(files[found[3]])}"'
        return self.answer(200, files[found[3]], X_Repo_Commit=revision, ETag=etag)

    do_HEAD = do_GET

    def tell(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def python(code, *arguments, home, hub, **more):
    """Run code as a user of this hub does: its address is read when the package is imported."""
    env = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_TOKEN": "hf_secret"}
    env |= {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1", **more}
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\n")[:-1]
