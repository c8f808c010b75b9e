"""A small Hub on this machine for the real client, with configurable faults and a log.

Small files are answered at once. Large files (LFS) are redirected to another host name, as the
Hub does: the client notes the commit on the redirect, and follows it only to fetch the bytes.

It takes uploads, too: a repository is made, large files come by the LFS protocol to the other host
name and are held to their SHA-256, and a commit names them all. `ann` is who all tokens belong to.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

GOOD_TOKEN = "hf_good"
GRANTED_TOKEN = "hf_granted"
LARGE = (".safetensors", ".bin")
OWNER = "ann"
LONGEST_WAIT = 120.0  # seconds, if no test opens the gate


@dataclass
class Repo:
    """One repository and its faults; counters of faults decrease as they happen."""

    name: str
    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    disabled: bool = False
    renamed_to: str | None = None
    tags: tuple[str, ...] = ("vit", "license:apache-2.0")
    api_status: int | None = None  # the listing answers with this
    api_seconds: float = 0.0  # the listing takes this long
    api_text: str | None = None  # the listing is this page
    sizes_told: bool = True
    head_status: int | None = None  # every file answers with this
    lost: tuple[str, ...] = ()  # listed, and then not there
    cuts: list[int] = field(default_factory=list)  # break off after so many bytes, once each
    cut_always: int | None = None
    damaged: int = 0  # so many bodies of the right size with a wrong byte
    shortened: int = 0  # so many bodies that lack a byte, and say so
    extra: bytes = b""  # follows every large body
    gate: Event | None = None  # the last piece of a large body waits for it
    retry_after: str | None = None
    pipeline_tag: str | None = "image-classification"
    commits: list[list[str]] = field(default_factory=list)  # the paths of each

    @property
    def commit(self) -> str:
        text = "".join(f"{name}:{sha256(data)}" for name, data in sorted(self.files.items()))
        return hashlib.sha1(f"{self.name}\n{text}".encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """One received request."""

    method: str
    path: str
    range: str | None
    token: str | None


class LoopbackHub:
    """The server; `with LoopbackHub() as hub` runs it until the block ends."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.log: list[Request] = []
        self.blobs: dict[str, bytes] = {}  # what was uploaded, by its SHA-256
        self.taken: set[str] = set()  # names of repositories of another kind
        self.upload_status: int | None = None  # every upload of a large file answers with this
        self.card_fault: str | None = None  # what is wrong with every card
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "LoopbackHub":
        Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: dict[str, bytes], **declared_options: Any) -> Repo:
        self.repos[name] = Repo(name, files, **declared_options)
        return self.repos[name]

    def requests(self, repo: Repo, method: str = "") -> list[Request]:
        """The requests about one repository."""
        return [r for r in self.log if repo.name in r.path and r.method.startswith(method)]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith(LARGE)


