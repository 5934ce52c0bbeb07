"""Who published a bundle: an Ed25519 signature of `bundle.json`, whose hashes cover every other file.

`bundle.sig` holds the signature of the manifest's very bytes, in Base64. Making and checking it needs the extra
`[sign]` (the package `cryptography`). OpenSSL reads the same keys and makes the same signature
(`openssl pkeyutl -sign -rawin`).
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
from pathlib import Path
from typing import Any

from edge_infer.bundle.manifest import MANIFEST
from edge_infer.errors import BundleSignatureError
from edge_infer.files import write_atomically

SIGNATURE = "bundle.sig"
_INSTALL = "Run: pip install 'edge-infer[sign]'."


def make_key(private: Path) -> Path:
    """Makes a key pair: the private key at `private`, readable by its owner alone, the public one beside it (`.pub`).

    Returns:
        The public key's path.

    Raises:
        BundleSignatureError: a key is there already; keys are never written over.
        OutputError: it cannot be written.
    """
    public = private.with_name(f"{private.name}.pub")
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise BundleSignatureError(
                f"'{path}' exists already.", "Choose another name; a lost key cannot be replaced."
            )
    serialization = _cryptography("hazmat.primitives.serialization")
    key = _cryptography("hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_atomically(private, secret, mode=0o600, durable=True)
    shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_atomically(public, shown, mode=0o644)
    return public


def sign(manifest: bytes, private: Path) -> bytes:
    """The text of `bundle.sig` for the bytes of a `bundle.json`.

    Raises:
        BundleSignatureError: the key cannot be read or is no Ed25519 private key in PEM.
    """
    serialization = _cryptography("hazmat.primitives.serialization")
    ed25519 = _cryptography("hazmat.primitives.asymmetric.ed25519")
    try:
        key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(private, error) from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _unreadable(private, "it is no Ed25519 key")
    return base64.b64encode(key.sign(manifest)) + b"\n"


def require_signature(folder: Path, manifest: bytes, public: str | os.PathLike[str]) -> None:
    """Checks that the owner of a key signed these bytes.

    Args:
        folder: of the bundle, with `bundle.sig`.
        manifest: the bytes of `bundle.json` that will be used.
        public: path of the publisher's public key, PEM.

    Raises:
        BundleSignatureError: no signature, another one, or a key that cannot be read.
    """
    serialization = _cryptography("hazmat.primitives.serialization")
    ed25519 = _cryptography("hazmat.primitives.asymmetric.ed25519")
    try:
        key = serialization.load_pem_public_key(Path(public).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(Path(public), error) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise _unreadable(Path(public), "it is no Ed25519 key")
    file = folder / SIGNATURE
    try:
        with file.open("rb") as stream:
            signature = base64.b64decode(stream.read(1024).strip(), validate=True)
        key.verify(signature, manifest)
    except OSError as error:
        raise BundleSignatureError(
            f"'{folder}' is not signed: {SIGNATURE} cannot be read ({error.strerror}).",
            "Take the bundle from its publisher, or leave --require-signature out.",
        ) from error
    except (binascii.Error, ValueError, _cryptography("exceptions").InvalidSignature) as error:
        raise BundleSignatureError(
            f"'{file}' is no signature of this {MANIFEST} by the key '{os.fspath(public)}'.",
            "The bundle was changed, or somebody else signed it: do not use it.",
        ) from error


def _unreadable(path: Path, why: object) -> BundleSignatureError:
    return BundleSignatureError(f"The key '{path}' cannot be used: {why}.", "Give an Ed25519 key in PEM format.")


def _cryptography(module: str) -> Any:
    try:
        return importlib.import_module(f"cryptography.{module}")
    except ImportError as error:
        raise BundleSignatureError(f"Signatures need the package cryptography: {error}.", _INSTALL) from error
