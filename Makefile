# The project's commands. `make run` and `make test` set up everything they need by themselves.

# By its real name: the link may be put to a newer one while this one runs.
PYTHON_ENV = "$$(readlink -f .venv)"/bin/python
FRAMES ?=
CAMERA ?=
BROKER ?=
CORPUS ?=
ARGS ?=
# What starts brokers and databases is told to end when make does, and then ends them.
TIED = exec setpriv --pdeathsig TERM $(PYTHON_ENV)

ARCH ?= amd64 arm64
# Who answers for the packages, as in: MAINTAINER="Sở Y tế <tin@example.vn>"
MAINTAINER ?=
# edge-scanner is for units, edge-centre for the machines of the centre.
PACKAGE ?= edge-scanner

.PHONY: deb debian sbom run test check bench chaos camera contract lock clean failover storm cluster province backpressure pictures

## The main job: a broker, a collector and a scanner on this machine, shown live until Ctrl-C.
## FRAMES=<folder, image or video>, CAMERA=<0, /dev/videoN, pi or sample>, BROKER=mqtt://host:port
run:
	@provisioning/bootstrap.sh run
	@$(PYTHON_ENV) -m edge.demo --frames '$(FRAMES)' --camera '$(CAMERA)' --broker '$(BROKER)' $(ARGS)

## Everything that must hold before a change lands: style, types, layers, tests. Most tests wait for
## something outside, so three at a time are quick on two cores; WORKERS=0 runs one after another.
WORKERS ?= 3
test:
	@provisioning/bootstrap.sh test
	@$(PYTHON_ENV) -m tests.trees --quiet camera unit-trixie &
	@$(MAKE) --no-print-directory check
	@$(PYTHON_ENV) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check:
	@$(PYTHON_ENV) -m ruff check edge tests provisioning
	@$(PYTHON_ENV) -m ruff format --check edge tests provisioning
	@$(PYTHON_ENV) -m mypy
	@.venv/bin/lint-imports

## Our reading beside that of single readers, in one run; writes .bench/read.md and read.png.
## CORPUS=<folder with an index.json>, ARGS=--quick; `make bench BENCH=outbox`, drain or soak for others.
## BENCH=desk, trace, cohort: the tracing desk's cost, speed, and recall; collect, collectors: storing.
BENCH ?= read
bench:
	@provisioning/bootstrap.sh bench
	@$(PYTHON_ENV) -m tests.bench.$(BENCH) $(if $(CORPUS),--corpus '$(CORPUS)') $(ARGS)

## Everything that the field does to us, for a while and from a seed: kills, cuts, full disks, clocks.
MINUTES ?= 10
SEED ?=
chaos:
	@provisioning/bootstrap.sh test
	@$(TIED) -m tests.end_to_end.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

## The Pi camera's adapter on the real picamera2 and libcamera, at full length, in a Debian 13 tree
## that is made once (needs root; kept in ~/.cache/edge-scanner/trees).
CAPTURES ?= 10000
CYCLES ?= 100
camera:
	@provisioning/bootstrap.sh test
	@CAPTURES=$(CAPTURES) CYCLES=$(CYCLES) $(PYTHON_ENV) -m pytest -s tests/scanner/test_virtual_camera.py $(ARGS)

## Write the JSON Schemas and the AsyncAPI document anew, after a change of edge/messages.py.
contract:
	@$(PYTHON_ENV) -m edge.contract

## The Debian PACKAGE for each ARCH, from requirements.lock, into dist/; needs dpkg-deb.
deb:
	@provisioning/bootstrap.sh test
	@for arch in $(ARCH); do $(PYTHON_ENV) provisioning/deb.py --arch $$arch --package $(PACKAGE) \
		$(if $(MAINTAINER),--maintainer "$(MAINTAINER)") || exit 1; done

## What the package of a unit brings, as CycloneDX, from requirements.lock: dist/edge-scanner.cdx.json.
sbom:
	@provisioning/bootstrap.sh test
	@$(PYTHON_ENV) provisioning/deb.py --arch arm64 --sbom

## A unit's life on Debian 12 and 13, booted by their own systemd; as root, and with minutes to spare.
debian:
	@provisioning/bootstrap.sh test
	@EDGE_DEBIAN=1 $(PYTHON_ENV) -m pytest tests/debian $(ARGS)

## Nodes are killed under load, TIMES each, from a SEED: a broker of three, a collector, PostgreSQL's
## leader under Patroni. Storage must hold each scan once. Some 45 minutes.
TIMES ?= 20
failover:
	@provisioning/bootstrap.sh test
	@$(TIED) -m tests.end_to_end.scale --kill broker collector database --times $(TIMES) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

## UNITS simulated units come back at once with an hour's backlog; all must be confirmed and stored.
UNITS ?= 10000
storm:
	@provisioning/bootstrap.sh test
	@$(TIED) -m tests.end_to_end.scale --storm --units $(UNITS) --rate 47 $(ARGS)

## Storage is slow for SECONDS: memory and queues stay bounded, units keep, and all is stored once.
SECONDS_SLOW ?= 600
backpressure:
	@provisioning/bootstrap.sh test
	@$(TIED) -m tests.end_to_end.slow_storage --with nats mosquitto --seconds $(SECONDS_SLOW) $(ARGS)

## Three NATS servers and PostgreSQL under Patroni on this machine, until Ctrl-C; says where they are.
cluster:
	@provisioning/bootstrap.sh test
	@$(TIED) -m tests.cluster

## The centre of a province on this machine, by the files and commands of edge/collector/PROVINCE.md:
## brokers and databases, of which the one dies that leads, and a backup that is put back.
province:
	@provisioning/bootstrap.sh test
	@EDGE_PROVINCE=1 $(PYTHON_ENV) -m pytest tests/end_to_end/test_province.py $(ARGS)

## The pictures of the pages in the READMEs anew, of invented places; needs chromium.
pictures:
	@provisioning/bootstrap.sh test
	@$(PYTHON_ENV) -m tests.dashboard.pictures $(ARGS)

## Resolve requirements.lock anew; needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra dev pyproject.toml -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra demo -c requirements.lock pyproject.toml -o provisioning/run.lock

clean:
	rm -rf .venv .venvs .run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
