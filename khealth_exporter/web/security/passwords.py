"""Verifies passwords against bcrypt hashes, in a thread outside of the event loop."""

import asyncio
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

_CACHED_FAILURES = 100
"""Wrong passwords whose result is cached."""
_MAX_WAITING, _MAX_WAITING_PER_ADDRESS = 32, 4
"""Checks that may wait, in total and for one address. A check at cost 10 takes about 60 ms."""
_BCRYPT_BYTES = 72
"""bcrypt uses only the first 72 bytes of a password."""


class TooManyChecks(Exception):  # noqa: N818 - it reads as what happened
    """Too many password checks are waiting."""


class PasswordVerifier:
    """Verifies passwords in a single thread, and caches the results without keeping passwords.

    The cache key is a keyed hash. A correct password stays cached until the hash of its user changes. Wrong passwords
    have a separate cache of limited size, so that a flood of them does not evict correct ones.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._secret = secrets.token_bytes(32)
        self._correct: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()

    async def verify(self, users: Mapping[str, bytes], user: str, password: str, address: str) -> bool:
        """Return whether this is the user's password; TooManyChecks if too many are waiting.

        The check of an unknown user takes as long: it uses the hash of another user.
        """
        hashed = users.get(user) or self._other_hash(users, user)
        key = self._key(user, hashed, password)
        if user in users and hmac.compare_digest(self._correct.get(user, b""), key):
            return True
        if key in self._wrong:
            self._wrong.move_to_end(key)
            return False
        check = self._checks.get(key) or self._start_check(key, hashed, password, address)
        matches = await asyncio.shield(check)
        if matches and user in users:
            self._correct[user] = key
            return True
        self._wrong[key] = None
        while len(self._wrong) > _CACHED_FAILURES:
            self._wrong.popitem(last=False)
        return False

    def close(self) -> None:
        """Cancel all waiting checks."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _start_check(self, key: bytes, hashed: bytes, password: str, address: str) -> asyncio.Future[bool]:
        if self._waiting.total() >= _MAX_WAITING or self._waiting[address] >= _MAX_WAITING_PER_ADDRESS:
            raise TooManyChecks
        self._waiting[address] += 1
        check = asyncio.get_running_loop().run_in_executor(self._thread, _matches, hashed, password)
        self._checks[key] = check

        def finished(_: asyncio.Future[bool]) -> None:
            del self._checks[key]
            self._waiting[address] -= 1
            self._waiting += Counter()  # Removes counts of 0.

        check.add_done_callback(finished)
        return check

    def _other_hash(self, users: Mapping[str, bytes], user: str) -> bytes:
        hashes = list(users.values())
        return hashes[int.from_bytes(self._digest(user.encode())[:8], "big") % len(hashes)]

    def _key(self, user: str, hashed: bytes, password: str) -> bytes:
        return self._digest(b"\0".join(self._digest(part) for part in (user.encode(), hashed, password.encode())))

    def _digest(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, "sha256")


def _matches(hashed: bytes, password: str) -> bool:
    import bcrypt  # noqa: PLC0415 - takes memory that only a khealth with passwords needs

    try:
        return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], hashed)
    except ValueError:  # bcrypt accepts no NUL in a password.
        return False
