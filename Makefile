# `make help` lists the targets. Each target sets up .venv first if it is missing or out of date.

PYTHON ?= python3
# Package index for torch. Empty means PyPI, whose Linux build includes CUDA (about 3 GB).
# Without a GPU:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
RUN ?= demo
DATA ?= data/demo
N_RECORDS ?= 1000
FUZZ ?= 1000
UV ?= uv
# Options of `make lock`, for example UPGRADE='--upgrade-package ruff'.
UPGRADE ?=

BIN := .venv/bin
READY := .venv/.ready
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-app fuzz faults screenshot lint format \
  docs lock audit sbom notebook pretrain model teachers study curves official results bench bench-whole \
  wheel-test clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create the environment .venv with the pinned versions

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "make: expected Python 3.11 or newer with venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: expected Python 3.11 or newer; try make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "== installing into .venv (the first time takes minutes)"
	$(BIN)/python -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

SHOW = $(BIN)/python -c 'import json, sys; from ecg_siglip.metrics.likelihood import percent; \
  result = json.load(open(sys.argv[1])); \
  print(result["record"], "" if result["findings"] else "(no finding is present)"); \
  [print("  {:13} {:>6}  {} ({})".format(f["likelihood"], percent(f["probability"]), f["name"], \
    f["code"])) for f in result["findings"]]'

demo: $(READY) ## simulate ECGs, train, evaluate, predict one record; under 5 minutes
	@test ! -f ecg_siglip/pretrained/config.json || { mkdir -p runs; \
	  echo "== the model of the package: findings of a simulated ECG"; \
	  $(BIN)/python -m ecg_siglip.predict 'records=[examples/simulated_ecg.csv]' \
	    report=runs/example.html > runs/example.json && $(SHOW) runs/example.json && echo; }
	@test -f $(DATA)/ptbxl_database.csv || { \
	  echo "== 1/4  simulating $(N_RECORDS) ECGs in $(DATA)"; \
	  $(BIN)/python -m ecg_siglip.simulate data.root=$(DATA) n_records=$(N_RECORDS); }
	@echo "== 2/4  training runs/$(RUN)"
	@$(BIN)/python -m ecg_siglip.train experiment=demo run.name=$(RUN) data.root=$(DATA)
	@echo "== 3/4  evaluating on fold 10, which was not used in training"
	@$(BIN)/python -m ecg_siglip.evaluate run.name=$(RUN) fold=10
	@echo "== 4/4  predicting the findings of one record"
	@$(BIN)/python -m ecg_siglip.predict run.name=$(RUN) \
	  "records=[$(DATA)/records100/00000/00001_lr]" > runs/$(RUN)/prediction.json
	@$(SHOW) runs/$(RUN)/prediction.json
	@echo
	@echo "All probabilities: runs/$(RUN)/prediction.json"
	@echo "The report: $(CURDIR)/runs/$(RUN)/evaluate/fold10/report.html"
	@echo "For research, not for diagnosis."

test: $(READY) ## run every test, offline; about 25 minutes on two cores
	$(BIN)/python -m pytest

test-app: $(READY) ## test the web page in Chromium (Debian: apt install chromium) and under load
	$(BIN)/python -m pytest -m app tests/serving/test_web_page.py

fuzz: $(READY) ## give every reader a thousand damaged files: FUZZ=; make test uses fewer
	FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/readers/test_fuzz.py

# Faults of each kind and command, which parts, and which commands; the tables are for docs/reliability.md.
N_FAULTS ?= 10
PARTS ?= storage damage server
faults: $(READY) ## kill commands, fill disks, damage models, abuse the server: N_FAULTS=, PARTS=, COMMANDS=
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m faults --n $(N_FAULTS) --parts $(PARTS) -- $(COMMANDS)

screenshot: demo ## make docs/app.png, the picture in README.md, from the demo
	ECG_SIGLIP_SCREENSHOT=runs/$(RUN):$(DATA)/records100/00000/00129_lr \
	  $(BIN)/python -m pytest -m app tests/serving/test_web_page.py -k for_the_readme

