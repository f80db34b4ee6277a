"""Looks at the scene before any money moves: `preflight` of the job.

Refuses (exit code 1) what cannot give the wanted pictures; warns, by name, about what would be missing in them. Findings
go to standard error as text and to standard output as JSON, one a line:

    {"level": "error" | "warning" | "info", "code": "...", "message": "...", "names": ["..."]}
"""

import glob
import json
import sys
from pathlib import Path

from scene import Refused, load_blender, number, open_scene, param, parse_frames, take_standard_output

MOST_NAMES_IN_TEXT = 12


def listed(names):
    names = sorted(set(names))
    more = len(names) - MOST_NAMES_IN_TEXT
    return ", ".join(names[:MOST_NAMES_IN_TEXT]) + (f" and {more} more" if more > 0 else "")


class Findings:
    def __init__(self, output):
        self.output, self.refused = output, False

    def add(self, level, code, message, names=()):
        names = sorted(set(names))
        print(json.dumps({"level": level, "code": code, "message": message, "names": names}), file=self.output)
        print(f"preflight: {level}: {message}", file=sys.stderr, flush=True)
        self.refused |= level == "error"


def check_camera(scene, findings):
    if scene.camera is None:
        findings.add("error", "no-camera", f"scene {scene.name!r} has no camera: set one as the active camera "
                     "(View > Cameras > Set Active Object as Camera) and save", [scene.name])


def check_engine(scene, findings):
    if scene.render.engine != "CYCLES":
        findings.add("error", "engine", f"scene {scene.name!r} renders with {scene.render.engine}, which needs a "
                     "display or a GPU; this app renders with CYCLES", [scene.render.engine])


def check_frames(scene, findings):
    text = param("frames")
    if text is None:
        raise Refused("parameter frames is missing")
    first, last = scene.frame_start, scene.frame_end
    outside = [f"{a}-{b}" if a != b else str(a) for a, b in parse_frames(text) if a < first or b > last]
    if outside:
        findings.add("error", "frames-outside", f"frames {text} reach outside the scene, which has frames "
                     f"{first} to {last}", outside)


def absent(bpy, path, library):
    """Whether the file behind a path of the .blend is not here; `<UDIM>` and the like stand for any number."""
    if not path or path.startswith("<"):
        return False
    where = bpy.path.abspath(path, library=library)
    for token in ("<UDIM>", "<UVTILE>"):
        if token in where:
            parts = where.split(token)
            return not glob.glob("*".join(glob.escape(part) for part in parts))
    return not Path(where).exists()


def check_files(bpy, findings):
    """Files that the scene refers to and that do not travel with it."""
    data = bpy.data
    textures = [
        f"{image.name} ({image.filepath})" for image in data.images
        if image.source in {"FILE", "SEQUENCE", "MOVIE", "TILED"} and not image.packed_files
        and absent(bpy, image.filepath, image.library)
    ]
    libraries = [
        f"{library.name} ({library.filepath})" for library in data.libraries
        if not library.packed_file and absent(bpy, library.filepath, library.parent)
    ]
    others = [
        f"{block.name} ({block.filepath})"
        for collection in (data.fonts, data.volumes, data.cache_files, data.movieclips)
        for block in collection
        if not getattr(block, "packed_file", None) and absent(bpy, block.filepath, block.library)
    ]
    for found, code, one, many, remedy in (
        (textures, "missing-textures", "texture is", "textures are", "File > External Data > Pack Resources"),
        (libraries, "missing-libraries", "linked library is", "linked libraries are", "make local what they hold"),
        (others, "missing-files", "other file is", "other files are", "pack them, or bake what they hold"),
    ):
        if found:
            findings.add("warning", code, f"{len(found)} {one if len(found) == 1 else many} not in the .blend, and a node "
                         f"renders without: {listed(found)}; to mend it: {remedy}", found)


def check(findings):
    number("samples", 1, 65536)
    number("fps", 1, 240)
    bpy = load_blender(1)
    scene = open_scene(bpy)
    check_camera(scene, findings)
    check_engine(scene, findings)
    check_frames(scene, findings)
    check_files(bpy, findings)
    size = f"{scene.render.resolution_x}x{scene.render.resolution_y} at {scene.render.resolution_percentage} %"
    findings.add("info", "scene", f"scene {scene.name!r}: frames {scene.frame_start} to {scene.frame_end}, {size}, "
                 f"{scene.cycles.samples} samples, Blender {bpy.app.version_string}")


def main():
    findings = Findings(take_standard_output())
    try:
        check(findings)
    except Refused as problem:
        findings.add("error", "refused", str(problem))
    return 1 if findings.refused else 0


if __name__ == "__main__":
    sys.exit(main())