class Handler(BaseHTTPRequestHandler):
    """GET, HEAD and POST of the routes below; everything else is not found."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """The log is kept in `hub.log`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_POST()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.log.append(Request(self.command, self.path, self.headers["Range"], self.token))
        if self.token not in (None, GOOD_TOKEN, GRANTED_TOKEN):
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        self.query = parse_qs(url.query)
        match [unquote(part) for part in url.path.split("/")[1:]]:
            case ["api", "models"]:
                self.search()
            case ["api", "repos", "create"]:
                self.create()
            case ["api", "validate-yaml"]:
                faults = [{"message": self.hub.card_fault}] if self.hub.card_fault else []
                self.json({"errors": faults, "warnings": []}, 400 if faults else 200)
            case ["api", "models", owner, name, ("preupload" | "commit") as step, "main"]:
                self.write(f"{owner}/{name}", step)
            case [owner, repository, "info", "lfs", "objects", "batch"]:
                self.policy(f"{owner}/{repository.removesuffix('.git')}")
            case ["upload", digest]:
                self.take(digest)
            case ["api", "models", owner, name, *rest]:
                self.api(f"{owner}/{name}", rest)
            case ["large", owner, name, file]:
                self.large(self.hub.repos[f"{owner}/{name}"], file)
            case [owner, name, "resolve", revision, *path]:
                self.resolve(f"{owner}/{name}", revision, "/".join(path))
            case _:
                self.refuse(404, "", "no such page")

    def search(self) -> None:
        wanted = self.query.get("search", [""])[0]
        limit = int(self.query.get("limit", ["1000"])[0])
        found = [r for r in self.hub.repos.values() if wanted in r.name and not r.private]
        for repo in found:
            time.sleep(repo.api_seconds)
            if repo.api_status:
                self.refuse(repo.api_status, "", "busy", repo)
                return
        self.json([self.info(repo) for repo in found[:limit]])

    def api(self, name: str, rest: list[str]) -> None:
        repo = self.allowed(name)
        if repo is None:
            return
        if repo.renamed_to:
            self.redirect(self.path.replace(repo.name, repo.renamed_to), {})
            return
        if repo.disabled:
            self.refuse(403, "", "Access to this resource is disabled.")
            return
        time.sleep(repo.api_seconds)
        if repo.api_status:
            self.refuse(repo.api_status, "", "busy", repo)
        elif repo.api_text is not None:
            self.answer(repo.api_text.encode(), {"Content-Type": "text/html"})
        else:
            self.listing(repo, rest)

    def listing(self, repo: Repo, rest: list[str]) -> None:
        files = [self.entry(name, data) for name, data in repo.files.items()]
        match rest:
            case []:
                self.json(self.info(repo))
            case ["revision", revision] if revision in ("main", repo.commit):
                self.json(self.info(repo))
            case ["tree", revision, *_] if revision in ("main", repo.commit):
                self.json(files)
            case ["paths-info", revision] if revision in ("main", repo.commit):
                wanted = json.loads(self.body)["paths"] if self.body.startswith(b"{") else []
                wanted = wanted or parse_qs(self.body.decode()).get("paths", [])
                self.json([entry for entry in files if entry["path"] in wanted])
            case ["refs"]:
                main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
                self.json({"branches": [main], "tags": [], "converts": []})
            case ["auth-check"]:
                self.json({})
            case ["commits", "main"]:
                self.json([{"id": repo.commit, "title": "All", "authors": [], "date": DATE}])
            case _:
                self.refuse(404, "RevisionNotFound", "Invalid rev id", repo)

    def info(self, repo: Repo) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = [{"rfilename": name} for name in repo.files]
        if "blobs" in self.query and repo.sizes_told:
            for sibling in siblings:
                name = sibling["rfilename"]
                entry = self.entry(name, repo.files[name])
                sibling |= {"size": entry["size"], "blobId": entry["oid"]}
                if "lfs" in entry:
                    lfs = {"sha256": entry["lfs"]["oid"], "size": entry["size"]}
                    sibling["lfs"] = lfs | {"pointerSize": 134}
        return {
            "_id": "0",
            "id": repo.name,
            "modelId": repo.name,
            "sha": repo.commit,
            "private": repo.private,
            "gated": "auto" if repo.gated else False,
            "disabled": False,
            "downloads": 7,
            "likes": 3,
            "tags": list(repo.tags),
            "pipeline_tag": repo.pipeline_tag,
            "lastModified": DATE,
            "createdAt": DATE,
            "siblings": siblings,
        }

    def entry(self, name: str, data: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
        if is_large(name):
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.allowed(name)
        if repo is None:
            return
        if repo.renamed_to:
            self.redirect(self.path.replace(repo.name, repo.renamed_to), {})
        elif repo.gated and self.token != GRANTED_TOKEN:
            self.refuse(403 if self.token else 401, "GatedRepo", "Access is restricted.", repo)
        elif repo.head_status:
            self.refuse(repo.head_status, "", "busy", repo)
        elif revision not in ("main", repo.commit):
            self.refuse(404, "RevisionNotFound", "Invalid rev id", repo)
        elif path not in repo.files or path in repo.lost:
            self.refuse(404, "EntryNotFound", "Entry not found", repo)
        elif is_large(path):
            data = repo.files[path]
            target = f"http://localhost:{self.hub.port}/large/{repo.name}/{path}"
            linked = {"X-Linked-Etag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
            self.redirect(target, linked | {"X-Repo-Commit": repo.commit})
        else:
            data = repo.files[path]
            headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{git_sha1(data)}"'}
            self.answer(data, headers, repo)

    def large(self, repo: Repo, path: str) -> None:
        data = repo.files[path]
        tag = {"ETag": f'"{sha256(data)}"'}
        if repo.damaged and self.command == "GET":
            repo.damaged -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        if repo.shortened and self.command == "GET":
            repo.shortened -= 1
            data = data[:-1]
        self.answer(data + repo.extra, tag, repo)

    def allowed(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and self.token is None):
            status = 404 if self.token else 401
            self.refuse(status, "RepoNotFound", "Repository not found")
            return None
        return repo

    def create(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.token is None:
            self.refuse(401, "", "Invalid username or password.")
        elif wanted["organization"] != OWNER:
            self.refuse(403, "", f"You don't have the rights to create a model under {name}")
        elif name in self.hub.repos or name in self.hub.taken:
            self.refuse(409, "", "You already created this repo")
        else:
            private = wanted.get("visibility") == "private"
            self.hub.add(name, {".gitattributes": b""}, private=private, pipeline_tag=None)
            self.json({"url": f"{self.hub.endpoint}/{name}"})

    def write(self, name: str, step: str) -> None:
        repo = self.writable(name)
        if repo is None:
            return
        if step == "preupload":
            files = json.loads(self.body)["files"]
            self.json({"files": [self.mode(repo, file["path"]) for file in files]})
            return
        header, *lines = [json.loads(line) for line in self.body.splitlines()]
        assert header["value"]["summary"]
        written = {line["value"]["path"]: self.content(line) for line in lines}
        repo.files |= written
        repo.pipeline_tag = "image-classification"
        repo.commits.append(sorted(written))
        address = f"{self.hub.endpoint}/{name}/commit/{repo.commit}"
        self.json({"commitUrl": address, "commitOid": repo.commit})

    def mode(self, repo: Repo, path: str) -> dict[str, Any]:
        present = repo.files.get(path)
        digest = sha256 if is_large(path) else git_sha1
        return {
            "path": path,
            "uploadMode": "lfs" if is_large(path) else "regular",
            "shouldIgnore": False,
            "oid": None if present is None else digest(present),
        }

    def content(self, line: dict[str, Any]) -> bytes:
        value = line["value"]
        if line["key"] == "lfsFile":
            data = self.hub.blobs[value["oid"]]
            assert len(data) == value["size"]
            return data
        assert (line["key"], value["encoding"]) == ("file", "base64")
        return base64.b64decode(value["content"])

    def policy(self, name: str) -> None:
        if self.writable(name) is None:
            return
        objects = json.loads(self.body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.hub.blobs:
                target = f"http://localhost:{self.hub.port}/upload/{wanted['oid']}"
                wanted["actions"] = {"upload": {"href": target}}
        self.json({"transfer": "basic", "objects": objects})

    def take(self, digest: str) -> None:
        if self.hub.upload_status:
            self.refuse(self.hub.upload_status, "", "no room")
        elif sha256(self.body) != digest:
            self.refuse(400, "", "The content is not what its SHA-256 says")
        else:
            self.hub.blobs[digest] = self.body
            self.json({})

    def writable(self, name: str) -> Repo | None:
        repo = self.allowed(name)
        if repo is not None and (self.token is None or not name.startswith(f"{OWNER}/")):
            status = 403 if self.token else 401
            self.refuse(status, "", "You don't have the rights to write here")
            return None
        return repo

    def json(self, content: Any, status: int = 200) -> None:
        self.answer(
            json.dumps(content).encode(), {"Content-Type": "application/json"}, None, status
        )

    def redirect(self, target: str, headers: dict[str, str]) -> None:
        self.send_response(302 if headers else 307)
        for key, value in (headers | {"Location": target, "Content-Length": "0"}).items():
            self.send_header(key, value)
        self.end_headers()

    def refuse(self, status: int, code: str, message: str, repo: Repo | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if repo is not None and repo.retry_after:
            self.send_header("Retry-After", repo.retry_after)
        if repo is not None and code == "EntryNotFound":
            self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(
        self,
        data: bytes,
        headers: dict[str, str],
        repo: Repo | None = None,
        status: int = 200,
    ) -> None:
        asked = self.headers["Range"]
        start, end = 0, len(data) - 1
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end), end)
            headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        self.send_response(206 if asked else status)
        length = {"Content-Length": str(end + 1 - start), "Accept-Ranges": "bytes"}
        for key, value in (headers | length).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.send(data[start : end + 1], repo)

    def send(self, data: bytes, repo: Repo | None) -> None:
        """Send the body in pieces; interrupted as the repository's faults demand."""
        cut = None
        if repo is not None and "/large/" in self.path:
            cut = repo.cuts.pop(0) if repo.cuts else repo.cut_always
        if cut is not None:
            data = data[:cut]
            self.close_connection = True
        piece = 1 << 16
        try:
            for at in range(0, len(data), piece):
                last = at + piece >= len(data)
                if last and repo is not None and repo.gate and "/large/" in self.path:
                    repo.gate.wait(LONGEST_WAIT)
                self.wfile.write(data[at : at + piece])
        except ConnectionError:
            self.close_connection = True  # the client has hung up, which some tests ask it to do


DATE = "2026-01-01T00:00:00.000Z"
