# Targets: `cpu` (the default) and `gpu`. Neither holds torch, an installer, a cache or a compiler.
# Built and run by scripts/image-check; what is taken from the base and the libraries: deploy/image.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Filled from outside by the base image's pip, so that it holds none of its own.
RUN python -m venv --without-pip /opt/venv

FROM build AS libraries-cpu
COPY requirements/serve.txt ./
RUN pip --python /opt/venv/bin/python install --requirement serve.txt
COPY deploy/image/slim-libraries ./
RUN ./slim-libraries /opt/venv/lib/python3.11/site-packages

FROM build AS libraries-gpu
COPY requirements/gpu.txt ./
RUN pip --python /opt/venv/bin/python install --requirement gpu.txt

# Apart from the libraries, so that a change of code changes one small layer.
FROM build AS project
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY commands commands
COPY harvesting harvesting
COPY localization localization
COPY reporting reporting
COPY reviewing reviewing
COPY service service
COPY training training
RUN pip --python /opt/venv/bin/python install --no-deps --prefix /project .

FROM python:3.11-slim-bookworm AS base
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin cxr
COPY deploy/image/slim-base /root/
RUN /root/slim-base

# From nothing, so that what was taken from the base is in no layer.
FROM scratch AS runtime
# hadolint ignore=DL3067
COPY --from=base / /
COPY deploy/image/entrypoint deploy/image/healthcheck /usr/local/bin/
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    CXR_HOST=0.0.0.0 \
    CXR_PORT=8000
ARG REVISION=unknown
LABEL org.opencontainers.image.title="CXR Localizer" \
      org.opencontainers.image.description="Chest X-ray in; thoracic diseases, and where they are, out. For research." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION"
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["healthcheck"]
ENTRYPOINT ["entrypoint"]
CMD ["cxr-localizer", "serve"]

FROM runtime AS gpu
# The driver comes from the host: the container runtime mounts it on seeing these two.
ENV CXR_PROVIDER=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=libraries-gpu /opt/venv /opt/venv
COPY models models
COPY --from=project /project /opt/venv

FROM runtime AS cpu
COPY --from=libraries-cpu /opt/venv /opt/venv
COPY models models
COPY --from=project /project /opt/venv
