"""A service account that only the stand-in for Google's sign-in knows."""

import json
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "shop-project"
KEY_ID = "key-id-that-nobody-may-see"


def write_key_file(path: Path, server: str) -> None:
    """Writes a key file as Google gives it out.

    Args:
      path: of the file.
      server: the address of the server that exchanges what the key signed for a token.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": KEY_ID,
                "private_key": pem.decode(),
                "client_id": "123456789",
                "client_email": f"souk@{PROJECT}.iam.gserviceaccount.com",
                "token_uri": f"{server}/token",
            }
        )
    )
