"""Renders one frame of the scene: `run` of the job, once for each value of the array.

Reads GPUX_ARRAY_VALUE (the frame) and writes /out/frame_NNNN.png: under another name first, renamed when it is whole,
because a file that appears in /out is collected at once. Each picture carries the lease and the part that made it.
"""

import os
import re
import struct
import sys
import time
import zlib

from scene import OUT, Refused, file_name, load_blender, number, open_scene, processors, take_standard_output

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def wanted_frame():
    text = os.environ.get("GPUX_ARRAY_VALUE", "")
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise Refused(f"GPUX_ARRAY_VALUE: expected the number of a frame, got {text!r}")
    return int(text)


def prepare(scene, threads):
    """What the node decides and the scene does not: where the picture goes, its format, and the processors."""
    render = scene.render
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", threads
    render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.use_overwrite, render.use_placeholder, render.use_file_extension = True, False, True
    scene.cycles.device = "CPU"
    samples = number("samples", 1, 65536)
    if samples is not None:
        scene.cycles.samples = samples


def stamp(png, facts):
    """The same picture with text chunks after its header."""
    if not png.startswith(PNG_MAGIC) or png[12:16] != b"IHDR":
        raise Refused("Blender wrote something that is not a PNG")
    after_header = len(PNG_MAGIC) + 12 + struct.unpack(">I", png[8:12])[0]
    chunks = b""
    for key, value in facts.items():
        body = b"tEXt" + key.encode("latin-1") + b"\0" + value.encode("latin-1", "replace")
        chunks += struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:after_header] + chunks + png[after_header:]


def render_frame(bpy, scene, frame):
    partial = OUT / ".partial" / file_name(frame)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    scene.frame_set(frame)
    scene.render.filepath = str(partial)
    bpy.ops.render.render(write_still=True)
    if not partial.is_file():
        raise Refused(f"Blender wrote no picture for frame {frame}")
    environment = os.environ
    whole = stamp(partial.read_bytes(), {
        "gpux:lease": environment.get("GPUX_LEASE_ID", ""),
        "gpux:part": environment.get("GPUX_ARRAY_INDEX", ""),
        "gpux:frame": str(frame),
    })
    with open(partial, "wb") as file:
        file.write(whole)
        file.flush()
        os.fsync(file.fileno())
    final = OUT / file_name(frame)
    os.replace(partial, final)
    return final


def main():
    output = take_standard_output()
    began = time.monotonic()
    frame = wanted_frame()
    threads = processors()
    bpy = load_blender(threads)
    scene = open_scene(bpy)
    if scene.camera is None:
        raise Refused(f"scene {scene.name!r} has no camera")
    prepare(scene, threads)
    final = render_frame(bpy, scene, frame)
    print(f"frame {frame}: {final.name}, {time.monotonic() - began:.1f} s on {threads} thread(s)", file=output)


if __name__ == "__main__":
    try:
        main()
    except Refused as problem:
        print(f"render: {problem}", file=sys.stderr, flush=True)
        sys.exit(1)
