"""Makes scene.blend, the animation that the demo renders: dawn over still water, seen through three arches.

Owns every number of the scene; everything is procedural, so the file needs no texture and no library. Run it with the
interpreter of the environment that `scripts/install-deps` makes:

    python make_scene.py scene.blend

The same script gives the same scene: the one random generator has a fixed seed.
"""

import math
import os
import random
import sys

import bpy  # first: it brings bmesh
import bmesh

FRAMES = 48
WIDTH, HEIGHT = 480, 270
# Enough for a clean picture after denoising; a frame costs about three seconds of one core.
SAMPLES = 8

# The palette, in scene-linear RGB.
PLASTER_ROSE = (0.78, 0.31, 0.22)
PLASTER_SAND = (0.86, 0.56, 0.36)
PLASTER_SHELL = (0.90, 0.72, 0.58)
STONE = (0.74, 0.60, 0.50)
CYPRESS = (0.035, 0.085, 0.05)
GOLD = (1.0, 0.62, 0.22)
WATER = (0.010, 0.045, 0.060)
HAZE = (0.95, 0.50, 0.36)


def clear_file():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.name = "First light"
    return scene


def link(obj):
    bpy.context.scene.collection.objects.link(obj)
    return obj


def node(tree, kind, location=(0, 0), **inputs):
    made = tree.nodes.new(kind)
    made.location = location
    for name, value in inputs.items():
        made.inputs[name.replace("_", " ")].default_value = value
    return made


def math_node(tree, operation, *values, clamp=False):
    """A math node whose inputs are numbers or sockets; returns its output socket."""
    made = tree.nodes.new("ShaderNodeMath")
    made.operation = operation
    made.use_clamp = clamp
    for slot, value in zip(made.inputs, values):
        if isinstance(value, (int, float)):
            slot.default_value = value
        else:
            tree.links.new(value, slot)
    return made.outputs[0]


# --- Materials ---------------------------------------------------------------------------------------------------


def new_material(name):
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    return material, tree, tree.nodes.new("ShaderNodeOutputMaterial")


def plaster(name, color, roughness=0.75):
    """Lime plaster: a slow variation of tone and a fine grain."""
    material, tree, output = new_material(name)
    surface = node(tree, "ShaderNodeBsdfPrincipled", Base_Color=(*color, 1), Roughness=roughness)
    where = tree.nodes.new("ShaderNodeTexCoord").outputs["Object"]

    tone = node(tree, "ShaderNodeTexNoise", Scale=0.9, Detail=1.0, Roughness=0.6)
    tree.links.new(where, tone.inputs["Vector"])
    mix = tree.nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    mix.inputs["A"].default_value = (*(c * 0.80 for c in color), 1)
    mix.inputs["B"].default_value = (*(min(1, c * 1.12) for c in color), 1)
    tree.links.new(tone.outputs["Fac"], mix.inputs["Factor"])
    tree.links.new(mix.outputs["Result"], surface.inputs["Base Color"])

    grain = node(tree, "ShaderNodeTexNoise", Scale=22.0, Detail=0.0, Roughness=0.7)
    tree.links.new(where, grain.inputs["Vector"])
    bump = node(tree, "ShaderNodeBump", Strength=0.10, Distance=0.04)
    tree.links.new(grain.outputs["Fac"], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], surface.inputs["Normal"])
    tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return material


def simple(name, color, roughness, metallic=0.0):
    material, tree, output = new_material(name)
    surface = node(tree, "ShaderNodeBsdfPrincipled", Base_Color=(*color, 1), Roughness=roughness, Metallic=metallic)
    tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return material


def distant(name, color, haze):
    """A hill: its own colour, faded towards the haze as far things are."""
    material, tree, output = new_material(name)
    mixed = [own * (1 - haze) + far * haze for own, far in zip(color, HAZE)]
    surface = node(tree, "ShaderNodeEmission", Color=(*mixed, 1), Strength=0.75)
    tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return material