lint: $(READY) ## check the code with ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## format the code and sort its imports with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## build the documentation site in build/site, offline
	$(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site

# Versions in uv.lock are kept where they still fit pyproject.toml. What torch needs for CUDA is not
# in constraints.txt: each build of torch requires its own exact versions.
NEED_UV = @command -v $(UV) >/dev/null || { \
  echo "make: expected uv, got no such command; install it with: pip install uv" >&2; exit 1; }

lock: ## renew uv.lock and constraints.txt from pyproject.toml (pip install uv): UPGRADE=
	$(NEED_UV)
	$(UV) lock $(UPGRADE)
	@mkdir -p build
	@$(UV) export --quiet --locked --all-extras --no-hashes --no-emit-project --no-annotate \
	  --no-header --output-file build/constraints.txt
	@{ sed -n '/^#/p' constraints.txt; sed 's/ *;.*//' build/constraints.txt | \
	  grep -Ev '^(nvidia-|cuda-|triton=)'; } > build/constraints.new
	@mv build/constraints.new constraints.txt
	@rm build/constraints.txt
	@git diff --stat -- uv.lock constraints.txt

sbom: ## write build/sbom.json (CycloneDX 1.5): each package of uv.lock with its files and hashes
	$(NEED_UV)
	@mkdir -p build
	$(UV) export --quiet --locked --all-extras --format cyclonedx1.5 --output-file build/sbom.json

audit: ## look for known vulnerabilities of the packages in uv.lock; needs the network
	$(NEED_UV)
	@mkdir -p build
	$(UV) export --quiet --locked --all-extras --no-emit-project --output-file build/requirements.txt
	$(UV) tool run pip-audit --strict --disable-pip --require-hashes --requirement build/requirements.txt

notebook: demo ## run the notebooks on the demo and store their outputs
	$(BIN)/python -c 'import nbformat; from nbclient import NotebookClient; from pathlib import Path; \
	  pages = {path: nbformat.read(path, 4) for path in Path("notebooks").glob("*.ipynb")}; \
	  where = {"metadata": {"path": "notebooks"}}; \
	  [NotebookClient(page, resources=where, record_timing=False).execute() for page in pages.values()]; \
	  [nbformat.write(page, path) for path, page in pages.items()]'

# What `experiment=best` starts from: a model that was trained on simulated ECGs only.
N_PRETRAIN ?= 72000
# Further settings of `make pretrain`, `make model` and `make official`, such as SETTINGS=optim.n_epochs=1.
SETTINGS ?=

runs/pretrain/model:
	$(MAKE) pretrain

pretrain: $(READY) ## simulate ECGs and train runs/pretrain, the model that experiment=best starts from
	@test -f data/pretrain/ptbxl_database.csv || \
	  $(BIN)/python -m ecg_siglip.simulate data.root=data/pretrain n_records=$(N_PRETRAIN) seed=1 \
	    difficulty=realistic balance=0.5
	$(BIN)/python -m ecg_siglip.train experiment=pretrain $(SETTINGS)

# The model of the package. PTBXL, MORE and SCALED are its data sets: PTB-XL or a part of it, further
# records in its layout, and a folder with table.csv; without MORE or SCALED it is trained without
# them. CHALLENGE: records of other hospitals for the card. SETTINGS: further settings of train.
MORE ?=
SCALED ?=
CHALLENGE ?=
MODEL_RUN ?= default_model
MODEL_OUT ?= ecg_siglip/pretrained
MODEL_SOURCES = {name:ptbxl,kind:ptbxl,root:$(PTBXL)}$\
  $(if $(MORE),$(comma){name:ptbxl_more$(comma)kind:ptbxl$(comma)root:$(MORE)})$\
  $(if $(SCALED),$(comma){name:ptbxl_scaled$(comma)kind:table$(comma)table:$(SCALED)/table.csv$(comma)$\
  root:$(SCALED)$(comma)patients:ptbxl})
MODEL_COMMAND = make model PTBXL=data/ptbxl$(if $(MORE), MORE=data/$(notdir $(MORE)))$\
  $(if $(SCALED), SCALED=data/$(notdir $(SCALED)))$(if $(CHALLENGE), CHALLENGE=data/challenge)$\
  $(if $(SETTINGS), SETTINGS="$(SETTINGS)")

model: $(READY) $(if $(findstring init=,$(SETTINGS)),,runs/pretrain/model) ## train the model of the package: PTBXL=, MORE=, SCALED=, CHALLENGE=, SETTINGS=
	$(BIN)/python -m ecg_siglip.train experiment=default_model run.name=$(MODEL_RUN) \
	  'data.sources=[$(MODEL_SOURCES)]' 'data.train_folds=[$(TRAIN_FOLDS)]' \
	  data.tune_fold=$(TUNE_FOLD) $(SETTINGS)
	$(BIN)/python results/default_model.py halve runs/$(MODEL_RUN)
	$(BIN)/python -m ecg_siglip.evaluate run.name=$(MODEL_RUN) fold=$(FOLD) data.source=ptbxl
	@test -z "$(CHALLENGE)" || $(BIN)/python -m ecg_siglip.evaluate run.name=$(MODEL_RUN) \
	  data=challenge data.root=$(CHALLENGE) data.ptbxl=$(PTBXL) data.min_positives=2
	$(BIN)/python results/default_model.py card runs/$(MODEL_RUN) $(MODEL_OUT) '$(MODEL_COMMAND)'

# Teachers of `experiment=distilled`: the training folds of each. A teacher gives labels only for the
# folds that it was not trained on.
TEACHERS ?= a:4,5,6,7,8 b:1,2,3,7,8 c:1,2,3,4,5,6

teachers: TUNE_FOLD = 9
teachers: $(READY) runs/pretrain/model ## train three runs of experiment=best for experiment=distilled: PTBXL=, TEACHERS=
	@set -e; for pair in $(TEACHERS); do \
	  $(BIN)/python -m ecg_siglip.train experiment=best run.name=teacher_$${pair%%:*} \
	    data.root=$(PTBXL) "data.train_folds=[$${pair#*:}]" data.tune_fold=$(TUNE_FOLD); \
	done

# Rows of the study: conf/experiment/*.yaml. All of them take hours on a CPU.
ROWS ?= bank,finding,diagonal,shared,shared_rare,jaccard,idf_jaccard,report_diagonal,report,clip,$\
bank_report_003,bank_report_01,bank_report_03,bce,xresnet1d101,random
SEEDS ?= 0,1,2
PTBXL ?= data/ptbxl
TRAIN_FOLDS ?= 1,2,3,4,5,6,7
TUNE_FOLD ?= 8
FOLD ?= 9
CURVE := bank,diagonal,shared,jaccard
# Batch size and learning rate, which is proportional to its square root. The study has 128:2e-3.
BATCHES ?= 32:1e-3 64:1.41e-3 256:2.83e-3 512:4e-3 1024:5.66e-3 2048:8e-3
# Share of the training records, and epochs: with fewer records there are more epochs.
SHARES ?= 0.1:160 0.25:80 0.5:50
# With MORE or SCALED the rows are trained on these data sets as well, and compared on PTBXL alone.
ON = $(if $(MORE)$(SCALED),'data.sources=[$(MODEL_SOURCES)]',data.root=$(PTBXL)) \
  'data.train_folds=[$(TRAIN_FOLDS)]' data.tune_fold=$(TUNE_FOLD)
# Runs are $(NAME)bank_s0 and so on.
NAME ?=
ROW := $${hydra:runtime.choices.experiment}_s$${seed}
comma := ,

study: $(READY) ## train and compare the rows of docs/results.md: ROWS=, SEEDS=, PTBXL=, MORE=, SCALED=, NAME=
	$(BIN)/python -m ecg_siglip.train -m experiment=$(ROWS) seed=$(SEEDS) $(ON) \
	  $(if $(NAME),'run.name=$(NAME)$(ROW)') $(SETTINGS)
	$(BIN)/python -m ecg_siglip.compare fold=$(FOLD) $(if $(MORE)$(SCALED),data.source=ptbxl) \
	  'runs=[$(NAME)$(subst $(comma),_s*$(comma)$(NAME),$(ROWS))_s*]'

curves: $(READY) runs/pretrain/model ## train with several batch sizes and numbers of records: BATCHES=, SHARES=, SEEDS=
	@set -e; for pair in $(BATCHES); do \
	  $(BIN)/python -m ecg_siglip.train -m experiment=$(CURVE) seed=$(SEEDS) $(ON) \
	    optim.batch_size=$${pair%:*} optim.lr=$${pair#*:} 'run.name=b$${optim.batch_size}_$(ROW)'; \
	done; for pair in $(SHARES); do \
	  $(BIN)/python -m ecg_siglip.train -m experiment=best seed=$(SEEDS) $(ON) \
	    data.train_share=$${pair%:*} optim.n_epochs=$${pair#*:} \
	    'run.name=share$${data.train_share}_$(ROW)'; \
	done
	$(BIN)/python -m ecg_siglip.train -m experiment=bank,diagonal seed=$(SEEDS) $(ON) \
	  optim.batch_size=2048 optim.lr=8e-3 optim.n_epochs=120 'run.name=steps2048_$(ROW)'
	$(BIN)/python -m ecg_siglip.train -m experiment=$(CURVE) seed=$(SEEDS) $(ON)
	$(BIN)/python -m ecg_siglip.train -m experiment=best seed=$(SEEDS) $(ON)
	$(BIN)/python -m ecg_siglip.compare fold=$(FOLD) x=optim.batch_size out=comparison_batch_size \
	  'runs=[$(subst $(comma),_s*$(comma),$(CURVE))_s*,b*_$(subst $(comma),_s*$(comma)b*_,$(CURVE))_s*]'
	$(BIN)/python -m ecg_siglip.compare fold=$(FOLD) out=comparison_batch_steps 'runs=[steps2048_*]'
	$(BIN)/python -m ecg_siglip.compare fold=$(FOLD) x=data.train_share out=comparison_records \
	  'runs=[share0*_best_s*,best_s*]'

# Runs of `make official`: runs/official_TASK_sSEED.
TASKS ?= all,diagnostic,subdiagnostic,superdiagnostic,form,rhythm
OFFICIAL = $(foreach task,$(subst $(comma), ,$(TASKS)),$(foreach seed,$(subst $(comma), ,$(SEEDS)),$\
runs/official_$(task)_s$(seed)/evaluate/fold10/metrics.json))
WORDS = $(subst _s, ,$*)

official: $(OFFICIAL) ## train on folds 1-8 and report fold 10 for the six tasks of PTB-XL: PTBXL=, SEEDS=, TASKS=
	$(BIN)/python results/official.py runs
	$(BIN)/python results/build.py --pages

runs/official_%/evaluate/fold10/metrics.json: | $(READY) $(PTBXL)/ptbxl_database.csv runs/pretrain/model
	$(BIN)/python -m ecg_siglip.train experiment=best run.name=official_$* data.root=$(PTBXL) \
	  data.task=$(word 1,$(WORDS)) seed=$(word 2,$(WORDS)) $(SETTINGS)
	$(BIN)/python -m ecg_siglip.evaluate run.name=official_$* fold=10

$(PTBXL)/ptbxl_database.csv: | $(READY)
	$(BIN)/python -m ecg_siglip.ptbxl data.root=$(PTBXL)

results: $(READY) ## write every number and figure of README.md and docs/ from results/runs/: PTBXL=
	$(BIN)/python results/build.py $(PTBXL)

bench: $(READY) ## measure every number of docs/performance.md; half an hour on two cores
	@test -f data/bench/ptbxl_database.csv || $(BIN)/python -m ecg_siglip.simulate \
	  data.root=data/bench n_records=2000 records500=true
	@test -d runs/bench/model || $(BIN)/python -m ecg_siglip.train experiment=fast run.name=bench \
	  data.root=data/bench optim.n_epochs=1
	$(BIN)/python benchmarks/commands.py runs/bench data/bench/records100/00000/00001_lr
	$(BIN)/python benchmarks/app.py runs/bench data/bench/records100/00000/00001_lr
	$(BIN)/python benchmarks/archive.py runs/bench data/bench
	$(BIN)/python benchmarks/data.py data/bench
	$(BIN)/python benchmarks/training.py data/bench
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/fingerprint.py data/bench
	$(BIN)/python benchmarks/report.py

bench-whole: $(READY) ## measure a whole training on 17,418 simulated records: about a minute on a GPU
	@test -f data/bench-whole/ptbxl_database.csv || $(BIN)/python -m ecg_siglip.simulate \
	  data.root=data/bench-whole n_records=21800
	$(BIN)/python benchmarks/training.py data/bench-whole --whole
	$(BIN)/python benchmarks/report.py

wheel-test: $(READY) ## build the wheel, install it in another folder, run each of its commands
	.ci/wheel

clean: ## remove .venv, the demo's data and run, and all caches; keep other runs and data
	rm -rf .venv runs/demo data/demo build dist .pytest_cache .mypy_cache .ruff_cache
