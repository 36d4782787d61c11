#!/usr/bin/env bash
# Sets up everything human_recon needs in .venv and ros_ws/install: see `usage`. A step whose inputs have not changed
# since it last succeeded is skipped; a step that fails or is interrupted leaves no stamp and runs again next time.
set -euo pipefail

usage() {
    cat <<'TEXT'
tools/setup.sh [lint|training]

  (nothing)  virtual environment, requirements, ROS 2 (wheels where the machine has none), messages, package
  lint       and what `make lint` needs
  training   and what the offline training code needs

Variables:
  PYTHON           the Python 3.10-3.13 to use (default: ROS 2's, else the first suitable on PATH)
  HUMAN_RECON_ROS  auto (default: this machine's ROS 2, else wheels), system, or wheels
  TORCH            auto (default: install torch where a CPU build is on offer), any (also the 3 GB CUDA build), none
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
state=$venv/.human_recon
requirements=$root/requirements
package=$root/ros_ws/src/human_recon
messages=$root/ros_ws/src/human_recon_msgs

say() { printf '[setup] %s\n' "$*"; }
fail() {
    printf '[setup] error: %s\n' "$*" >&2
    exit 1
}

# ---------------------------------------------------------------- steps and stamps

# Hash of the arguments and of the contents of files and folders given after `--`.
key_of() {
    local words=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    {
        printf '%s\n' "${words[@]}"
        if [ $# -gt 0 ]; then
            (cd "$root" && find "${@#"$root"/}" -type f -not -path '*/__pycache__/*' -not -name '*.pyc' -print0 |
                LC_ALL=C sort -z | xargs -0 sha256sum)
        fi
    } | sha256sum | cut -d' ' -f1
}

# step NAME KEY "what it does" FUNCTION: runs FUNCTION unless it last succeeded with this KEY.
step() {
    local name=$1 key=$2 title=$3 function=$4 began=$SECONDS
    if [ "$(cat "$state/$name.stamp" 2>/dev/null)" = "$key" ]; then
        return 0
    fi
    rm -f "$state/$name.stamp"
    say "$title"
    did_something=yes
    # A subshell of its own with -e: called in a condition, bash would ignore failures inside the function.
    set +e
    (
        set -e
        "$function"
    ) >"$state/$name.log" 2>&1 </dev/null
    local status=$?
    set -e
    if [ $status -ne 0 ]; then
        tail -n 40 "$state/$name.log" >&2
        fail "'$title' failed (its whole output: ${state#"$root"/}/$name.log). Mend the cause and run the same command again."
    fi
    grep '^\[setup\]' "$state/$name.log" || true
    say "  done in $((SECONDS - began)) s"
    printf '%s' "$key" >"$state/$name.stamp.tmp"
    mv "$state/$name.stamp.tmp" "$state/$name.stamp"
}

# ---------------------------------------------------------------- what this machine has

# Leaves the environment of an earlier set-up, of this clone or another one, if tools/env.sh was sourced in this shell.
leave_own_environment() {
    local name entry kept entries entered=${HUMAN_RECON_ROOT:-$root}
    for name in PATH PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH; do
        [ -n "${!name:-}" ] || continue
        kept=
        IFS=: read -ra entries <<<"${!name}"
        for entry in "${entries[@]}"; do
            case $entry in
                "" | "$root" | "$root"/* | "$entered" | "$entered"/*) ;;
                *) kept=${kept:+$kept:}$entry ;;
            esac
        done
        if [ -n "$kept" ]; then export "$name=$kept"; else unset "$name"; fi
    done
    case ${VIRTUAL_ENV:-} in
        "$venv" | "$entered/.venv") unset VIRTUAL_ENV ;;
    esac
    if [ -n "${HUMAN_RECON_ROOT:-}" ] && [ -z "${AMENT_PREFIX_PATH:-}" ]; then
        unset ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION
    fi
    unset HUMAN_RECON_ROOT
    # Set by the wheels' own start-up code; a child that runs another interpreter must not inherit it.
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONHOME
}

is_supported_python() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Prints the interpreter behind $1 (outside any virtual environment that is active), when it is of a supported version.
base_python() {
    local path
    path=$(command -v "$1") || return 1
    is_supported_python "$path" || return 1
    # Not sys._base_executable: before Python 3.11 that is the virtual environment's own.
    "$path" -c 'import os, sys
name = os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2])
print(name if sys.prefix != sys.base_prefix and os.path.exists(name) else sys.executable)'
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        python=$(base_python "$PYTHON") || fail "PYTHON=$PYTHON is not a Python 3.10-3.13. Name another one."
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        if python=$(base_python "$candidate"); then
            return
        fi
    done
    fail "no Python 3.10-3.13 found on PATH (python3 is $(python3 --version 2>&1 || true)). Install one (Debian, Ubuntu:" \
        "apt install python3 python3-venv python3-dev) or name it: make ... PYTHON=/path/to/python3"
}

has_rclpy() {
    [ -n "${AMENT_PREFIX_PATH:-}" ] &&
        "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("rclpy") is None)' 2>/dev/null
}

# Sets ros to "system" or "wheels", and python to go with it. Sources the machine's ROS 2 if that has not been done.
find_ros() {
    local wanted=${HUMAN_RECON_ROS:-auto} setup
    case $wanted in
        auto | system | wheels) ;;
        *) fail "HUMAN_RECON_ROS=$wanted is not one of auto, system, wheels." ;;
    esac
    ros=wheels
    if [ "$wanted" = wheels ]; then
        [ -z "${AMENT_PREFIX_PATH:-}" ] || fail "HUMAN_RECON_ROS=wheels, but this shell has a ROS 2 sourced" \
            "(AMENT_PREFIX_PATH=$AMENT_PREFIX_PATH). Use a shell without it."
        return
    fi
    if [ -z "${AMENT_PREFIX_PATH:-}" ]; then
        setup=
        # An explicit ROS_DISTRO first, then the distributions from new to old.
        for setup in /opt/ros/"${ROS_DISTRO:-none}"/setup.bash $(ls -1dr /opt/ros/*/setup.bash 2>/dev/null); do
            if [ -f "$setup" ]; then
                say "ROS 2 found: ${setup%/setup.bash}"
                set +u
                # shellcheck disable=SC1090
                source "$setup"
                set -u
                break
            fi
        done
    fi
    if [ -z "${AMENT_PREFIX_PATH:-}" ]; then
        [ "$wanted" = auto ] || fail "HUMAN_RECON_ROS=system, but no ROS 2 is sourced and none is in /opt/ros."
        return
    fi
    ros=system
    # ROS 2 from packages is built for the system's interpreter, which need not be the first python3 on PATH.
    if ! has_rclpy "$python" && [ -z "${PYTHON:-}" ] && is_supported_python /usr/bin/python3; then
        python=$(base_python /usr/bin/python3)
    fi
    has_rclpy "$python" || fail "ROS 2 is at $AMENT_PREFIX_PATH, but $python cannot import its rclpy. Install rclpy, name" \
        "the Python that ROS 2 was built for with PYTHON=..., or use a shell without ROS 2 and HUMAN_RECON_ROS=wheels."
}

check_tools() {
    local missing=()
    command -v cc >/dev/null || command -v gcc >/dev/null || missing+=("a C compiler")
    command -v c++ >/dev/null || command -v g++ >/dev/null || missing+=("a C++ compiler")
    "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        missing+=("Python's headers for $python")
    if [ ${#missing[@]} -gt 0 ]; then
        local IFS=,
        fail "missing: ${missing[*]}. On Debian or Ubuntu: apt install build-essential python3-dev"
    fi
    if [ "$ros" = wheels ] && [ "$(uname -sm)" != "Linux x86_64" ]; then
        fail "the ROS 2 wheels exist for Linux on x86-64 only, this is $(uname -sm). Install ROS 2 and run this again."
    fi
}

# ---------------------------------------------------------------- the steps

pip_install() { "$venv/bin/python" -m pip install --no-input --disable-pip-version-check -c "$state/constraints.txt" "$@"; }

make_venv() {
    local options=()
    [ "$ros" = wheels ] || options+=(--system-site-packages)
    find "$venv" -mindepth 1 -maxdepth 1 -not -name .human_recon -exec rm -rf {} +
    find "$state" -name '*.stamp' -delete
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv "${options[@]}" "$venv"
    elif "$python" -c 'import pip, venv' 2>/dev/null; then
        # Debian without python3-venv, but with pip: let that pip fill the environment.
        "$python" -m venv --without-pip "${options[@]}" "$venv"
        "$python" -m pip --python "$venv/bin/python" install --no-input --ignore-installed pip
    else
        echo "$python has neither ensurepip nor pip. On Debian or Ubuntu: apt install python3-venv"
        return 1
    fi
    # Older ones, as in Python 3.10, cannot report what they would install.
    : >"$state/constraints.txt"
    pip_install 'pip>=23.1'
}

# On a ROS 2 machine its numpy stays the one that is used, and what we add has to go with it.
write_constraints() {
    if [ "$ros" = wheels ]; then
        cp "$requirements/constraints.txt" "$state/constraints.txt"
    else
        "$venv/bin/python" - >"$state/constraints.txt" <<'PYTHON'
try:
    import numpy
except ImportError:
    pass
else:
    version = tuple(int(part) for part in numpy.__version__.split(".")[:2])
    if version >= (1, 26):
        print(f"numpy=={numpy.__version__}")
    else:  # too old for us; but extensions built for numpy 1, such as the system's OpenCV, do not load with numpy 2
        print("numpy<2")
PYTHON
        cat "$state/constraints.txt"
    fi
}

install_torch() {
    local version
    if [ "${TORCH:-auto}" = none ]; then
        echo "[setup]   left out as asked: tests that need torch will be skipped"
        return
    fi
    if "$venv/bin/python" -c 'import torch' 2>/dev/null; then
        echo "[setup]   torch is there already"
        return
    fi
    if [ "${TORCH:-auto}" = auto ]; then
        version=$(pip_install --quiet --dry-run --no-deps --report - -r "$requirements/torch.txt" 2>"$state/torch.err" |
            "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])') || {
            cat "$state/torch.err"
            version=none
        }
        case $version in
            *+cpu) ;;
            *)
                echo "[setup]   no CPU build of torch on offer for this Python (found: $version): left out."
                echo "[setup]   Tests that need torch will be skipped; make setup TORCH=any installs what there is."
                return
                ;;
        esac
    fi
    pip_install -r "$requirements/torch.txt"
}

install_requirements() {
    local files=(-r "$requirements/runtime.txt" -r "$requirements/view.txt" -r "$requirements/test.txt")
    if ! "$venv/bin/python" -c '
import sys, cv2
sys.exit(tuple(int(part) for part in cv2.__version__.split(".")[:2]) < (4, 6))' 2>/dev/null; then
        files+=(-r "$requirements/opencv.txt")
    fi
    if "$venv/bin/python" -c 'import torch' 2>/dev/null; then
        files+=(-r "$requirements/torch_test.txt")
    fi
    pip_install "${files[@]}"
}

install_ros_wheels() {
    pip_install -r "$requirements/ros_kilted.txt"
    "$venv/bin/python" "$root/tools/fix_ros_wheels.py"
}

install_build_tools() {
    local wanted=()
    command -v cmake >/dev/null || wanted+=(cmake)
    command -v ninja >/dev/null || wanted+=(ninja)
    if [ "$ros" = wheels ] || ! command -v colcon >/dev/null; then
        wanted+=(-r "$requirements/colcon.txt")
    fi
    [ ${#wanted[@]} -eq 0 ] || pip_install "${wanted[@]}"
}

install_lint() {
    pip_install -r "$requirements/lint.txt"
    "$venv/bin/python" "$root/tools/mend_tensorrt_stubs.py"
}

install_training() {
    TORCH=any install_torch
    pip_install -r "$requirements/training.txt"
}

# What CMake, colcon and every later process needs; the same in each step.
enter_environment() {
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    if [ "$ros" = wheels ]; then
        export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
        # As ros_wheels_bootstrapper does it by starting Python twice; done here, once is enough.
        local folder
        LD_LIBRARY_PATH=$venv/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        for folder in "$venv"/lib/python3.*/site-packages/ros_*.libs; do
            [ ! -d "$folder" ] || LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$folder
        done
        export LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
        export ROS_DISTRO=kilted ROS_VERSION=2 ROS_PYTHON_VERSION=3
    fi
}

colcon_build() {
    cd "$root/ros_ws"
    rm -rf "build/$1" "install/$1"
    # --base-paths: tests or other tools below ros_ws may hold package.xml files of their own.
    colcon build --base-paths src --packages-select "$1" --event-handlers console_direct+ \
        --cmake-args -GNinja -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release -DPython3_EXECUTABLE="$venv/bin/python"
}

build_tf2_msgs() {
    # Into the virtual environment itself, as a wheel would be.
    cmake -S "$root/tools/ros_wheels/tf2_msgs" -B "$state/build/tf2_msgs" -GNinja -DBUILD_TESTING=OFF \
        -DCMAKE_BUILD_TYPE=Release -DPython3_EXECUTABLE="$venv/bin/python" -DCMAKE_INSTALL_PREFIX="$venv"
    cmake --build "$state/build/tf2_msgs" --target install
}

build_messages() { colcon_build human_recon_msgs; }

build_package() { colcon_build human_recon; }

write_environment() {
    set +u
    # shellcheck disable=SC1091
    source "$root/ros_ws/install/local_setup.bash"
    set -u
    # The source tree before the installed copy: what is edited is what runs.
    export PYTHONPATH=$package:${PYTHONPATH:-}
    "$venv/bin/python" "$root/tools/write_environment.py" "$state/environment.sh" --root "$root"
    cat >"$state/human-recon" <<'SHELL'
#!/usr/bin/env bash
# Runs the command line tool in the environment that `make setup` built, whatever the calling shell has.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../tools/env.sh" && exec python -m human_recon.cli.main "$@"
SHELL
    chmod +x "$state/human-recon"
    ln -sf ../.human_recon/human-recon "$venv/bin/human-recon"
}

# ---------------------------------------------------------------- main

extra=${1:-}
case $extra in
    "" | lint | training) ;;
    *)
        usage
        exit 2
        ;;
esac

case ${TORCH:-auto} in
    auto | any | none) ;;
    *) fail "TORCH=$TORCH is not one of auto, any, none." ;;
esac
leave_own_environment
find_python
find_ros
check_tools

if [ -e "$venv" ] && [ ! -d "$state" ]; then
    fail "$venv exists and was not made by this set-up. Move it away and run this again."
fi
mkdir -p "$state"
if command -v flock >/dev/null; then
    exec 9>"$state/lock"
    flock -n 9 || {
        say "another set-up is running here: waiting for it"
        flock 9
    }
fi

did_something=
python_id=$("$python" -c 'import sys; print(sys.executable, sys.version.replace("\n", " "))')
machine="$ros ${AMENT_PREFIX_PATH:-} $python_id $venv"
step venv "$(key_of "$machine")" "Creating .venv with $("$python" --version) ($ros ROS 2)" make_venv

pinned=$requirements/constraints.txt
constraints=$(key_of "$machine" -- "$pinned")
step constraints "$constraints" "Deciding package versions" write_constraints
step torch "$(key_of "$constraints" "${TORCH:-auto}" -- "$requirements/torch.txt")" \
    "Installing torch (CPU build, for tests)" install_torch
step requirements "$(key_of "$constraints" "$(cat "$state/torch.stamp")" -- \
    "$requirements/runtime.txt" "$requirements/opencv.txt" "$requirements/view.txt" "$requirements/test.txt" \
    "$requirements/torch_test.txt")" \
    "Installing what the package and its tests import" install_requirements
if [ "$ros" = wheels ]; then
    step ros_wheels "$(key_of "$constraints" -- "$requirements/ros_kilted.txt" "$root/tools/fix_ros_wheels.py")" \
        "Installing ROS 2 Kilted from wheels (300 MB)" install_ros_wheels
fi
step build_tools "$(key_of "$constraints" -- "$requirements/colcon.txt")" "Installing build tools" install_build_tools
case $extra in
    lint)
        step lint "$(key_of "$constraints" -- "$requirements/lint.txt" "$root/tools/mend_tensorrt_stubs.py")" \
            "Installing ruff and mypy" install_lint
        ;;
    training)
        step training "$(key_of "$constraints" -- "$requirements/training.txt")" "Installing what training needs" \
            install_training
        ;;
