# Puts human_recon's environment into this shell (bash, zsh): the virtual environment, ROS 2, the built workspace, and
# the Fast DDS profile.  Use:  source tools/env.sh

if [ -n "${BASH_SOURCE:-}" ]; then
    _human_recon_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
else
    # zsh; `eval` because bash cannot parse the expansion.
    _human_recon_root=$(cd "$(dirname "$(eval 'printf %s "${(%):-%x}"')")/.." && pwd -P)
fi

# Puts the folder $2 at the front of the search path $1, removing it from where it was.
_human_recon_prepend() {
    eval "_human_recon_old=:\${$1:-}:"
    while :; do
        case $_human_recon_old in
            *:"$2":*) _human_recon_old=${_human_recon_old%%:"$2":*}:${_human_recon_old#*:"$2":} ;;
            *) break ;;
        esac
    done
    _human_recon_old=${_human_recon_old#:}
    _human_recon_old=${_human_recon_old%:}
    eval "export $1=\$2\${_human_recon_old:+:\$_human_recon_old}"
}

if [ -f "$_human_recon_root/.venv/.human_recon/environment.sh" ]; then
    # A profile that another clone's env.sh set is not the user's own choice.
    case ${FASTDDS_DEFAULT_PROFILES_FILE:-} in
        "${HUMAN_RECON_ROOT:-/dev/null}"/*) unset FASTDDS_DEFAULT_PROFILES_FILE ;;
    esac
    export HUMAN_RECON_ROOT=$_human_recon_root VIRTUAL_ENV=$_human_recon_root/.venv
    unset PYTHONHOME
    . "$_human_recon_root/.venv/.human_recon/environment.sh"
    _human_recon_profile=$_human_recon_root/ros_ws/src/human_recon/config/fastdds.xml
    if [ -z "${FASTDDS_DEFAULT_PROFILES_FILE:-}" ] && [ -f "$_human_recon_profile" ]; then
        export FASTDDS_DEFAULT_PROFILES_FILE=$_human_recon_profile
    fi
    unset _human_recon_root _human_recon_old _human_recon_profile
    unset -f _human_recon_prepend
else
    echo "human_recon is not set up in $_human_recon_root: run 'make setup' there first" >&2
    unset _human_recon_root
    unset -f _human_recon_prepend
    false
fi
