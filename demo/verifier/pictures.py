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
# A picture whose mean is below this is black for any eye; the scene's darkest frame has a mean above 130.
BLACK_BELOW = 8.0
# Two frames of the film are at least this far apart. The camera's nearest neighbours are 3.8 apart, and encoding one
# picture twice gives less than 0.2.
SAME_BELOW = 1.0
# The film shows a frame when it is this close to it; encoding costs 1 to 3.
SHOWN_WITHIN = 4.0
# The same Blender, scene and frame: on one kind of processor the pictures are equal, on two they differ in the last bits.
RENDERED_WITHIN = 0.30
MOST_PIXELS = 64_000_000


def run(*command, data=None):
    done = subprocess.run(command, input=data, capture_output=True, timeout=600, check=False)
    if done.returncode != 0:
        raise Wrong(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


def as_pictures(raw, width, height):
    """Whole numbers by picture, row, column and colour."""
    expect(0 < width * height <= MOST_PIXELS, f"a picture of {width}x{height}")
    expect(len(raw) % (width * height * 3) == 0, f"{len(raw)} bytes are no pictures of {width}x{height}")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def decode_film(path, most):
    text = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height",
               "-of", "csv=p=0:s=x", str(path)).decode().split()
    expect(len(text) == 1, f"{path.name} has {len(text)} streams of pictures")
    width, height = (int(side) for side in text[0].split("x")[:2])
    raw = run("ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-frames:v", str(most),
              "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return as_pictures(raw, width, height)


def decode_pngs(files):
    """The pictures of PNG files of one size, in order."""
    for data in files:
        expect(data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24, "a frame is not a PNG")
    sizes = {struct.unpack(">II", data[16:24]) for data in files}
    expect(len(sizes) == 1, f"the frames have {len(sizes)} sizes")
    raw = run("ffmpeg", "-v", "error", "-f", "image2pipe", "-c:v", "png", "-i", "-", "-fps_mode", "passthrough",
              "-f", "rawvideo", "-pix_fmt", "rgb24", "-", data=b"".join(files))
    pictures = as_pictures(raw, *sizes.pop())
    expect(len(pictures) == len(files), f"{len(files)} files hold {len(pictures)} pictures")
    return pictures


def distance(one, other):
    return float((np.maximum(one, other) - np.minimum(one, other)).mean())


def coarse(pictures):
    """Every second row and column: enough for comparing every picture with every other."""
    return [np.ascontiguousarray(picture[::2, ::2]) for picture in pictures]


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
    files = []
    for frame in sorted(summary.frames, key=lambda frame: frame.number):
        path = out / frame.file
        expect(path.is_file(), f"frame {frame.number}: no file {frame.file}")
        files.append(path.read_bytes())
        expect(hashlib.sha256(files[-1]).hexdigest() == frame.sha256,
               f"frame {frame.number}: {frame.file} is not the file that was delivered")
    pictures = decode_pngs(files)
    check_different(pictures, "frames")
    return dict(enumerate(pictures, 1))


def check_different(pictures, what):
    for number, picture in enumerate(pictures, 1):
        brightness = float(picture.mean())
        expect(brightness >= BLACK_BELOW, f"{what}: number {number} is black (mean {brightness:.1f} of 255)")
    pictures = coarse(pictures)
    for i, one in enumerate(pictures):
        for j in range(i + 1, len(pictures)):
            apart = distance(one, pictures[j])
            expect(apart >= SAME_BELOW, f"{what}: numbers {i + 1} and {j + 1} are the same picture ({apart:.2f} apart)")


def check_film(out, pictures):
    """The film: as many pictures as there are frames, different, none black, each one the frame of its place."""
    film = decode_film(out / "animation.mp4", FRAMES + 1)
    expect(len(film) == FRAMES, f"the film has {'more than ' * (len(film) > FRAMES)}{min(len(film), FRAMES)} pictures; "
           f"expected {FRAMES}")
    check_different(list(film), "film")
    expect(pictures is not None, "the frames could not be read, so the film could not be compared with them")
    expect(film[0].shape == pictures[1].shape, f"the film is {film[0].shape}; the frames are {pictures[1].shape}")
    shown, frames = coarse(film), dict(zip(pictures, coarse(pictures.values())))
    for number in range(1, FRAMES + 1):
        apart = {other: distance(shown[number - 1], picture) for other, picture in frames.items()}
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
        fresh = decode_pngs([rendered.read_bytes()])[0]
    expect(fresh.shape == pictures[number].shape, f"frame {number} is {pictures[number].shape}; here it is {fresh.shape}")
    apart = distance(fresh, pictures[number])
    expect(apart <= RENDERED_WITHIN, f"frame {number} is {apart:.2f} from what Blender renders here "
           f"(at most {RENDERED_WITHIN})")
    return number, apart