esac

enter_environment
# Of the pinned versions only those that the messages are generated by or compiled against: building them takes a while.
built=$(key_of "$machine" "$(grep -E '^(numpy|empy|lark-parser|setuptools)' "$state/constraints.txt" || true)" -- \
    "$requirements/ros_kilted.txt" "$requirements/colcon.txt" "$root/tools/fix_ros_wheels.py")
if [ "$ros" = wheels ]; then
    built=$(key_of "$built" -- "$root/tools/ros_wheels")
    step tf2_msgs "$built" "Building tf2_msgs, which has no wheel" build_tf2_msgs
fi
[ -d "$root/ros_ws/install/human_recon_msgs" ] || rm -f "$state/messages.stamp"
step messages "$(key_of "$built" -- "$messages")" "Building human_recon_msgs" build_messages
[ -d "$root/ros_ws/install/human_recon" ] || rm -f "$state/package.stamp"
package_inputs=()
for path in "$package"/*; do
    case ${path##*/} in
        tests | training) ;;
        *) package_inputs+=("$path") ;;
    esac
done
step package "$(key_of "$built" -- "${package_inputs[@]}")" "Building human_recon" build_package
step environment "$(key_of "$built" "$(cat "$state"/{messages,package}.stamp)" -- "$root/tools/write_environment.py" \
    "$root/tools/setup.sh")" "Writing .venv/bin/human-recon and the environment for tools/env.sh" write_environment
if [ -n "$did_something" ]; then
    say "Ready in $SECONDS s. 'source tools/env.sh' enters the environment; .venv/bin/human-recon works without it."
fi
