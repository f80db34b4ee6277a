"""The film and its frames: that they are there, differ, show something, come from the nodes and are what Blender renders.

Pictures are decoded by ffmpeg. Distances are mean absolute differences of 8-bit colour values.
"""

import hashlib
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from chain import Wrong, expect

FRAMES = 48
# The least number of frames that each node must have delivered.
LEAST_FRAMES_PER_NODE = 8
# A picture whose mean is below this is black for any eye; the scene's darkest frame has a mean above 90.
BLACK_BELOW = 8.0
# Two frames of the film are at least this far apart. The camera's slowest neighbours are 0.6 apart, and encoding one
# picture twice gives less than 0.1.
SAME_BELOW = 0.25
# The film shows a frame when it is this close to it; encoding costs 1 to 2.
SHOWN_WITHIN = 4.0
# The same Blender, scene and frame: on one kind of processor the pictures are equal, on two they differ in the last bits.
RENDERED_WITHIN = 0.30
MOST_PIXELS = 64_000_000


def run(*command):
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    if done.returncode != 0:
        raise Wrong(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


def size_of(path):
    text = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height",
               "-of", "csv=p=0:s=x", str(path)).decode().split()
    width, height = (int(side) for side in text[0].split("x")[:2])
    expect(0 < width * height <= MOST_PIXELS, f"{path.name} is {width}x{height}")
    return width, height


def decode(path, most):
    """Every picture of a file, as an array of whole numbers: picture, row, column, colour."""
    width, height = size_of(path)
    raw = run("ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-frames:v", str(most),
              "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def distance(one, other):
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def read_texts(path):
    """The text chunks of a PNG, with their checksums checked."""
    data, texts, at = path.read_bytes(), {}, 8
    expect(data[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name} is not a PNG")
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"tEXt":
            (sum_of,) = struct.unpack(">I", data[at + 8 + length:at + 12 + length])
            expect(zlib.crc32(kind + body) == sum_of, f"{path.name}: a text chunk is damaged")
            key, _, value = body.partition(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        at += 12 + length
    return texts


def check_frames(out, summary):
    """The files: all frames once, as the summary lists them, all different, none black. Returns the pictures."""
    numbers = [frame.number for frame in summary.frames]
    missing = sorted(set(range(1, FRAMES + 1)) - set(numbers))
    expect(not missing, f"the summary lacks frames {missing}")
    expect(len(numbers) == FRAMES, f"the summary lists {len(numbers)} frames; expected {FRAMES}, each once")
    pictures = {}
    for frame in sorted(summary.frames, key=lambda frame: frame.number):
        path = out / frame.file
        expect(path.is_file(), f"frame {frame.number}: no file {frame.file}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        expect(digest == frame.sha256, f"frame {frame.number}: {frame.file} is not the file that was delivered")
        pictures[frame.number] = decode(path, 1)[0]
    expect(len({picture.shape for picture in pictures.values()}) == 1, "the frames are not all of one size")
    check_different(list(pictures.values()), "frames")
    return pictures


def check_different(pictures, what):
    for number, picture in enumerate(pictures, 1):
        brightness = float(picture.mean())
        expect(brightness >= BLACK_BELOW, f"{what}: number {number} is black (mean {brightness:.1f} of 255)")
    for i, one in enumerate(pictures):
        for j in range(i + 1, len(pictures)):
            apart = distance(one, pictures[j])
            expect(apart >= SAME_BELOW, f"{what}: numbers {i + 1} and {j + 1} are the same picture ({apart:.2f} apart)")


def check_film(out, pictures):
    """The film: as many pictures as there are frames, different, none black, each one the frame of its place."""
    film = decode(out / "animation.mp4", FRAMES + 1)
    expect(len(film) == FRAMES, f"the film has {'more than ' * (len(film) > FRAMES)}{min(len(film), FRAMES)} pictures; "
           f"expected {FRAMES}")
    check_different(list(film), "film")
    expect(pictures is not None, "the frames could not be read, so the film could not be compared with them")
    expect(film[0].shape == pictures[1].shape, f"the film is {film[0].shape}; the frames are {pictures[1].shape}")
    for number in range(1, FRAMES + 1):
        apart = {other: distance(film[number - 1], picture) for other, picture in pictures.items()}
        nearest = min(apart, key=apart.get)
        expect(nearest == number and apart[number] <= SHOWN_WITHIN,
               f"film: picture {number} shows frame {nearest} ({apart[nearest]:.2f} apart)")


def check_work(out, summary):
    """Each node did its part: enough frames, stamped on the node with the lease that paid for them, and was paid."""
    by_lease = {lease.id: lease for lease in summary.leases}
    expect(len({lease.node for lease in summary.leases}) == len(summary.leases) == 3,
           f"{len(summary.leases)} leases on {len({lease.node for lease in summary.leases})} nodes; expected 3 on 3")
    delivered = Counter()
    for frame in summary.frames:
        lease = by_lease.get(frame.lease)
        expect(lease is not None and lease.node == frame.node,
               f"frame {frame.number}: lease {frame.lease} is not one of node {frame.node}")
        path = out / frame.file
        stamps = read_texts(path) if path.is_file() else {}
        wanted = {"gpux:lease": frame.lease, "gpux:part": str(frame.part), "gpux:frame": str(frame.number)}
        for key, value in wanted.items():
            expect(stamps.get(key, "").lower() == value,
                   f"frame {frame.number}: made for {key} {stamps.get(key)!r}; the summary says {value!r}")
        delivered[frame.node] += 1
    for lease in summary.leases:
        expect(delivered[lease.node] >= LEAST_FRAMES_PER_NODE,
               f"node {lease.node} delivered {delivered[lease.node]} frames; at least {LEAST_FRAMES_PER_NODE} expected")
        expect(lease.earned > 0, f"node {lease.node} delivered frames and earned nothing")


def check_render(out, pictures, seed):
    """One frame again, rendered here. Which one, the last block's hash decides: nobody knew it before."""
    number = 1 + int(seed, 16) % FRAMES
    expect(pictures is not None, f"the frames could not be read, so frame {number} could not be compared")
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "frame.png"
        script = Path(__file__).with_name("local_render.py")
        run(sys.executable, "-B", str(script), str(out / "scene.blend"), str(number), str(rendered))
        fresh = decode(rendered, 1)[0]
    expect(fresh.shape == pictures[number].shape, f"frame {number} is {pictures[number].shape}; here it is {fresh.shape}")
    apart = distance(fresh, pictures[number])
    expect(apart <= RENDERED_WITHIN, f"frame {number} is {apart:.2f} from what Blender renders here "
           f"(at most {RENDERED_WITHIN})")
    return number, apart
