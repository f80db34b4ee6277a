"""Keccak-256, as Ethereum uses it, for names of events and functions. Not for large inputs."""

ROUND_CONSTANTS = []
ROTATIONS = {}
MASK = (1 << 64) - 1


def _prepare():
    """The constants of Keccak-f[1600], from their definitions."""
    register = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register >> 7 else 0)
        ROUND_CONSTANTS.append(constant)
    x, y = 1, 0
    for t in range(24):
        ROTATIONS[x, y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    ROTATIONS[0, 0] = 0


_prepare()


def _rotate(word, by):
    return ((word << by) | (word >> (64 - by))) & MASK


def _permute(a):
    for constant in ROUND_CONSTANTS:
        c = [a[x, 0] ^ a[x, 1] ^ a[x, 2] ^ a[x, 3] ^ a[x, 4] for x in range(5)]
        d = [c[x - 1] ^ _rotate(c[(x + 1) % 5], 1) for x in range(5)]
        b = {(y, (2 * x + 3 * y) % 5): _rotate(a[x, y] ^ d[x], ROTATIONS[x, y]) for x in range(5) for y in range(5)}
        a = {(x, y): b[x, y] ^ (~b[(x + 1) % 5, y] & MASK & b[(x + 2) % 5, y]) for x in range(5) for y in range(5)}
        a[0, 0] ^= constant
    return a


def keccak256(data):
    rate = 136
    padded = bytearray(data) + b"\x01" + bytes(-len(data) % rate or rate)[1:]
    padded = padded[: (len(data) // rate + 1) * rate]
    padded[-1] |= 0x80
    state = {(x, y): 0 for x in range(5) for y in range(5)}
    for start in range(0, len(padded), rate):
        for i in range(rate // 8):
            word = int.from_bytes(padded[start + 8 * i:start + 8 * i + 8], "little")
            state[i % 5, i // 5] ^= word
        state = _permute(state)
    return b"".join(state[i % 5, i // 5].to_bytes(8, "little") for i in range(4))


def topic(signature):
    """What an event's first topic is, as JSON-RPC writes it."""
    return "0x" + keccak256(signature.encode()).hex()


def selector(signature):
    return "0x" + keccak256(signature.encode()).hex()[:8]
