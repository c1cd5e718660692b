"""Finds what looks like a credential in settings, and blackens it in messages.

Credentials come from the environment alone. One that stands in a setting would be kept in every artifact, log and
metadata store that the setting goes to; so it is refused before anything is written.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MASK: Final = "***"

# Names of options and of parameters of an address whose values are secret; each part is a word between `_` or `-`.
_SURE = (
    r"password|passwd|pwd|secret|api_?key|access_?key(?:_?id)?|secret_?key|private_?key|account_?key|awsaccesskeyid|"
    r"access_?token|auth_?token|refresh_?token|session_?token|security_?token|id_?token|oauth_?token|connection_?string"
)
_WORDS = r"(?:[a-z0-9.]+[_-])*"
_NAME = rf"{_WORDS}(?:{_SURE}|token|bearer|credentials?|signature|sig)"
# What it looks like, and the pattern; the group `secret` is what must not be seen.
_LOOKS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "a private key",
        re.compile(r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z ]*KEY-----|\Z))"),
    ),
    ("a password within an address", re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://(?P<secret>[^/\s:@'\"]*:[^/\s@'\"]+)@")),
    (
        "a token or a signature within an address",
        re.compile(rf"(?i)[?&](?:{_NAME}|x-(?:goog|amz)-[a-z-]+|key)=(?P<secret>[^&\s'\"]+)"),
    ),
    ("a secret given as an option", re.compile(rf"(?i)(?<![\w?&-])--?{_NAME}[= ](?P<secret>[^\s'\",]+)")),
    ("an API key of Google", re.compile(r"\b(?P<secret>AIza[0-9A-Za-z_-]{35})")),
    ("an access token of Google", re.compile(r"\b(?P<secret>ya29\.[0-9A-Za-z_.-]{10,})")),
    ("a refresh token of Google", re.compile(r"(?<![\w/])(?P<secret>1//0[0-9A-Za-z_-]{20,})")),
    ("a key of Amazon's", re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b")),
    ("a token of GitHub", re.compile(r"\b(?P<secret>gh[pousr]_[0-9A-Za-z]{36,})")),
    ("a signed token", re.compile(r"\b(?P<secret>eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+)")),
    ("a bearer token", re.compile(r"(?i)\bbearer\s+(?P<secret>[0-9a-z_.~+/-]{16,}=*)")),
    (
        "a key file's content",
        re.compile(
            r"(?i)['\"](?:private_key(?:_id)?|client_secret|refresh_token|access_token|password)['\"]\s*:\s*"
            r"(?P<secret>\"[^\"]+\"|'[^']+')"
        ),
    ),
)
# A setting of such a name, in any group of settings.
_SECRET_SETTING: Final = re.compile(rf"(?i){_WORDS}(?:{_SURE})")


def looks_like(text: str) -> str | None:
    """What kind of credential is in `text`, or None."""
    return next((kind for kind, pattern in _LOOKS if pattern.search(text)), None)


def mask(text: str) -> str:
    """`text` with `***` in the place of everything in it that looks like a credential."""
    for _, pattern in _LOOKS:
        text = pattern.sub(_masked, text)
    return text


def credentials_in(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Where in nested plain `values` something looks like a credential, as (dotted key, what it looks like)."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            where = f"{path}.{key}" if path else str(key)
            if isinstance(value, str) and value and _SECRET_SETTING.fullmatch(str(key)):
                yield where, "a secret, by its name"
            else:
                yield from credentials_in(value, where)
    elif isinstance(values, (list, tuple)):
        # An option and its value may be two of a list.
        if kind := looks_like(" ".join(value for value in values if isinstance(value, str))):
            yield path, kind
        for value in values:
            if not isinstance(value, str):
                yield from credentials_in(value, path)
    elif isinstance(values, str) and (kind := looks_like(values)):
        yield path, kind


def _masked(match: re.Match[str]) -> str:
    start, end = (place - match.start() for place in match.span("secret"))
    return match[0][:start] + MASK + match[0][end:]
