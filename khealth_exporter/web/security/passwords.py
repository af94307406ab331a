"""Who may come in: users and passwords, checked against bcrypt hashes beside the event loop."""

import asyncio
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

_REMEMBERED = 100
"""Wrong guesses that are known to be wrong without being computed again."""
_WAITING, _WAITING_OF_ONE = 32, 4
"""Guesses that wait for their check, in all and of one address; a check at cost 10 takes about 60 ms."""
_BYTES = 72
"""How much of a password bcrypt looks at."""


class TooManyGuesses(Exception):  # noqa: N818 - it reads as what happened
    """So many passwords wait to be checked that this one is not."""


class Passwords:
    """Checks passwords in one thread of its own; what it has found once it knows at once, and keeps no password for it.

    A right password is remembered under a keyed hash until its user's hash changes. So are wrong ones, a bounded number
    of them, and apart from the right ones: no flood of guesses pushes those out.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._secret = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._asked: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()

    async def right(self, users: Mapping[str, bytes], user: str, password: str, address: str) -> bool:
        """Tell whether this is a user's password; TooManyGuesses if it would take too long to find out.

        An unknown user takes as long as a known one: the guess is checked against the hash of another.
        """
        hashed = users.get(user) or self._another(users, user)
        key = self._keyed(user, hashed, password)
        if user in users and hmac.compare_digest(self._right.get(user, b""), key):
            return True
        if key in self._wrong:
            self._wrong.move_to_end(key)
            return False
        asked = self._asked.get(key) or self._ask(key, hashed, password, address)
        matches = await asyncio.shield(asked)
        if matches and user in users:
            self._right[user] = key
            return True
        self._wrong[key] = None
        while len(self._wrong) > _REMEMBERED:
            self._wrong.popitem(last=False)
        return False

    def close(self) -> None:
        """Check nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, key: bytes, hashed: bytes, password: str, address: str) -> asyncio.Future[bool]:
        if self._waiting.total() >= _WAITING or self._waiting[address] >= _WAITING_OF_ONE:
            raise TooManyGuesses
        self._waiting[address] += 1
        asked = asyncio.get_running_loop().run_in_executor(self._thread, _matches, hashed, password)
        self._asked[key] = asked

        def answered(_: asyncio.Future[bool]) -> None:
            del self._asked[key]
            self._waiting[address] -= 1
            self._waiting += Counter()  # drops those at 0

        asked.add_done_callback(answered)
        return asked

    def _another(self, users: Mapping[str, bytes], user: str) -> bytes:
        hashes = list(users.values())
        return hashes[int.from_bytes(self._digest(user.encode())[:8], "big") % len(hashes)]

    def _keyed(self, user: str, hashed: bytes, password: str) -> bytes:
        return self._digest(b"\0".join(self._digest(part) for part in (user.encode(), hashed, password.encode())))

    def _digest(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, "sha256")


def _matches(hashed: bytes, password: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode()[:_BYTES], hashed)
    except ValueError:  # a NUL in it, which no password of bcrypt's has
        return False
