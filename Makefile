# Every target sets up what it needs first (tools/setup.sh); the second time that takes about a second.
# PYTHON=..., HUMAN_RECON_ROS=auto|system|wheels and TORCH=auto|any|none are passed on: see tools/setup.sh.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PYTHON HUMAN_RECON_ROS TORCH

.PHONY: help setup setup-training test lint format demo clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## virtual environment, requirements, ROS 2 messages and package
	@tools/setup.sh

setup-training: ## and what the offline training code needs
	@tools/setup.sh training

test: setup ## set-up, then the test suite; ARGS="-k camera -x" goes to pytest
	@source tools/env.sh && python -m pytest $(ARGS)

demo: setup ## set-up, then a synthetic recording through the running node, with pictures, in out/demo
	@.venv/bin/human-recon demo -o out/demo $(ARGS)

lint: ## ruff and mypy
	@tools/setup.sh lint
	@source tools/env.sh && ruff check . && ruff format --check . && mypy

format: ## let ruff lay out the code and mend what it can
	@tools/setup.sh lint
	@source tools/env.sh && ruff check --fix . && ruff format .

clean: ## remove everything the set-up and the builds made
	rm -rf .venv ros_ws/build ros_ws/install ros_ws/log out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find ros_ws/src tools -name __pycache__ -type d -prune -exec rm -rf {} +
