# make demo, make test, make lint, make help. Each sets up .venv if it is not there.

PYTHON ?= python3
# Where torch comes from; empty: PyPI, whose Linux build brings CUDA along (about 3 GB). Without a
# GPU:  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
RUN ?= demo
DATA ?= data/demo
N_RECORDS ?= 1000
FUZZ ?= 1000

BIN := .venv/bin
READY := .venv/.ready
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-app fuzz screenshot lint format notebook pretrain teachers study curves results bench bench-whole wheel-test clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the environment .venv with the pinned versions

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "make: expected Python 3.11 or newer with venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: expected Python 3.11 or newer; say make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "== installing into .venv (the first time takes minutes)"
	$(BIN)/python -m pip install --quiet $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## simulate ECGs, train on them, score, read one record; under 5 minutes
	@test -f $(DATA)/ptbxl_database.csv || { \
	  echo "== 1/4  simulating $(N_RECORDS) ECGs in $(DATA)"; \
	  $(BIN)/python -m ecg_siglip.simulate data.root=$(DATA) n_records=$(N_RECORDS); }
	@echo "== 2/4  training runs/$(RUN)"
	@$(BIN)/python -m ecg_siglip.train experiment=demo run.name=$(RUN) data.root=$(DATA)
	@echo "== 3/4  scoring on fold 10, which training never saw"
	@$(BIN)/python -m ecg_siglip.evaluate run.name=$(RUN) fold=10
	@echo "== 4/4  the findings of one record"
	@$(BIN)/python -m ecg_siglip.predict run.name=$(RUN) \
	  "records=[$(DATA)/records100/00000/00001_lr]" > runs/$(RUN)/answer.json
	@$(BIN)/python -c 'import json; answer = json.load(open("runs/$(RUN)/answer.json")); \
	  print(answer["record"], "" if answer["findings"] else "(none of the findings)"); \
	  [print("  {probability:.2f}  {name} ({code})".format(**f)) for f in answer["findings"]]'
	@echo
	@echo "All probabilities: runs/$(RUN)/answer.json"
	@echo "The report: $(CURDIR)/runs/$(RUN)/evaluate/fold10/report.html"
	@echo "For research, not for diagnosis."

test: $(READY) ## every test, offline, under 5 minutes
	$(BIN)/python -m pytest

test-app: $(READY) ## the web page in headless Chromium (Debian: apt install chromium) and under load
	$(BIN)/python -m pytest -m app tests/serving/test_web_page.py

fuzz: $(READY) ## a thousand damaged files for every reader: FUZZ=; make test tries fewer
	FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/test_fuzz.py

screenshot: demo ## docs/app.png, the picture in README.md, from the demo
	ECG_SIGLIP_SCREENSHOT=runs/$(RUN):$(DATA)/records100/00000/00129_lr \
	  $(BIN)/python -m pytest -m app tests/serving/test_web_page.py -k screenshot

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebook: demo ## run the notebooks on the demo and store what they show
	$(BIN)/python -c 'import nbformat; from nbclient import NotebookClient; from pathlib import Path; \
	  pages = {path: nbformat.read(path, 4) for path in Path("notebooks").glob("*.ipynb")}; \
	  where = {"metadata": {"path": "notebooks"}}; \
	  [NotebookClient(page, resources=where, record_timing=False).execute() for page in pages.values()]; \
	  [nbformat.write(page, path) for path, page in pages.items()]'

# What `experiment=best` starts from: an ECG encoder that has seen simulated ECGs only.
N_PRETRAIN ?= 24000

runs/pretrain/model:
	$(MAKE) pretrain

pretrain: $(READY) ## simulate ECGs and train runs/pretrain, the encoder experiment=best starts from
	@test -f data/pretrain/ptbxl_database.csv || \
	  $(BIN)/python -m ecg_siglip.simulate data.root=data/pretrain n_records=$(N_PRETRAIN) seed=1
	$(BIN)/python -m ecg_siglip.train experiment=pretrain

# What `experiment=distilled` learns from as well: each of them speaks of the folds it has not seen.
TEACHERS ?= a:4,5,6,7,8 b:1,2,3,7,8 c:1,2,3,4,5,6

teachers: TUNE_FOLD = 9
teachers: $(READY) runs/pretrain/model ## three runs of experiment=best for experiment=distilled: PTBXL=, TEACHERS=
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
# Batch size and learning rate, which goes with the square root of it. 128:2e-3 is the study's.
BATCHES ?= 32:1e-3 64:1.41e-3 256:2.83e-3 512:4e-3 1024:5.66e-3 2048:8e-3
# Share of the training records and epochs: fewer records are seen more often.
SHARES ?= 0.1:160 0.25:80 0.5:50
ON := data.root=$(PTBXL) 'data.train_folds=[$(TRAIN_FOLDS)]' data.tune_fold=$(TUNE_FOLD)
ROW := $${hydra:runtime.choices.experiment}_s$${seed}
comma := ,

study: $(READY) ## train and compare the rows of docs/results.md: ROWS=, SEEDS=, PTBXL=
	$(BIN)/python -m ecg_siglip.train -m experiment=$(ROWS) seed=$(SEEDS) $(ON)
	$(BIN)/python -m ecg_siglip.compare fold=$(FOLD) \
	  'runs=[$(subst $(comma),_s*$(comma),$(ROWS))_s*]'

curves: $(READY) runs/pretrain/model ## train along the batch size and the number of records: BATCHES=, SHARES=, SEEDS=
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

results: $(READY) ## every number and figure of README.md and docs/, from results/runs/: PTBXL=
	$(BIN)/python results/build.py $(PTBXL)

bench: $(READY) ## every figure of docs/performance.md, on this machine; half an hour on two cores
	@test -f data/bench/ptbxl_database.csv || $(BIN)/python -m ecg_siglip.simulate \
	  data.root=data/bench n_records=2000 records500=true
	@test -d runs/bench/model || $(BIN)/python -m ecg_siglip.train experiment=fast run.name=bench \
	  data.root=data/bench optim.n_epochs=1
	$(BIN)/python benchmarks/verbs.py runs/bench data/bench/records100/00000/00001_lr
	$(BIN)/python benchmarks/app.py runs/bench data/bench/records100/00000/00001_lr
	$(BIN)/python benchmarks/data.py data/bench
	$(BIN)/python benchmarks/training.py data/bench
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/fingerprint.py data/bench
	$(BIN)/python benchmarks/report.py

bench-whole: $(READY) ## a whole training on 17,418 simulated records: a minute or so on a GPU
	@test -f data/bench-whole/ptbxl_database.csv || $(BIN)/python -m ecg_siglip.simulate \
	  data.root=data/bench-whole n_records=21800
	$(BIN)/python benchmarks/training.py data/bench-whole --whole
	$(BIN)/python benchmarks/report.py

wheel-test: $(READY) ## build the wheel, install it elsewhere, run every verb of it
	.ci/wheel

clean: ## remove .venv, the demo's data and run, and all caches; other runs and data stay
	rm -rf .venv runs/demo data/demo build dist .pytest_cache .mypy_cache .ruff_cache
