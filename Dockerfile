# An image with ecg-siglip and the extras below, for a CPU:
#   docker build --tag ecg-siglip .
#   docker run --rm --volume "$PWD:/workspace" --user "$(id -u):$(id -g)" ecg-siglip --help
# For an NVIDIA GPU (needs the NVIDIA Container Toolkit on the host):
#   docker build --tag ecg-siglip:cuda \
#     --build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04 --build-arg TORCH_INDEX=https://pypi.org/simple .
#   docker run --rm --gpus all --shm-size 4g --volume "$PWD:/workspace" ecg-siglip:cuda train ...
# The web page in a container has to listen on all addresses; publish it on this machine only:
#   docker run --rm --publish 127.0.0.1:7860:7860 --volume "$PWD:/workspace" ecg-siglip \
#     app run.name=r1 host=0.0.0.0 'hosts=[localhost,127.0.0.1]'
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# PyTorch's build without CUDA. The build on PyPI has its own CUDA libraries, so the smallest CUDA
# base is enough.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=app,explain,export,formats,hf,remote,sql

# The CUDA images come without Python; Ubuntu 24.04 installs 3.12.
RUN if ! command -v python3 >/dev/null; then \
      apt-get update \
      && apt-get install --yes --no-install-recommends python3 python3-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# PyTorch in a layer of its own: it is by far the largest and changes least.
COPY constraints.txt /src/
RUN pip install "$(grep '^torch==' /src/constraints.txt)" --index-url "$TORCH_INDEX"

COPY pyproject.toml README.md LICENSE /src/
COPY conf /src/conf
COPY ecg_siglip /src/ecg_siglip
RUN pip install --constraint /src/constraints.txt "/src[$EXTRAS]" && rm -rf /src

# Runs, data and downloaded models are read from and written to the mounted folder. Matplotlib and
# the Hugging Face client need a folder that any user may write to.
RUN useradd --create-home ecg && install --directory --owner=ecg /workspace
ENV MPLCONFIGDIR=/workspace/.matplotlib HF_HOME=/workspace/.huggingface PYTHONUNBUFFERED=1
USER ecg
WORKDIR /workspace
# Whether the server responds, if the container runs `app` on its usual port; other commands are not
# servers and count as healthy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
  "import urllib.request as web\nif b'\\0app\\0' in open('/proc/1/cmdline', 'rb').read(): web.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["ecg-siglip"]