def water():
    """Still water with two scales of ripples that drift; calm in the distance, where ripples would only glitter."""
    material, tree, output = new_material("Water")
    surface = node(tree, "ShaderNodeBsdfPrincipled", Base_Color=(*WATER, 1), Roughness=0.035, IOR=1.333)
    surface.inputs["Specular IOR Level"].default_value = 0.8
    where = tree.nodes.new("ShaderNodeTexCoord").outputs["Object"]

    heights = []
    for scale, drift in ((0.55, 1.3), (2.4, 0.5)):
        # The third coordinate is free on a flat lake: moving along it makes the ripples live.
        stretch = node(tree, "ShaderNodeMapping", Scale=(1.0, 2.6, 1.0))
        animate(stretch.inputs["Location"], "default_value", 0.0, drift, index=2)
        noise = node(tree, "ShaderNodeTexNoise", Scale=scale, Detail=0.0)
        tree.links.new(where, stretch.inputs["Vector"])
        tree.links.new(stretch.outputs[0], noise.inputs["Vector"])
        heights.append(noise.outputs["Fac"])
    height = math_node(tree, "MULTIPLY_ADD", heights[1], 0.22, heights[0])

    distance = tree.nodes.new("ShaderNodeCameraData").outputs["View Distance"]
    near = math_node(tree, "SUBTRACT", 1.0, math_node(tree, "DIVIDE", distance, 70.0), clamp=True)
    bump = node(tree, "ShaderNodeBump", Distance=0.22)
    tree.links.new(math_node(tree, "MULTIPLY", near, 0.20), bump.inputs["Strength"])
    tree.links.new(height, bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], surface.inputs["Normal"])
    tree.links.new(surface.outputs[0], output.inputs["Surface"])
    return material


# --- Shapes ------------------------------------------------------------------------------------------------------


def from_bmesh(name, mesh, material, smooth=False):
    data = bpy.data.meshes.new(name)
    mesh.to_mesh(data)
    mesh.free()
    data.materials.append(material)
    if smooth:
        data.shade_smooth()
    return link(bpy.data.objects.new(name, data))


def soften(obj, width, segments=3):
    bevel = obj.modifiers.new("Soft edges", "BEVEL")
    bevel.width = width
    bevel.segments = segments
    bevel.limit_method = "ANGLE"
    bevel.angle_limit = math.radians(40)
    bevel.harden_normals = True
    obj.data.shade_smooth()
    return obj


def arch(name, material, span, rise, thickness, depth):
    """A round arch: legs of height `rise`, a half circle of inner radius `span / 2` above them."""
    inner, outer, steps = span / 2, span / 2 + thickness, 40

    def outline(radius):
        points = [(-radius, -1.0)]
        for step in range(steps + 1):
            angle = math.pi * (1 - step / steps)
            points.append((radius * math.cos(angle), rise + radius * math.sin(angle)))
        points.append((radius, -1.0))
        return points

    mesh = bmesh.new()
    front = [[mesh.verts.new((x, -depth / 2, z)) for x, z in outline(r)] for r in (inner, outer)]
    back = [[mesh.verts.new((x, depth / 2, z)) for x, z in outline(r)] for r in (inner, outer)]
    for i in range(len(front[0]) - 1):
        mesh.faces.new((front[0][i], front[1][i], front[1][i + 1], front[0][i + 1]))
        mesh.faces.new((back[0][i + 1], back[1][i + 1], back[1][i], back[0][i]))
        mesh.faces.new((front[1][i], back[1][i], back[1][i + 1], front[1][i + 1]))
        mesh.faces.new((front[0][i + 1], back[0][i + 1], back[0][i], front[0][i]))
    bmesh.ops.recalc_face_normals(mesh, faces=mesh.faces)
    return soften(from_bmesh(name, mesh, material), 0.10)


def drum(name, material, radius, height, at, sides=96):
    """A round plinth that stands in the water."""
    mesh = bmesh.new()
    bmesh.ops.create_cone(mesh, cap_ends=True, segments=sides, radius1=radius, radius2=radius, depth=height + 1)
    obj = from_bmesh(name, mesh, material)
    obj.location = (at[0], at[1], (height - 1) / 2)
    return soften(obj, 0.06)


def box(name, material, size, at):
    mesh = bmesh.new()
    bmesh.ops.create_cube(mesh, size=1)
    bmesh.ops.scale(mesh, vec=size, verts=mesh.verts)
    obj = from_bmesh(name, mesh, material)
    obj.location = at
    return soften(obj, 0.05)


