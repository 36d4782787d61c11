#!/usr/bin/env bash
# Makes the pictures of the README from scratch: tools/readme_pictures.sh FIVE_PEOPLE.pcd
# The argument is five_people.pcd of the Point Cloud Library's example data (people module), BSD licence.
set -euo pipefail

frame=$(realpath "${1:?usage: tools/readme_pictures.sh FIVE_PEOPLE.pcd}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

.venv/bin/human-recon reconstruct "$frame" -o "$out/five_people"
.venv/bin/human-recon demo -o "$out/demo"
mkdir -p docs/images
for name in five_people demo; do
    .venv/bin/python - "$out/$name/overlay.png" "docs/images/$name.jpg" <<'PYTHON'
import sys

import cv2

cv2.imwrite(sys.argv[2], cv2.imread(sys.argv[1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
PYTHON
done
