"""The scene and the words of the job, as the three commands of this app see them.

Owns opening the .blend without running anything that is embedded in it, the number of processors in use, and the
parameters that the job passes in the environment. Imports Blender late: how many threads Blender's scheduler starts is
decided by the processors that the process may use at that moment.
"""

import math
import os
import re
from pathlib import Path

# The container's root; tests have one of their own.
ROOT = Path(os.environ.get("RENDER_ROOT", "/"))
SCENE = ROOT / "in/scene.blend"
OUT = ROOT / "out"
COLLECTED = ROOT / "collected"

# More frames than this in one expression is a slip of the keyboard, not a film.
MOST_FRAMES = 1_000_000


class Refused(Exception):
    """Something that the user can mend; the text says what and how."""


def param(name):
    """A parameter of the job, or None where the job leaves the decision to the scene."""
    value = os.environ.get(f"GPUX_PARAM_{name.upper()}", "").strip()
    return None if value in ("", "scene") else value


def number(name, low, high):
    """The parameter as a whole number within bounds, or None."""
    text = param(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise Refused(f"parameter {name}: expected a whole number from {low} to {high}, or scene; got {text!r}")
    return int(text)


def parse_frames(text):
    """Inclusive (first, last) ranges of an expression such as `7` or `3,5-10,20-24`."""
    ranges, count = [], 0
    for piece in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,7})(?:\s*-\s*([0-9]{1,7}))?\s*", piece)
        if not found:
            raise Refused(f"parameter frames: {piece!r} is neither a frame such as 7 nor a range such as 5-10")
        first = int(found[1])
        last = int(found[2]) if found[2] else first
        if last < first:
            raise Refused(f"parameter frames: the range {piece.strip()} runs backwards; write {last}-{first}")
        ranges.append((first, last))
        count += last - first + 1
    if count > MOST_FRAMES:
        raise Refused(f"parameter frames: {count} frames; at most {MOST_FRAMES} fit in one job")
    return ranges


def processors():
    """How many threads the work may keep busy: the lease's share where it is known, else what the kernel allows."""
    share = os.environ.get("GPUX_CPUS", "")
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", share) and float(share) > 0:
        return max(1, math.floor(float(share)))
    allowed = len(os.sched_getaffinity(0))
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = Path(quota_file).read_text().split()
            quota, period = words if period_file is None else (words[0], Path(period_file).read_text())
            if quota not in ("max", "-1"):
                return max(1, min(allowed, math.floor(int(quota) / int(period))))
        except (OSError, ValueError):
            continue
    return allowed


def load_blender(threads):
    """Blender as a module, with as many threads as the lease pays for.

    Blender's scheduler (TBB) starts one worker for each processor that it sees on its first use, and a worker beyond
    the share spins: a frame then costs twice the processor time. So it is shown only the share while it starts.
    """
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(every)[:threads]))
    try:
        import bpy

        # The first parallel work fixes the number of workers; opening any file does some.
        bpy.ops.wm.read_factory_settings(use_empty=True)
    finally:
        os.sched_setaffinity(0, every)
    return bpy


def open_scene(bpy, path=SCENE):
    """The scene of the file. Scripts and driver expressions inside it are not run."""
    if not path.is_file():
        raise Refused(f"input scene: no file at {path}")
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=False)
    except RuntimeError as problem:
        reason = str(problem).strip().removeprefix("Error: ")
        raise Refused(f"input scene: Blender {bpy.app.version_string} cannot open it: {reason}") from None
    return bpy.context.scene


def take_standard_output():
    """Standard output for this app's own words. What Blender prints, in C and in Python, goes to standard error."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return own


def file_name(frame):
    return f"frame_{frame:04}.png"