def sphere(name, material, radius, at):
    mesh = bmesh.new()
    bmesh.ops.create_uvsphere(mesh, u_segments=64, v_segments=32, radius=radius)
    obj = from_bmesh(name, mesh, material, smooth=True)
    obj.location = at
    return obj


def cypress(name, material, height, at, rng):
    """A cypress: a spindle with uneven flanks."""
    mesh = bmesh.new()
    sides, rings = 28, 34
    phases = [rng.uniform(0, 2 * math.pi) for _ in range(3)]
    rows = []
    for ring in range(rings + 1):
        t = ring / rings
        girth = height * 0.115 * math.sin(math.pi * min(1, t * 0.92 + 0.08)) ** 0.75 * (1 - 0.35 * t)
        row = []
        for side in range(sides):
            a = 2 * math.pi * side / sides
            folds = 1 + 0.10 * math.sin(7 * a + 9 * t + phases[0]) + 0.07 * math.sin(11 * a - 17 * t + phases[1])
            folds += rng.uniform(-0.05, 0.05)
            row.append(mesh.verts.new((girth * folds * math.cos(a), girth * folds * math.sin(a), t * height)))
        rows.append(row)
    for low, high in zip(rows, rows[1:]):
        for i in range(sides):
            j = (i + 1) % sides
            mesh.faces.new((low[i], low[j], high[j], high[i]))
    obj = from_bmesh(name, mesh, material, smooth=True)
    obj.location = at
    return obj


def ridge(name, material, y, width, height, rng):
    """A line of hills far away: a flat ribbon whose upper edge is a sum of waves."""
    waves = [(rng.uniform(0.5, 1), rng.uniform(1, 5), rng.uniform(0, 6.3)) for _ in range(6)]
    total = sum(strength / pace for strength, pace, _ in waves)
    mesh = bmesh.new()
    steps, edge = 160, []
    for i in range(steps + 1):
        t = i / steps
        lift = sum(s / p * (0.5 + 0.5 * math.sin(2 * math.pi * p * t + o)) for s, p, o in waves) / total
        x = (t - 0.5) * width
        edge.append((mesh.verts.new((x, 0, -1)), mesh.verts.new((x, 0, height * lift))))
    for (a, b), (c, d) in zip(edge, edge[1:]):
        mesh.faces.new((a, c, d, b))
    obj = from_bmesh(name, mesh, material)
    obj.location = (0, y, 0)
    return obj


# --- Light and movement ------------------------------------------------------------------------------------------


def animate(target, path, first, last, index=-1):
    """Two keys over the whole film; the pace between them is even."""
    for frame, value in ((1, first), (FRAMES, last)):
        if index < 0:
            setattr(target, path, value)
        else:
            getattr(target, path)[index] = value
        target.keyframe_insert(path, index=index, frame=frame)


def even_pace():
    """Eased movement, which is Blender's default, would make the first two frames, and the last two, all but equal."""
    for action in bpy.data.actions:
        bags = (bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags)
        for curve in (curve for bag in bags for curve in bag.fcurves):
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"


