"""Streams: answers that go on, on sockets of their own, whose bytes the kernel stamps on arrival."""
