"""Cloud Storage's JSON API over objects in memory: what google-cloud-storage and TensorFlow's file system ask of it.

Listing by pages, metadata, downloads by range, simple uploads and resumable ones in chunks, copies, deletion, and
batches of these.
"""

import base64
import email
import hashlib
import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote

import google_crc32c

from tests.cloud.http import Answer, Request, error, json_answer


@dataclass(frozen=True)
class Object:
    """What a bucket keeps under a name; `generation` grows with each writing of any object."""

    data: bytes
    generation: int
    updated: datetime


@dataclass
class Upload:
    """A resumable upload that is under way."""

    bucket: str
    name: str
    data: bytearray = field(default_factory=bytearray)


class Storage:
    """All buckets.

    Attributes:
      buckets: objects by bucket and name.
      page: how many objects a listing gives at once.
      forbidden: buckets that nobody may touch.
      refusals: how many more requests are answered with 503 first.
      sent: bytes of objects downloaded so far.
    """

    def __init__(self, *buckets: str):
        self.buckets: dict[str, dict[str, Object]] = {name: {} for name in buckets}
        self.page = 1000
        self.forbidden: set[str] = set()
        self.refusals = 0
        self.sent = 0
        self._uploads: dict[str, Upload] = {}
        self._numbers = itertools.count(1_700_000_000_000_000)
        self._lock = threading.Lock()

    def put(self, bucket: str, name: str, data: bytes) -> Object:
        """Writes an object."""
        self.buckets[bucket][name] = Object(bytes(data), next(self._numbers), datetime.now(UTC))
        return self.buckets[bucket][name]

    def names(self, bucket: str) -> list[str]:
        """All objects of a bucket, sorted."""
        return sorted(self.buckets[bucket])

    def answer(self, request: Request) -> Answer | None:
        """What the service says, or None where the request is not for it."""
        with self._lock:
            if self.refusals and not request.path.startswith("/batch"):
                self.refusals -= 1
                return error(503, "try again")
            if request.path == "/batch/storage/v1":
                return self._batch(request)
            path = request.path
            if found := re.fullmatch(r"/upload/session/(\d+)", path):
                return self._continue(found[1], request)
            path = re.sub(r"^/(?:upload/|download/)?storage/v1", "", path)
            if found := re.fullmatch(r"/b/([^/]+)(?:/o(?:/(.+))?)?", path):
                return self._resource(request, found[1], "/o" in path, found[2])
            if found := re.fullmatch(r"/([^/]+)/(.+)", path):
                # The XML API, of which TensorFlow uses the download alone.
                return self._download(request, unquote(found[1]), unquote(found[2]))
            return None

    def _resource(self, request: Request, bucket: str, of_objects: bool, name: str | None) -> Answer:
        bucket = unquote(bucket)
        if bucket in self.forbidden:
            return error(403, f"the account does not have storage.objects access to {bucket}")
        if bucket not in self.buckets:
            return error(404, "The specified bucket does not exist.")
        if not of_objects:
            return json_answer({"kind": "storage#bucket", "name": bucket, "id": bucket, "location": "EU"})
        if name is None:
            return self._start(request, bucket) if request.method == "POST" else self._list(request, bucket)
        if copied := re.fullmatch(r"([^/]+)/(?:copyTo|rewriteTo)/b/([^/]+)/o/([^/]+)", name):
            return self._copy(request, bucket, *map(unquote, copied.groups()))
        return self._object(request, bucket, unquote(name))

    def _object(self, request: Request, bucket: str, name: str) -> Answer:
        if name not in self.buckets[bucket]:
            return error(404, f"No such object: {bucket}/{name}")
        if request.method == "DELETE":
            del self.buckets[bucket][name]
            return Answer(204)
        if request.query.get("alt") == "media":
            return self._download(request, bucket, name)
        return json_answer(self._described(bucket, name))

    def _list(self, request: Request, bucket: str) -> Answer:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter")
        names, prefixes = [], set()
        for name in self.names(bucket):
            if not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest[: rest.index(delimiter) + 1])
            else:
                names.append(name)
        first = int(request.query.get("pageToken", 0))
        size = min(self.page, int(request.query.get("maxResults", self.page)))
        body = {"kind": "storage#objects", "items": [self._described(bucket, n) for n in names[first : first + size]]}
        if prefixes:
            body["prefixes"] = sorted(prefixes)
        if first + size < len(names):
            body["nextPageToken"] = str(first + size)
        return json_answer(body)

    def _download(self, request: Request, bucket: str, name: str) -> Answer:
        kept = self.buckets.get(bucket, {}).get(name)
        if kept is None:
            return error(404, f"No such object: {bucket}/{name}")
        headers = {"X-Goog-Hash": f"crc32c={_crc32c(kept.data)}", "X-Goog-Generation": str(kept.generation)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not wanted:
            self.sent += len(kept.data)
            return Answer(200, headers, kept.data)
        start, last = int(wanted[1]), int(wanted[2] or len(kept.data))
        part = kept.data[start : last + 1]
        if not part:
            return error(416, "The requested range cannot be satisfied.")
        self.sent += len(part)
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(kept.data)}"
        return Answer(206, headers, part)

    def _start(self, request: Request, bucket: str) -> Answer:
        if request.query["uploadType"] == "media":
            self.put(bucket, request.query["name"], request.body)
            return json_answer(self._described(bucket, request.query["name"]))
        if request.query["uploadType"] != "resumable":
            return error(400, "only simple and resumable uploads are known here")
        described = json.loads(request.body) if request.body else {}
        name = request.query.get("name") or described["name"]
        number = str(next(self._numbers))
        self._uploads[number] = Upload(bucket, name)
        return Answer(200, {"Location": f"{request.origin}/upload/session/{number}"})

    def _continue(self, number: str, request: Request) -> Answer:
        upload = self._uploads[number]
        # One that says nothing of a range is whole; TensorFlow sends empty objects so.
        whole = f"bytes 0-{len(request.body) - 1}/{len(request.body)}" if request.body else "bytes */0"
        said = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range", whole))
        assert said, request.headers
        if said[1] is not None:
            if int(said[1]) != len(upload.data):
                return error(400, f"{len(upload.data)} bytes are here, these begin at {said[1]}")
            upload.data += request.body
        if said[3] == "*" or len(upload.data) < int(said[3]):
            return Answer(308, {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {})
        del self._uploads[number]
        self.put(upload.bucket, upload.name, upload.data)
        return json_answer(self._described(upload.bucket, upload.name))

    def _copy(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Answer:
        if name not in self.buckets[bucket]:
            return error(404, f"No such object: {bucket}/{name}")
        copy = self.put(to_bucket, to_name, self.buckets[bucket][name].data)
        described = self._described(to_bucket, to_name)
        if "/rewriteTo/" not in request.path:
            return json_answer(described)
        size = str(len(copy.data))
        return json_answer({"done": True, "objectSize": size, "totalBytesRewritten": size, "resource": described})

    def _batch(self, request: Request) -> Answer:
        """Does each request of a batch; answers in their order, as the real service does for such a batch."""
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + request.body).get_payload()
        answers = []
        for part in parts:
            head, _, body = part.get_payload(decode=True).decode().replace("\r\n", "\n").partition("\n\n")
            method, uri, _ = head.split("\n")[0].split(" ")
            path, _, query = uri.removeprefix(request.origin).partition("?")
            values = {key: value[0] for key, value in parse_qs(query).items()}
            found = re.fullmatch(r"/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?", path)
            assert found, path
            inner = Request(method, path, values, request.headers, body.encode(), request.origin)
            answers.append(self._resource(inner, found[1], of_objects=True, name=found[2]))
        lines = []
        for number, answer in enumerate(answers, start=1):
            lines.append(
                f"--batch\r\nContent-Type: application/http\r\nContent-ID: <response-{number}>\r\n\r\n"
                f"HTTP/1.1 {answer.status} X\r\nContent-Type: application/json\r\n\r\n{answer.body.decode()}\r\n"
            )
        return Answer(200, {"Content-Type": "multipart/mixed; boundary=batch"}, ("".join(lines) + "--batch--").encode())

    def _described(self, bucket: str, name: str) -> dict[str, str]:
        kept = self.buckets[bucket][name]
        moment = kept.updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(kept.data)),
            "generation": str(kept.generation),
            "metageneration": "1",
            "updated": moment,
            "timeCreated": moment,
            "crc32c": _crc32c(kept.data),
            "md5Hash": base64.b64encode(hashlib.md5(kept.data, usedforsecurity=False).digest()).decode(),
            "contentType": "application/octet-stream",
        }


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