def dawn(scene, azimuth, low, high):
    """The sky: a gradient by height, a glow round the sun, and the sun's disc; with the lamp that casts its light."""
    world = bpy.data.worlds.new("Dawn")
    world.use_nodes = True
    scene.world = world
    # Without a limit Cycles samples this sky on a huge map before every frame, for longer than the frame itself takes.
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 512
    tree = world.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputWorld")
    direction = tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"]
    split = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(direction, split.inputs[0])

    ramp = tree.nodes.new("ShaderNodeValToRGB")
    stops = (
        (0.00, (1.00, 0.42, 0.20)),
        (0.06, (0.92, 0.36, 0.25)),
        (0.16, (0.56, 0.30, 0.38)),
        (0.34, (0.16, 0.22, 0.44)),
        (1.00, (0.025, 0.06, 0.20)),
    )
    elements = ramp.color_ramp.elements
    while len(elements) < len(stops):
        elements.new(0.5)
    for element, (position, color) in zip(elements, stops):
        element.position = position
        element.color = (*color, 1)
    tree.links.new(math_node(tree, "ABSOLUTE", split.outputs["Z"]), ramp.inputs["Fac"])

    height = tree.nodes.new("ShaderNodeValue")
    animate(height.outputs[0], "default_value", low, high)
    toward = tree.nodes.new("ShaderNodeCombineXYZ")
    flat = math_node(tree, "COSINE", height.outputs[0])
    tree.links.new(math_node(tree, "MULTIPLY", flat, math.sin(azimuth)), toward.inputs["X"])
    tree.links.new(math_node(tree, "MULTIPLY", flat, math.cos(azimuth)), toward.inputs["Y"])
    tree.links.new(math_node(tree, "SINE", height.outputs[0]), toward.inputs["Z"])
    product = tree.nodes.new("ShaderNodeVectorMath")
    product.operation = "DOT_PRODUCT"
    tree.links.new(direction, product.inputs[0])
    tree.links.new(toward.outputs[0], product.inputs[1])
    near = math_node(tree, "MAXIMUM", product.outputs["Value"], 0.0)

    wide = math_node(tree, "MULTIPLY", math_node(tree, "POWER", near, 12.0), 0.70)
    tight = math_node(tree, "MULTIPLY", math_node(tree, "POWER", near, 180.0), 1.1)
    edge = math.cos(math.radians(2.6))
    disc = tree.nodes.new("ShaderNodeMapRange")
    disc.interpolation_type = "SMOOTHSTEP"
    tree.links.new(near, disc.inputs["Value"])
    for name, value in (("From Min", edge), ("From Max", edge + 0.00012), ("To Min", 0.0), ("To Max", 4.5)):
        disc.inputs[name].default_value = value

    sky = tree.nodes.new("ShaderNodeBackground")
    tree.links.new(ramp.outputs["Color"], sky.inputs["Color"])
    sky.inputs["Strength"].default_value = 0.9
    glow = node(tree, "ShaderNodeBackground", Color=(1.0, 0.50, 0.22, 1))
    tree.links.new(math_node(tree, "ADD", wide, tight), glow.inputs["Strength"])
    sun = node(tree, "ShaderNodeBackground", Color=(1.0, 0.70, 0.36, 1))
    tree.links.new(disc.outputs[0], sun.inputs["Strength"])
    first, second = tree.nodes.new("ShaderNodeAddShader"), tree.nodes.new("ShaderNodeAddShader")
    tree.links.new(sky.outputs[0], first.inputs[0])
    tree.links.new(glow.outputs[0], first.inputs[1])
    tree.links.new(first.outputs[0], second.inputs[0])
    tree.links.new(sun.outputs[0], second.inputs[1])
    tree.links.new(second.outputs[0], output.inputs["Surface"])


def key_light(name, rotation, color, strength, softness):
    lamp = bpy.data.lights.new(name, "SUN")
    lamp.energy = strength
    lamp.color = color
    lamp.angle = math.radians(softness)
    obj = link(bpy.data.objects.new(name, lamp))
    obj.rotation_euler = rotation
    return obj


def camera(scene, path, aim_path, lens):
    data = bpy.data.cameras.new("Camera")
    data.lens = lens
    data.clip_end = 2000
    obj = link(bpy.data.objects.new("Camera", data))
    aim = link(bpy.data.objects.new("Aim", None))
    for index in range(3):
        animate(obj, "location", path[0][index], path[1][index], index)
        animate(aim, "location", aim_path[0][index], aim_path[1][index], index)
    follow = obj.constraints.new("TRACK_TO")
    follow.target = aim
    follow.track_axis, follow.up_axis = "TRACK_NEGATIVE_Z", "UP_Y"
    data.dof.use_dof = True
    data.dof.focus_object = aim
    data.dof.aperture_fstop = 1.4
    scene.camera = obj


# --- The picture -------------------------------------------------------------------------------------------------


