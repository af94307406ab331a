# khealth's image: the application's environment alone, without pip or a compiler, for any user and a read-only root.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Bytecode without columns takes less memory: tracebacks name the line.
ENV PYTHONNODEBUGRANGES=1
# Two environments: what builds the wheel stays behind in the first.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/khealth
COPY requirements/ requirements/
RUN /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
 && /opt/build/bin/pip --python /opt/khealth/bin/python install --require-hashes --only-binary :all: -r requirements/run.txt
# Leave out the docstrings of libraries: they take 1 MiB of memory. aiohttp keeps its asserts, which guard its parser.
RUN /opt/khealth/bin/python -c 'import importlib.util as u, pathlib, py_compile, site; \
 [py_compile.compile(str(f), u.cache_from_source(str(f)), doraise=True, optimize=2) \
  for f in pathlib.Path(site.getsitepackages()[0]).rglob("*.py") if "aiohttp" not in f.parts]'
COPY pyproject.toml README.md LICENSE ./
COPY khealth_exporter/ khealth_exporter/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/khealth/bin/python install --no-deps --no-index --find-links /wheels khealth-exporter

FROM python:3.13-slim
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="khealth" \
      org.opencontainers.image.description="A Kubernetes canary and Prometheus exporter" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=build /opt/khealth /opt/khealth
# What follows keeps khealth's memory small. frozenlist's extension would load libstdc++, for lists of a few items. Of its
# threads, one works at a time, so one heap does for all. Pages and answers, once sent, go back to the system.
ENV PATH=/opt/khealth/bin:$PATH PYTHONDONTWRITEBYTECODE=1 FROZENLIST_NO_EXTENSIONS=1 \
    MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=65536 MALLOC_TRIM_THRESHOLD_=65536 MALLOC_TOP_PAD_=65536
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["khealth"]
CMD ["run"]
