"""The key that makes FHIR ids pseudonyms: without it, nobody can tell whose id an id is (see ``docs/pseudonyms.md``).

An id is a keyed hash of the subject's identifier. Identifiers of a trial are few and follow a pattern, so that a hash
without a secret key is undone by trying them all. Each site therefore has a key of its own. In this order it is

1. what a command or a call is given (``--id-key FILE``, ``id_key=``);
2. the file that the environment names in ``FHIRSPACE_ID_KEY_FILE``, or the entry of the system's keyring that it names
   in ``FHIRSPACE_ID_KEY_KEYRING``;
3. the file ``id.key`` in the user's data folder, which is made, with 32 random bytes, when it is first needed.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from fhirspace.errors import UsageError
from fhirspace.folders import data_folder, data_place
from fhirspace.keyfile import MOST, check_own, make_once, read_own
from fhirspace.keyrings import from_keyring

FILE_VARIABLE: Final = "FHIRSPACE_ID_KEY_FILE"
KEYRING_VARIABLE: Final = "FHIRSPACE_ID_KEY_KEYRING"
PUBLISHED: Final = "demo"
"""The word that stands for `DEMO_KEY` where a file is named; a file of this name is ``./demo``."""
PUBLIC: Final = "ids are made with the published demonstration key, so they are not pseudonyms"
"""The message about ids that were made with `DEMO_KEY`."""
NAME: Final = "id.key"
_LEAST, _VARIED = 16, 8


class IdKey:
    """A key of ids. Only its fingerprint is ever shown: its text in messages, logs and tracebacks is that.

    It travels to worker processes by pickle, as a part of what they work with.

    Args:
        secret: 16 to 4,096 bytes; blanks and line ends around it do not count.

    Raises:
        UsageError: FS632, it is too short, too long, or the same few bytes again and again.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes, place: str = "id key") -> None:
        self._secret = secret.strip()
        if not _LEAST <= len(self._secret) <= MOST or len(set(self._secret)) < _VARIED:
            raise UsageError(
                "FS632", place, f"{_LEAST} to {MOST:,} bytes that nobody can guess, such as 32 random ones"
            )

    @classmethod
    def random(cls) -> IdKey:
        """A new key of 32 random bytes, which nobody will ever have again."""
        return cls(secrets.token_hex(32).encode())

    @classmethod
    def load(cls, path: Path) -> IdKey:
        """The key in a file. Raises UsageError: FS630 and FS631 as `read_own`, FS632 it holds no key."""
        return cls(read_own(path), str(path))

    def digits(self, text: str) -> str:
        """The keyed hash of a text (BLAKE2b, RFC 7693): 32 hexadecimal digits."""
        return blake2b(text.encode(), digest_size=16, key=self._short()).hexdigest()

    def seal(self, digest: bytes) -> bytes:
        """The keyed hash of a digest (24 bytes), for journals and plans: who has one cannot test guesses with it."""
        return blake2b(digest, digest_size=24, key=self._short(), person=b"journal").digest()

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits by which the key is known again, and which tell nothing of it."""
        return blake2b(b"", digest_size=8, key=self._short(), person=b"fingerprint").hexdigest()

    @property
    def published(self) -> bool:
        """Whether it is `DEMO_KEY`, which everybody knows."""
        return self == DEMO_KEY

    def _short(self) -> bytes:
        """The secret, or its hash where it is longer than a key of BLAKE2b can be."""
        return self._secret if len(self._secret) <= blake2b.MAX_KEY_SIZE else blake2b(self._secret).digest()

    def __repr__(self) -> str:
        return f"IdKey({self.fingerprint})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdKey) and secrets.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return _restored, (self._secret,)


def _restored(secret: bytes) -> IdKey:
    key = IdKey.__new__(IdKey)
    key._secret = secret
    return key


DEMO_KEY: Final = _restored(b"fhirspace")
"""The key of the demonstration, the tests, and versions before keys of sites. It is public: its ids hide nothing."""


def chosen(given: IdKey | Path | str | None = None) -> IdKey:
    """The key to make ids with.

    Args:
        given: a key, or the file that holds it (``"demo"``: the published key); None: the site's (`site_key`).

    Raises:
        UsageError: FS630 to FS633, see `IdKey.load` and `site_key`.
    """
    if given is None:
        return site_key()
    if isinstance(given, IdKey):
        return given
    return DEMO_KEY if given == PUBLISHED else IdKey.load(Path(given))


def site_key() -> IdKey:
    """The key that the environment names, else the site's own, which is made if there is none yet.

    It is looked up once a process for the same environment.

    Raises:
        UsageError: FS630 to FS632 the file cannot be used, FS633 the site's key cannot be made, FS544 and FS545 the
            keyring gives none.
    """
    file, entry = os.environ.get(FILE_VARIABLE, ""), os.environ.get(KEYRING_VARIABLE, "")
    return _looked_up(file, entry, "" if file or entry else str(_own_file()))


@cache
def passing_key() -> IdKey:
    """A random key for ids that nobody keeps: one a process, so that mappings are built with it once."""
    return IdKey.random()


def unmade() -> Path | None:
    """The file that `site_key` would make now; None where a key is named or there already."""
    if os.environ.get(FILE_VARIABLE) or os.environ.get(KEYRING_VARIABLE):
        return None
    with suppress(UsageError):  # no place for one
        own = _own_file()
        return None if os.path.lexists(own) else own
    return None


@lru_cache(maxsize=8)
def _looked_up(file: str, entry: str, own: str) -> IdKey:
    if file:
        return chosen(file)
    if entry:
        service, _, user = entry.rpartition("/")
        if not service or not user:
            raise UsageError("FS544", KEYRING_VARIABLE, "the service and the user name of an entry, as SERVICE/USER")
        return IdKey(from_keyring(service, user).encode(), KEYRING_VARIABLE)
    return _own(Path(own))


def _own_file() -> Path:
    try:
        return data_place() / NAME
    except OSError as error:
        raise UsageError("FS633", "~", "a home folder, or FHIRSPACE_DATA") from error


def _own(path: Path) -> IdKey:
    try:
        check_own(data_folder().stat(), path.parent, 0o022, "that only you can write to (mode 0700)")
        if not os.path.lexists(path):
            make_once(path, secrets.token_hex(32).encode() + b"\n")
    except OSError as error:
        raise UsageError("FS633", str(path), "a folder that can be written", error.strerror or "") from error
    return IdKey.load(path)
