# Understanding Large Language Models.  The two commands: make book, make test.  Each sets up what it needs.
#
#   make book           run the labs, build the site into _build/html
#   make serve          show the site on this machine
#   make lab            open your own copies of the labs in JupyterLab (my_labs/)
#   make test           everything that is tested, in two processes
#   make bench          side by side with other libraries: speeds, after equal work is checked; on a quiet machine,
#                       since it keeps what it measures and renews the tables of benchmarks/README.md
#
#   TORCH=cpu           on Linux without a GPU: CPU-only torch, 3 GB less to download (first run only)
#   PYTHON=python3.12   the Python to make .venv with (3.11 or newer)

PYTHON ?= python3
SETUP = $(PYTHON) tools/setup.py $(if $(TORCH),--torch $(TORCH))
COURSE = .venv/bin/course
PYTEST = .venv/bin/python -m pytest --durations=25

.PHONY: help book serve lab test bench

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

book:
	@$(SETUP) book vision && $(COURSE) book

serve: book
	@$(COURSE) site

lab:
	@$(SETUP) lab vision && $(COURSE) lab

test:
	@$(SETUP) book lab vision serve test && $(COURSE) book
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

bench:
	@$(SETUP) vision peers && .venv/bin/python benchmarks/kept.py
