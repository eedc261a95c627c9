"""The system's keyring: secrets that are in no file."""

from __future__ import annotations

from fhirspace.errors import UsageError


def from_keyring(service: str, user: str) -> str:
    """The secret of a service and a user name, as the system's keyring holds it.

    Raises:
        UsageError: FS545 the package `keyring` is missing, FS544 the keyring is locked or has no such entry.
    """
    try:
        import keyring  # noqa: PLC0415 - an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("FS545", "keyring") from error
    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        raise UsageError("FS544", service, "a keyring of the system that is unlocked") from error
    if found is None:
        raise UsageError("FS544", service, "an entry of the keyring for this service and user")
    return found
