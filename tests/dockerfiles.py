"""Dockerfiles as data, and what must not be in one."""

import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

INSTRUCTIONS = {
    *("FROM", "ARG", "ENV", "LABEL", "SHELL", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"),
    "CMD",
}
SECRET = ("password", "passwd", "secret", "token", "api_key", "private_key", "credential")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile: `name` in capitals, and the rest of it in one line."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """What follows the instruction, from its JSON form or as a shell splits it."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)


def dockerfile(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile in order, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.strip().partition(" ")
        found.append(Instruction(name.upper(), value.strip()))
    return found


def version_problem(image: str) -> str | None:
    """Why `image` may be another one tomorrow; None if it has a version."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return None if tag and tag != "latest" else f"{image} has no version"


def problems(instructions: list[Instruction]) -> list[str]:
    """What must not be in an image that goes into production."""
    found = [
        f"{entry.name} is no instruction that is used here" for entry in instructions if entry.name not in INSTRUCTIONS
    ]
    # By stage, the user that it runs as.
    users: dict[str, str] = {}
    stage = ""
    for entry in instructions:
        if entry.name == "FROM":
            image, *named = entry.value.split()
            if image not in users and (problem := version_problem(image)):
                found.append(problem)
            stage = named[1] if named else ""
            users[stage] = users.get(image, "root")
        if entry.name == "USER":
            users[stage] = entry.value
        if entry.name == "COPY" and entry.value.startswith("--from="):
            source = entry.value.split()[0].removeprefix("--from=")
            if source not in users and (problem := version_problem(source)):
                found.append(problem)
        if entry.name in ("ARG", "ENV") and any(word in entry.value.lower() for word in SECRET):
            found.append(f"{entry.name} {entry.value} puts a secret into the image")
    # Kubernetes' runAsNonRoot takes no name's word for it.
    user = users[stage].split(":")[0]
    if not user.isdigit() or user == "0":
        found.append(f"it runs as {users[stage]}")
    return found


def program(name: str) -> str | None:
    """Where a checking program is, in this environment or on the machine; None without one."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)
