"""The sensor models: each effect by itself against figures worked out by hand, and the kernels against plain numpy."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.camera.presets import PRESETS
from human_recon.simulation.outfit import Material
from human_recon.simulation.sensors import (
    SensorModel,
    SensorSwitches,
    Stereo,
    StructuredLight,
    TimeOfFlight,
    sensor_for,
    surface_codes,
)
from human_recon.simulation.sensors.surfaces import PLAIN

ALL_PRESETS = tuple(PRESETS)
KINECT = PRESETS["kinect_v1"].intrinsics
EFFECTS = tuple(field.name for field in fields(SensorSwitches))


def camera(preset: str, width: int, height: int, stride: float) -> CameraIntrinsics:
    """The middle of a preset's image, ``stride`` native pixels per pixel."""
    native = PRESETS[preset].intrinsics
    x, y = (native.width - stride * width) / 2, (native.height - stride * height) / 2
    return CameraIntrinsics(
        width,
        height,
        native.fx / stride,
        native.fy / stride,
        (native.cx - x + 0.5) / stride - 0.5,
        (native.cy - y + 0.5) / stride - 0.5,
    )


def room(view: CameraIntrinsics, far: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, normals and surface codes: a wall, a floor 1.2 m below the camera and three upright cylinders."""
    v, u = np.mgrid[0 : view.height, 0 : view.width]
    x, y = (u - view.cx) / view.fx, (v - view.cy) / view.fy
    z = np.full(x.shape, far)
    normal = np.zeros((*x.shape, 3))
    normal[..., 2] = -1
    floor = y * far > 1.2
    z[floor], normal[floor] = 1.2 / y[floor], (0, -1, 0)
    material, objects = np.full(z.shape, PLAIN, np.uint8), np.where(floor, 1001, 1000).astype(np.int32)
    for person, (at, distance, radius) in enumerate(((-0.5, 1.5, 0.2), (0.1, 2.2, 0.25), (0.6, 3.0, 0.2))):
        across = x * distance - at
        hit = (np.abs(across) < radius) & (np.abs(y * distance) < 0.6)
        surface = distance - np.sqrt(np.maximum(radius**2 - across**2, 0))
        hit &= surface < z
        z[hit] = surface[hit]
        normal[hit] = np.stack([across / radius, 0 * across, (surface - distance) / radius], -1)[hit]
        material[hit] = np.where(y * distance < -0.3, Material.HAIR, Material.CLOTH)[hit]
        objects[hit] = person
    return z.astype(np.float32), normal.astype(np.float32), surface_codes(material, objects)


def wall(view: CameraIntrinsics, z: float) -> np.ndarray:
    return np.full((view.height, view.width), z, np.float32)


def box_before_wall(view: CameraIntrinsics, near: float, far: float) -> tuple[np.ndarray, int, int]:
    """Depth of an upright board in the middle third, and its first and last column."""
    depth = wall(view, far)
    first, last = view.width // 3, 2 * view.width // 3
    depth[:, first : last + 1] = near
    return depth, first, last


def deviation(model: SensorModel, z: float, effects: tuple[str, ...], preset: str) -> float:
    """Standard deviation of the readings of a wall at ``z``, metres, over six frames and places between the steps."""
    view = camera(preset, 120, 120, 1.0)
    errors = []
    for key in range(6):
        at = z * (1 + 0.002 * key)
        reading = model.measure(wall(view, at), None, None, view, 1.0, key, SensorSwitches.only(*effects))
        errors.append(reading - at)
    return float(np.std(errors))


def assert_same(fast: np.ndarray, reference: np.ndarray) -> None:
    """Equal to float32 rounding; one pixel in 1,000 may not be, where that decides between two steps or millimetres."""
    same = np.isclose(fast, reference, rtol=3e-7, atol=0)
    assert same.mean() > 0.999, f"{(~same).sum()} of {same.size} differ"


@pytest.mark.parametrize("preset", ALL_PRESETS)
@pytest.mark.parametrize(("width", "height", "stride"), [(96, 72, 1.0), (80, 60, 4.0), (61, 47, 5.3)])
@pytest.mark.parametrize("surfaces", [True, False])
def test_kernel_is_its_reference(preset: str, width: int, height: int, stride: float, surfaces: bool) -> None:
    view = camera(preset, width, height, stride)
    depth, normal, codes = room(view)
    depth[:3, :5] = 0
    model = sensor_for(preset).draw_unit(np.random.default_rng(width))
    inputs = (depth, normal, codes) if surfaces else (depth, None, None)
    fast = model.measure(*inputs, view, stride, 77)
    assert_same(fast, model.measure_reference(*inputs, view, stride, 77))
    assert fast.dtype == np.float32
    assert (fast > 0).mean() > 0.2


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("preset", ["kinect_v1", "realsense_d435", "kinect_v2"])
def test_kernel_is_its_reference_for_each_effect_alone(preset: str, effect: str) -> None:
    view = camera(preset, 64, 48, 2.0)
    model, inputs, switches = sensor_for(preset), room(view), SensorSwitches.only(effect)
    fast = model.measure(*inputs, view, 2.0, 5, switches)
    assert_same(fast, model.measure_reference(*inputs, view, 2.0, 5, switches))


@pytest.mark.parametrize("preset", ALL_PRESETS)
def test_without_effects_the_input_comes_back(preset: str) -> None:
    view = camera(preset, 96, 72, 3.0)
    depth, normal, codes = room(view)
    model = sensor_for(preset).draw_unit(np.random.default_rng(0))
    np.testing.assert_array_equal(model.measure(depth, normal, codes, view, 3.0, 1, SensorSwitches.only()), depth)


@pytest.mark.parametrize("preset", ALL_PRESETS)
def test_range_limits(preset: str) -> None:
    view = camera(preset, 40, 30, 4.0)
    near = PRESETS[preset].depth_min
    only = SensorSwitches.only("range_limits")
    model = sensor_for(preset)
    assert (model.measure(wall(view, near * 0.98), None, None, view, 4.0, 1, only) == 0).all()
    assert (model.measure(wall(view, near * 1.02), None, None, view, 4.0, 1, only) == np.float32(near * 1.02)).all()
    assert (model.measure(wall(view, 16.0), None, None, view, 4.0, 1, only) == 0).all()


def test_every_switch_does_something() -> None:
    seen = set()
    for preset in ("kinect_v1", "realsense_d435", "kinect_v2"):
        native = PRESETS[preset].intrinsics
        view = camera(preset, native.width // 2, native.height // 2, 2.0)
        depth, normal, codes = room(view, far=7.0)
        model = sensor_for(preset).draw_unit(np.random.default_rng(3))
        model = replace(model, near=1.4)
        for effect in EFFECTS:
            got = model.measure(depth, normal, codes, view, 2.0, 9, SensorSwitches.only(effect))
            if not np.array_equal(got, depth):
                seen.add(effect)
    assert seen == set(EFFECTS)


@pytest.mark.parametrize(("z", "millimetres"), [(1.0, 1.425), (2.0, 5.70), (4.0, 22.80)])
def test_structured_light_noise_is_khoshelham_and_elberinks(z: float, millimetres: float) -> None:
    """1.425e-3 z^2 metres, their equation 6 with their calibrated constants; quantisation is part of it."""
    sigma = deviation(sensor_for("kinect_v1"), z, ("noise", "quantisation"), "kinect_v1")
    assert 1000 * sigma == pytest.approx(millimetres, rel=0.12)


@pytest.mark.parametrize(("z", "millimetres"), [(1.0, 1.9), (2.0, 6.1), (3.0, 14.0)])
def test_structured_light_noise_is_near_nguyens(z: float, millimetres: float) -> None:
    """0.0012 + 0.0019 (z - 0.4)^2 metres: another experiment, another Kinect."""
    sigma = deviation(sensor_for("kinect_v1"), z, ("noise", "quantisation"), "kinect_v1")
    assert 1000 * sigma == pytest.approx(millimetres, rel=0.3)


@pytest.mark.parametrize(("z", "millimetres"), [(1.0, 3.58), (2.0, 14.3), (4.0, 57.3)])
def test_stereo_noise_is_that_of_a_subpixel(z: float, millimetres: float) -> None:
    """z^2 0.08 / (f b), with f = 424 / tan(43.5 deg) = 446.8 pixels and b = 50 mm."""
    sigma = deviation(sensor_for("realsense_d435"), z, ("noise",), "realsense_d435")
    assert 1000 * sigma == pytest.approx(millimetres, rel=0.08)


@pytest.mark.parametrize(("z", "millimetres"), [(1.0, 1.118), (2.0, 1.789), (4.0, 3.578)])
def test_time_of_flight_noise_grows_with_weakness(z: float, millimetres: float) -> None:
    """sqrt(0.8^2 + 0.6^2 x + 0.06^2 x^2) mm with x = z^2 / 0.6; light without fall-off."""
    model = sensor_for("kinect_v2")
    assert isinstance(model.parameters, TimeOfFlight)
    model = replace(model, parameters=replace(model.parameters, falloff=0.0))
    assert 1000 * deviation(model, z, ("noise",), "kinect_v2") == pytest.approx(millimetres, rel=0.03)


@pytest.mark.parametrize("preset", ["kinect_v1", "kinect_v2", "realsense_d435"])
def test_grazing_surfaces_are_noisier(preset: str) -> None:
    view = camera(preset, 120, 120, 1.0)
    depth, noise = wall(view, 2.0), SensorSwitches.only("noise")
    facing = np.broadcast_to(np.float32([0, 0, -1]), (120, 120, 3))
    grazing = np.broadcast_to(np.float32([np.sin(1.3), 0, -np.cos(1.3)]), (120, 120, 3))
    model = sensor_for(preset)
    calm = model.measure(depth, facing, None, view, 1.0, 4, noise).std()
    assert model.measure(depth, grazing, None, view, 1.0, 4, noise).std() > 1.3 * calm


def test_noise_is_correlated_over_the_window_and_not_beyond() -> None:
    view = camera("kinect_v1", 200, 200, 1.0)
    reading = sensor_for("kinect_v1").measure(wall(view, 2.0), None, None, view, 1.0, 8, SensorSwitches.only("noise"))
    error = (reading - reading.mean()).astype(np.float64)

    def correlation(lag: int) -> float:
        return float((error[:, :-lag] * error[:, lag:]).mean() / error.var())

    assert correlation(1) > 0.7
    assert abs(correlation(12)) < 0.1


def test_quantisation_steps_are_an_eighth_of_a_pixel() -> None:
    """At 2 m a step is z^2 / (8 f b) = 4 / (8 * 580.7 * 0.075) = 11.48 mm."""
    view = camera("kinect_v1", 200, 20, 1.0)
    depth = np.broadcast_to(np.linspace(1.97, 2.03, 200, dtype=np.float32), (20, 200))
    only = SensorSwitches.only("quantisation")
    values = np.unique(sensor_for("kinect_v1").measure(depth, None, None, view, 1.0, 1, only))
    assert 1000 * np.diff(values).mean() == pytest.approx(11.48, rel=0.04)
    eighths = 8 * 580.7 * 0.075 / values.astype(np.float64)
    np.testing.assert_allclose(np.diff(eighths), -1, atol=1e-3)


def test_drivers_round_to_millimetres() -> None:
    for preset in ("kinect_v1", "realsense_d455", "azure_kinect_nfov", "oak_d"):
        view = camera(preset, 64, 48, 4.0)
        reading = sensor_for(preset).measure(*room(view), view, 4.0, 1).astype(np.float64)
        np.testing.assert_allclose(reading, np.round(reading, 3), atol=5e-7)
    view = camera("zed_2", 64, 48, 4.0)
    reading = sensor_for("zed_2").measure(*room(view), view, 4.0, 1).astype(np.float64)
    assert np.abs(reading - np.round(reading, 3)).max() > 1e-4


@pytest.mark.parametrize(
    ("preset", "parameters", "left", "right"),
    [
        # f (1/1.5 - 1/3) times the offsets: 525 / 3 = 175 pixels a metre
        ("kinect_v1", StructuredLight(), 13.125, 0.0),  # 0.075 m to the projector
        ("kinect_v1", None, 8.75, 4.375),  # registered to colour: 0.050 m to the projector, 0.025 m to the camera
        ("realsense_d435", None, 7.45, 0.0),  # 446.8 / 3 * 0.050
        ("zed_2", None, 20.57, 0.0),  # 514.1 / 3 * 0.12
        ("kinect_v2", None, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("stride", [1.0, 2.0])
def test_shadow_side_and_width(
    preset: str, parameters: StructuredLight | None, left: float, right: float, stride: float
) -> None:
    model = sensor_for(preset)
    if parameters is not None:
        model = replace(model, parameters=parameters)
    width = int(240 / stride)
    view = camera(preset, width, 16, stride)
    depth, first, last = box_before_wall(view, 1.5, 3.0)
    reading = model.measure(depth, None, None, view, stride, 3, SensorSwitches.only("shadow"))
    missing = reading == 0
    assert not missing[:, first : last + 1].any()
    assert missing[:, :first].sum(1).mean() * stride == pytest.approx(left, abs=stride)
    assert missing[:, last + 1 :].sum(1).mean() * stride == pytest.approx(right, abs=stride)
    if left:  # right beside the board
        assert missing[:, first - 1].all()


def test_things_grow_into_their_shadows() -> None:
    view = camera("kinect_v1", 240, 16, 1.0)
    depth, first, _ = box_before_wall(view, 1.5, 3.0)
    model = sensor_for("kinect_v1")
    assert isinstance(model.parameters, StructuredLight)
    still = replace(model, parameters=replace(model.parameters, jitter=0.0, fill=2.0))
    reading = still.measure(depth, None, None, view, 1.0, 3, SensorSwitches.only("shadow", "edges"))
    np.testing.assert_allclose(reading[:, first - 2 : first], 1.5)
    assert (reading[:, first - 4] == 0).all()


def test_borders_are_ragged_and_made_of_the_two_surfaces() -> None:
    view = camera("kinect_v1", 240, 200, 1.0)
    depth, first, _ = box_before_wall(view, 1.5, 3.0)
    reading = sensor_for("kinect_v1").measure(depth, None, None, view, 1.0, 3, SensorSwitches.only("edges"))
    assert set(np.unique(reading)) == {np.float32(1.5), np.float32(3.0)}
    edge = (reading[:, : view.width // 2] == 3.0).sum(1)
    assert 0.5 < edge.std() < 2.0
    assert np.abs(edge - first).max() <= 3


@pytest.mark.parametrize(("z", "columns"), [(1.0, 22.3), (2.0, 11.2)])
def test_left_band_of_stereo_is_the_disparity_wide(z: float, columns: float) -> None:
    """f b / z = 446.8 * 0.05 / z."""
    view = PRESETS["realsense_d435"].intrinsics
    depth, border = wall(view, z), SensorSwitches.only("border")
    missing = sensor_for("realsense_d435").measure(depth, None, None, view, 1.0, 1, border) == 0
    assert missing.sum(1).mean() == pytest.approx(columns, abs=1)
    assert missing[:, 0].all()


def test_registered_kinect_has_borders_and_its_middle_has_none() -> None:
    border = SensorSwitches.only("border")
    model = sensor_for("kinect_v1")
    whole = model.measure(wall(KINECT, 2.0), None, None, KINECT, 1.0, 1, border) > 0
    columns, rows = np.flatnonzero(whole.any(0)), np.flatnonzero(whole.any(1))
    # 525 * 0.025 / 2 = 6.6 pixels to the left of where the infrared image's borders are in the distance
    assert (columns[0], columns[-1]) == pytest.approx((26 - 6.6, 639 - 28 - 6.6), abs=1)
    assert (rows[0], rows[-1]) == (20, 470)
    middle = camera("kinect_v1", 320, 240, 1.0)
    assert (model.measure(wall(middle, 2.0), None, None, middle, 1.0, 1, border) > 0).all()


def test_wide_time_of_flight_is_round() -> None:
    view = PRESETS["azure_kinect_wfov"].intrinsics
    depth, border = wall(view, 1.0), SensorSwitches.only("border")
    reading = sensor_for("azure_kinect_wfov").measure(depth, None, None, view, 1.0, 1, border)
    assert reading[0, 0] == reading[-1, -1] == 0
    assert reading[256, 2] > 0
    assert reading[256, 256] > 0


def test_flying_pixels_lie_between_the_surfaces_and_beside_the_border() -> None:
    view = camera("azure_kinect_nfov", 240, 200, 1.0)
    depth, first, last = box_before_wall(view, 1.5, 3.0)
    only = SensorSwitches.only("flying_pixels")
    reading = sensor_for("azure_kinect_nfov").measure(depth, None, None, view, 1.0, 3, only)
    given = reading[reading > 0]
    assert given.min() >= 1.5
    assert given.max() <= 3.0
    flying = (reading > 1.5) & (reading < 3.0)
    assert flying[:, [first - 1, first, last, last + 1]].mean() > 0.1
    flying[:, [first - 1, first, last, last + 1]] = False
    assert not flying.any()


def test_corners_read_too_far_inside() -> None:
    view = camera("kinect_v2", 161, 120, 1.0)
    u = np.arange(161)
    depth = np.broadcast_to((2.0 - 0.004 * np.abs(u - 80)).astype(np.float32), (120, 161))  # deepest in the middle
    model = sensor_for("kinect_v2")
    assert isinstance(model.parameters, TimeOfFlight)
    model = replace(model, parameters=replace(model.parameters, wave=0.0))
    bias = model.measure(depth, None, None, view, 1.0, 3, SensorSwitches.only("bias")) - depth
    # 12 pixels to the sides it is 0.048 m nearer: a tenth of that
    assert bias[60, 80] == pytest.approx(0.0048, abs=1e-4)
    assert bias[60, 40] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("preset", ["kinect_v1", "kinect_v2", "azure_kinect_nfov", "realsense_d435"])
def test_dark_far_and_grazing_surfaces_drop_out(preset: str) -> None:
    view = camera(preset, 120, 120, 1.0)
    dropouts = SensorSwitches.only("dropouts")
    model = replace(sensor_for(preset), unit=5)

    def share(z: float, material: int, tilt: float) -> float:
        normal = np.broadcast_to(np.float32([np.sin(tilt), 0, -np.cos(tilt)]), (120, 120, 3))
        code = np.full((120, 120), material, np.uint8)
        return float((model.measure(wall(view, z), normal, code, view, 1.0, 3, dropouts) == 0).mean())

    cloth, hair = int(Material.CLOTH), int(Material.HAIR)
    assert share(1.5, PLAIN, 0.0) < 0.02
    assert share(7.5, cloth, 1.52) > 0.9
    assert share(7.5, cloth, 1.4) > share(1.0, cloth, 0.0)
    assert share(4.0, hair, 1.2) > share(4.0, cloth, 1.2)


@pytest.mark.parametrize("preset", ["kinect_v1", "realsense_d435", "azure_kinect_nfov", "zed_2"])
def test_a_quarter_of_the_resolution_has_the_same_statistics(preset: str) -> None:
    """Readings, noise and holes of the whole sensor's image and of one rendered with a stride of 4."""
    fine, coarse = camera(preset, 640, 400, 1.0), camera(preset, 160, 100, 4.0)
    model = replace(sensor_for(preset), unit=11)
    figures = []
    for view, stride in ((fine, 1.0), (coarse, 4.0)):
        depth, normal, codes = room(view)
        valid, errors = [], []
        for key in range(6):
            reading = model.measure(depth, normal, codes, view, stride, key)
            valid.append((reading > 0).mean())
            error = (reading - depth)[(reading > 0) & (np.abs(reading - depth) < 0.1)]
            errors.append(error.std())
        figures.append((np.mean(valid), np.mean(errors)))
    assert figures[0][0] == pytest.approx(figures[1][0], abs=0.02)
    assert figures[0][1] == pytest.approx(figures[1][1], rel=0.15)


@pytest.mark.parametrize("preset", ALL_PRESETS)
def test_same_key_same_image_and_frames_of_one_unit_differ(preset: str) -> None:
    view = camera(preset, 80, 60, 4.0)
    depth, normal, codes = room(view)
    model = sensor_for(preset).draw_unit(np.random.default_rng(1))
    first = model.measure(depth, normal, codes, view, 4.0, 1 << 61)
    again = model.measure(depth[::-1][::-1], np.asfortranarray(normal), codes.copy(), view, 4.0, 1 << 61)
    np.testing.assert_array_equal(first, again)
    if preset != "gazebo":
        assert not np.array_equal(first, model.measure(depth, normal, codes, view, 4.0, (1 << 61) + 1))


def test_units_differ_and_are_reproducible() -> None:
    for preset in ALL_PRESETS:
        if preset == "gazebo":
            continue
        one, same = (sensor_for(preset).draw_unit(np.random.default_rng(7)) for _ in range(2))
        assert one == same
        assert one.parameters != sensor_for(preset).parameters
        assert one.parameters != sensor_for(preset).draw_unit(np.random.default_rng(8)).parameters


def test_presets_have_the_model_that_they_name() -> None:
    kinds = {
        "none": type(None),
        "structured_light": StructuredLight,
        "active_stereo": Stereo,
        "stereo": Stereo,
        "time_of_flight": TimeOfFlight,
    }
    for name, preset in PRESETS.items():
        assert isinstance(sensor_for(name).parameters, kinds[preset.noise]), name


def test_surface_codes_tell_people_and_things_apart() -> None:
    material = np.uint8([[Material.HAIR, Material.HAIR, 255, 255, 255]])
    objects = np.int32([[0, 3, 1000, 1002, -1]])
    assert surface_codes(material, objects).tolist() == [[1, 25, 128, 130, 255]]


def test_bad_input_is_named() -> None:
    view = camera("kinect_v1", 20, 10, 4.0)
    model = sensor_for("kinect_v1")
    with pytest.raises(ValueError, match="no camera preset 'kinect'; there are kinect_v1"):
        sensor_for("kinect")
    with pytest.raises(ValueError, match=r"depth is \(3, 3\), the camera \(10, 20\)"):
        model.measure(np.ones((3, 3), np.float32), None, None, view, 4.0, 1)
    with pytest.raises(ValueError, match="normals are"):
        model.measure(wall(view, 1.0), np.zeros((3, 3, 3)), None, view, 4.0, 1)
    with pytest.raises(ValueError, match="surface codes are"):
        model.measure(wall(view, 1.0), None, np.zeros((10, 20), int), view, 4.0, 1)
    with pytest.raises(ValueError, match="stride must be positive"):
        model.measure(wall(view, 1.0), None, None, view, 0.0, 1)
    with pytest.raises(ValueError, match="no such effect: blur; there are noise"):
        SensorSwitches.only("blur")
