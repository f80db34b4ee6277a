"""Renders one frame with the environment's own Blender: SCENE FRAME PICTURE. Run as a process of its own."""

import sys

import bpy

scene_file, frame, picture = sys.argv[1], int(sys.argv[2]), sys.argv[3]
bpy.ops.wm.open_mainfile(filepath=scene_file, load_ui=False, use_scripts=False)
scene = bpy.context.scene
scene.frame_set(frame)
scene.render.filepath = picture
bpy.ops.render.render(write_still=True)