def build(scene):
    rng = random.Random(48)
    rose, sand, shell = (plaster(n, c) for n, c in (
        ("Rose plaster", PLASTER_ROSE), ("Sand plaster", PLASTER_SAND), ("Shell plaster", PLASTER_SHELL)))
    stone = plaster("Stone", STONE, roughness=0.6)
    leaves = simple("Cypress", CYPRESS, 0.9)
    gold = simple("Gold", GOLD, 0.16, metallic=1.0)

    surface = bmesh.new()
    bmesh.ops.create_grid(surface, x_segments=1, y_segments=1, size=600)
    from_bmesh("Lake", surface, water())
    for name, y, height, color, haze in (
        ("Far hills", 420, 42, (0.20, 0.16, 0.30), 0.62),
        ("Near hills", 260, 17, (0.13, 0.11, 0.22), 0.34),
    ):
        ridge(name, distant(name, color, haze), y, 1100, height, rng)

    # Three arches, one behind another and each turned a little: the sun stands in the last.
    for name, material, span, rise, thickness, depth, at, turn in (
        ("First arch", rose, 5.2, 3.0, 0.95, 1.5, (-1.5, 0.0), 10),
        ("Second arch", sand, 4.6, 2.7, 0.80, 1.2, (0.5, 7.5), -7),
        ("Third arch", shell, 4.2, 2.4, 0.70, 1.1, (2.0, 15.5), -14),
    ):
        made = arch(name, material, span, rise, thickness, depth)
        made.location = (*at, 0)
        made.rotation_euler = (0, 0, math.radians(turn))

    # A stair that comes out of the water between the first two arches, and what hovers at its top.
    for step in range(5):
        box(f"Step {step + 1}", stone, (2.4, 0.62, 1.2), (0.15 + 0.05 * step, 2.6 + 0.62 * step, -0.50 + 0.20 * step))
    ball = sphere("Sun's sister", gold, 0.46, (0.38, 5.4, 1.6))
    animate(ball, "location", 1.25, 1.62, 2)

    # Islands with cypresses, and stones that lead the eye in.
    for name, radius, height, at, trees in (
        ("Left island", 1.9, 0.35, (-6.3, 4.4), ((-6.6, 4.6, 5.4), (-5.6, 4.1, 3.6), (-7.3, 3.8, 4.1))),
        ("Right island", 1.5, 0.28, (5.6, 8.2), ((5.4, 8.3, 4.6), (6.2, 7.8, 3.1))),
        ("Far island", 2.2, 0.30, (-4.6, 19.0), ((-4.9, 19.2, 4.2), (-3.8, 18.6, 3.0))),
    ):
        drum(name, stone, radius, height, at)
        for i, (x, y, tall) in enumerate(trees):
            cypress(f"{name} cypress {i + 1}", leaves, tall, (x, y, height - 0.1), rng)
    for i, (x, y, radius) in enumerate(((2.4, -2.6, 0.62), (3.3, -0.4, 0.5), (3.1, 1.9, 0.42), (-5.7, -3.4, 0.42))):
        drum(f"Stepping stone {i + 1}", stone, radius, 0.10, (x, y), sides=64)

    dawn(scene, azimuth=math.radians(12.0), low=math.radians(3.3), high=math.radians(4.6))
    key_light("Low sun", (math.radians(77), 0, math.radians(118)), (1.0, 0.50, 0.22), 7.0, 1.5)
    key_light("Cool sky", (math.radians(40), 0, math.radians(-35)), (0.42, 0.55, 1.0), 0.6, 40.0)
    camera(scene, ((2.6, -15.6, 1.25), (-3.35, -13.2, 1.5)), ((1.3, 4.0, 2.5), (0.4, 6.0, 2.95)), 30)


def settings(scene):
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.fps = 24
    render.film_transparent = False
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.use_persistent_data = False
    scene.frame_start, scene.frame_end = 1, FRAMES
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = SAMPLES
    cycles.use_adaptive_sampling = False
    cycles.seed = 7
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "ACCURATE"
    cycles.denoising_quality = "BALANCED"
    cycles.max_bounces = 4
    cycles.diffuse_bounces = 2
    cycles.glossy_bounces = 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4.0
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.15


def main():
    # Blender writes the folder of its file dialogue into every file that it saves.
    os.environ["HOME"] = "/"
    scene = clear_file()
    settings(scene)
    build(scene)
    even_pace()
    scene.frame_set(1)
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1], compress=True, relative_remap=False)


if __name__ == "__main__":
    main()
