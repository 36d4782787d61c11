#!/usr/bin/env bash
# Installs the headless browser that the test of `human-recon view` opens the page in, where that is possible without
# asking anybody: as root on a Debian whose packages have one. Elsewhere says what to do; the test is skipped without.
set -euo pipefail

for name in "${HUMAN_RECON_BROWSER:-}" chromium-headless-shell chromium google-chrome chrome; do
    if [ -n "$name" ] && command -v "$name" >/dev/null; then
        echo "[browser] $(command -v "$name") is there already"
        exit 0
    fi
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "[browser] no Chromium on PATH: install one (Debian: apt install chromium-headless-shell) or name it in" \
        "HUMAN_RECON_BROWSER; until then the test of the viewer's page is skipped" >&2
    exit 1
fi
echo "[browser] installing chromium-headless-shell from the system's packages (about 100 MB)"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null
command -v chromium-headless-shell
