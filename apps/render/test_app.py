"""Runs the app's three commands as processes, on the demo's scene and on scenes that are wrong on purpose."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "app"))

from scene import Refused, parse_frames  # noqa: E402

# Makes the scenes: SCRIPT FOLDER. One without a camera that also lacks what it refers to and carries a script that would
# leave a mark; one that renders with another engine.
BAD_SCENES = """
import sys
import bpy

folder = sys.argv[1]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.context.scene.collection.objects.link(bpy.data.objects.new("Chair", bpy.data.meshes.new("Chair")))
bpy.ops.wm.save_as_mainfile(filepath=f"{folder}/furniture.blend")

bpy.ops.wm.read_factory_settings(use_empty=True)
with bpy.data.libraries.load(f"{folder}/furniture.blend", link=True) as (_, wanted):
    wanted.objects = ["Chair"]
scene = bpy.context.scene
scene.collection.objects.link(wanted.objects[0])
scene.render.engine = "CYCLES"
picture = bpy.data.images.new("Wood", 4, 4)
picture.filepath_raw, picture.file_format = f"{folder}/wood.png", "PNG"
picture.save()
picture.source, picture.use_fake_user = "FILE", True
script = bpy.data.texts.new("mark.py")
script.write(f"open({folder!r} + '/script-ran', 'w').close()")
script.use_module = True
bpy.ops.wm.save_as_mainfile(filepath=f"{folder}/no-camera.blend")

bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
scene.render.engine = "BLENDER_WORKBENCH"
bpy.ops.wm.save_as_mainfile(filepath=f"{folder}/workbench.blend")
"""


class Frames(unittest.TestCase):
    def test_expressions_become_ranges(self):
        self.assertEqual(parse_frames("7"), [(7, 7)])
        self.assertEqual(parse_frames("3,5-10,20-24"), [(3, 3), (5, 10), (20, 24)])

    def test_anything_else_is_refused(self):
        for text in ("", "a", "1-", "-3", "1--2", "1;2", "9-3", "1-9999999", "1.5", "1,,2"):
            with self.subTest(text), self.assertRaises(Refused):
                parse_frames(text)


class App(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scenes = tempfile.TemporaryDirectory()
        folder = Path(cls.scenes.name)
        subprocess.run([sys.executable, "-c", BAD_SCENES, str(folder)], check=True, capture_output=True)
        (folder / "furniture.blend").unlink()
        (folder / "wood.png").unlink()
        (folder / "not-a-scene.blend").write_text("hello")

    @classmethod
    def tearDownClass(cls):
        cls.scenes.cleanup()

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)
        for folder in ("in", "out", "collected"):
            (self.root / folder).mkdir()

    def run_app(self, command, scene, **environment):
        source = HERE / "scene.blend" if scene == "demo" else Path(self.scenes.name) / f"{scene}.blend"
        (self.root / "in/scene.blend").write_bytes(source.read_bytes())
        return subprocess.run([sys.executable, "-B", str(HERE / f"app/{command}.py")], capture_output=True, text=True,
                              env={**os.environ, "RENDER_ROOT": str(self.root), "GPUX_CPUS": "1", **environment})

    def preflight(self, scene, frames="1-48"):
        done = self.run_app("preflight", scene, GPUX_PARAM_FRAMES=frames)
        findings = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, {finding["code"]: finding for finding in findings}

    def test_preflight_lets_the_demo_through(self):
        status, findings = self.preflight("demo")
        self.assertEqual((status, list(findings)), (0, ["scene"]))

    def test_preflight_refuses_frames_outside_the_scene_by_name(self):
        status, findings = self.preflight("demo", "5,40-60")
        self.assertEqual(status, 1)
        self.assertIn("frames 5,40-60 reach outside the scene, which has frames 1 to 48",
                      findings["frames-outside"]["message"])

    def test_preflight_refuses_a_scene_without_a_camera_and_warns_of_what_is_missing(self):
        status, findings = self.preflight("no-camera", "1-4")
        self.assertEqual(status, 1)
        self.assertEqual(findings["no-camera"]["level"], "error")
        self.assertIn("wood.png", findings["missing-textures"]["message"])
        self.assertIn("furniture.blend", findings["missing-libraries"]["message"])
        self.assertEqual(findings["missing-textures"]["level"], "warning")

    def test_preflight_refuses_an_engine_that_needs_a_display(self):
        status, findings = self.preflight("workbench", "1")
        self.assertEqual((status, findings["engine"]["names"]), (1, ["BLENDER_WORKBENCH"]))

    def test_preflight_refuses_what_is_no_scene(self):
        status, findings = self.preflight("not-a-scene")
        self.assertEqual(status, 1)
        self.assertIn("cannot open it", findings["refused"]["message"])

    def test_scripts_inside_a_scene_never_run(self):
        self.run_app("preflight", "no-camera", GPUX_PARAM_FRAMES="1")
        self.run_app("render", "no-camera", GPUX_ARRAY_VALUE="1")
        self.assertFalse((Path(self.scenes.name) / "script-ran").exists())

    def test_render_refuses_what_is_no_frame(self):
        for value in ("", "1-4", "x", "-1"):
            done = self.run_app("render", "demo", GPUX_ARRAY_VALUE=value)
            self.assertEqual((done.returncode, list((self.root / "out").iterdir())), (1, []))
            self.assertIn("expected the number of a frame", done.stderr)

    def test_frames_carry_their_lease_and_become_a_film(self):
        for frame in (3, 4):
            done = self.run_app("render", "demo", GPUX_ARRAY_VALUE=str(frame), GPUX_ARRAY_INDEX=str(frame - 1),
                                GPUX_LEASE_ID="0xfeed", GPUX_PARAM_SAMPLES="1")
            self.assertEqual(done.returncode, 0, done.stderr)
            name = f"frame_000{frame}.png"
            picture = (self.root / "out" / name).read_bytes()
            self.assertIn(b"tEXtgpux:lease\x000xfeed", picture)
            self.assertIn(b"tEXtgpux:frame\x00%d" % frame, picture)
            (self.root / "collected" / name).write_bytes(picture)
        done = self.run_app("film", "demo", GPUX_PARAM_FPS="12")
        self.assertEqual(done.returncode, 0, done.stderr)
        probe = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames,r_frame_rate",
             "-of", "csv=p=0", str(self.root / "out/animation.mp4")], capture_output=True, text=True, check=True)
        self.assertEqual(probe.stdout.strip(), "h264,12/1,2")


if __name__ == "__main__":
    unittest.main()
