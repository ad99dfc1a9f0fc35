# make demo        the whole road on sample faces, and a photo by the shipped network: tables and pictures in output/demo
# make test        the quick tests, two files at a time;  make test-large  the slow ones
# make bench-scans the sample people in millimetres: tables in output/scans
# make test-scale  training in several processes on JAX, many photos on two workers of Ray, in an environment of its own
# make bench       speed against its floors;  make lint  style, types and import rules
# make docs        the documentation and API reference as one site in output/site; warnings are errors
# make lock        requirements.txt to requirements.lock: all packages that it takes, the newest that fit, with hashes
# The first call creates .venv and installs requirements.lock.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

PACKAGES := common configure evaluating exporting fitting formats generating geometry model reconstructing serving

DEMO := output/demo
DEMO_TRAIN ?= 600
DEMO_VAL ?= 120
DEMO_EPOCHS ?= 22
DEMO_BATCH ?= 8

.PHONY: demo test test-large test-scale bench bench-scans lint style types links docs lock clean

$(VENV)/.installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

demo: $(VENV)/.installed
	$(RUN) make_sample_data.py --outdir $(DEMO)/data --train $(DEMO_TRAIN) --val $(DEMO_VAL) --seed 0
	$(RUN) build_dataset.py --zipDir $(DEMO)/data --hdf5dir $(DEMO)/data --buildmode train --facemodel $(DEMO)/data/face_model.hdf5 --overwrite
	$(RUN) build_dataset.py --zipDir $(DEMO)/data --hdf5dir $(DEMO)/data --buildmode val --facemodel $(DEMO)/data/face_model.hdf5 --overwrite
	$(RUN) train_model.py --recipe morphnet --model resource/weights/lprnet.keras --epochs $(DEMO_EPOCHS) --batchsize $(DEMO_BATCH) --hdf5dir $(DEMO)/data --facemodel $(DEMO)/data/face_model.hdf5 --outputdir $(DEMO) --overwrite
	$(RUN) evaluate_model.py --modeldir $(DEMO) --hdf5 $(DEMO)/data/val.hdf5 --facemodel $(DEMO)/data/face_model.hdf5 --outputdir $(DEMO)
	$(RUN) reconstruct_face.py --image "$$($(RUN) -c 'import skimage; print(skimage.data_dir)')/astronaut.png" --outputdir $(DEMO)/astronaut --overwrite
	@echo "Done. Look at $(DEMO)/astronaut/astronaut_face0_sheet.png (the shipped network), $(DEMO)/examples.png, $(DEMO)/benchmark.md, $(DEMO)/ced.png and $(DEMO)/training.png."

test: $(VENV)/.installed
	$(RUN) -m pytest -n 2 --dist loadfile

test-large: $(VENV)/.installed
	$(RUN) -m pytest -m large

test-scale: $(VENV)-scale/.installed
	OMP_NUM_THREADS=1 $(VENV)-scale/bin/python -m pytest -m "large or not large" tests/test_machines.py tests/test_many.py tests/test_many_fits.py

$(VENV)-scale/.installed: requirements.lock
	$(PYTHON) -m venv $(VENV)-scale
	$(VENV)-scale/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)-scale/bin/pip install --quiet --disable-pip-version-check "ray[data]==2.60.0" "jax==0.10.2"
	touch $@

bench: $(VENV)/.installed
	OPENBLAS_NUM_THREADS=1 $(RUN) -m benchmarks

bench-scans: $(VENV)/.installed
	$(RUN) -m benchmarks.scans --folder output/scans

lint: style types
	$(RUN) -m pytest -q tests/test_imports.py tests/test_flags.py

style: $(VENV)/.installed
	$(RUN) -m pip install --quiet --disable-pip-version-check ruff==0.17.5
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/.installed links
	$(RUN) -m pip install --quiet --disable-pip-version-check mypy==2.4.1
	cd .types && ../$(RUN) -m mypy --config-file ../pyproject.toml -p prnet -p benchmarks

# In a checkout prnet's packages lie beside prnet/; tools that read code without importing it find them by links in one
# place, as an installation has them.
links:
	rm -rf .types && mkdir -p .types/prnet
	cd .types/prnet && ln -s ../../prnet/* $(PACKAGES:%=../../%) . && ln -s ../benchmarks ..

# Reads docstrings without importing anything, so it needs none of the requirements.
docs: $(VENV)-docs/.installed links
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict
	@echo "open: output/site/index.html"

$(VENV)-docs/.installed: docs/requirements.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	touch $@

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --output-file requirements.lock requirements.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(DEMO)
