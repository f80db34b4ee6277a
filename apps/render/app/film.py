"""Joins the collected frames into /out/animation.mp4: `then` of the job.

Blender's own encoder does it (H.264 in MP4), so that the image carries no second one.
"""

import re
import struct
import sys

from scene import COLLECTED, OUT, SCENE, Refused, load_blender, number, open_scene, processors, take_standard_output

DEFAULT_FPS = 24


def collected_frames():
    found = {}
    for path in COLLECTED.rglob("*.png"):
        match = re.fullmatch(r"frame_([0-9]{4,7})\.png", path.name)
        if match:
            found[int(match[1])] = path
    if not found:
        raise Refused(f"no frames under {COLLECTED}")
    return [found[frame] for frame in sorted(found)]


def size_of(png):
    head = png.open("rb").read(24)
    if len(head) < 24 or head[12:16] != b"IHDR":
        raise Refused(f"{png.name} is not a PNG")
    return struct.unpack(">II", head[16:24])


def frames_per_second(bpy):
    """As the job says, else as the scene says; then the time base of the scene is kept (23.976 is 24 / 1.001)."""
    wanted = number("fps", 1, 240)
    if wanted is not None:
        return wanted, 1.0
    if SCENE.is_file():
        render = open_scene(bpy).render
        return render.fps, render.fps_base
    return DEFAULT_FPS, 1.0


def encode(bpy, frames, rate, final):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    width, height = size_of(frames[0])
    render = scene.render
    # H.264 halves the colour planes, so both sides are even.
    render.resolution_x, render.resolution_y, render.resolution_percentage = width & ~1, height & ~1, 100
    render.fps, render.fps_base = rate
    scene.frame_start, scene.frame_end = 1, len(frames)
    # The frames are finished pictures: no view transform a second time.
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    settings = render.image_settings
    settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    settings.color_mode = "RGB"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor, render.ffmpeg.ffmpeg_preset = "PERC_LOSSLESS", "GOOD"
    render.ffmpeg.audio_codec = "NONE"
    render.filepath, render.use_file_extension = str(final), False

    editor = scene.sequence_editor_create()
    strip = editor.strips.new_image("Frames", str(frames[0]), channel=1, frame_start=1, fit_method="ORIGINAL")
    if len({frame.parent for frame in frames}) > 1:
        raise Refused("the frames lie in different folders")
    for frame in frames[1:]:
        strip.elements.append(frame.name)
    render.use_sequencer, render.use_compositing = True, False
    bpy.ops.render.render(animation=True)


def main():
    output = take_standard_output()
    frames = collected_frames()
    bpy = load_blender(processors())
    rate = frames_per_second(bpy)
    partial = OUT / ".partial" / "animation.mp4"
    partial.parent.mkdir(parents=True, exist_ok=True)
    encode(bpy, frames, rate, partial)
    if not partial.is_file() or partial.stat().st_size == 0:
        raise Refused("Blender wrote no film")
    final = OUT / "animation.mp4"
    partial.replace(final)
    print(f"film: {len(frames)} frames at {rate[0] / rate[1]:g} a second, {final}", file=output)


if __name__ == "__main__":
    try:
        main()
    except Refused as problem:
        print(f"film: {problem}", file=sys.stderr, flush=True)
        sys.exit(1)
