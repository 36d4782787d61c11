"""Package `human_recon` for colcon (ament_python)."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "human_recon"
HERE = Path(__file__).resolve().parent


def data_tree(folder: str) -> list[tuple[str, list[str]]]:
    """Every file under `folder`, as (install folder, [file]) entries that keep the tree below share/human_recon."""
    entries: dict[str, list[str]] = {}
    for path in sorted((HERE / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(HERE)
            entries.setdefault(f"share/{PACKAGE}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(entries.items())


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Real-time reconstruction of people as SMPL bodies from a robot's depth camera.",
    license="Apache-2.0",
    maintainer="human_recon maintainers",
    maintainer_email="human-recon@users.noreply.github.com",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    # io/msg leads to human_recon_msgs/msg: bags carry and are read with these definitions where that package is absent.
    package_data={PACKAGE: ["py.typed", "io/msg/*.msg", "geometry/*.cu"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        # `ros2 run` looks in lib/human_recon (the entry points below); the command line tool also goes on PATH.
        ("bin", ["scripts/human-recon"]),
        *data_tree("launch"),
        *data_tree("config"),
        *data_tree("models"),
    ],
    python_requires=">=3.10",
    # The third-party requirements are in requirements/runtime.txt: on a ROS 2 machine most come from the system.
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "perception = human_recon.nodes.perception:main",
            "human-recon = human_recon.cli.main:main",
        ],
    },
)
