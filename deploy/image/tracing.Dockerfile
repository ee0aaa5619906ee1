# docker build --file deploy/image/tracing.Dockerfile --tag cxr-localizer:tracing .
# The CPU image with the extra `tracing`, in the versions of the lock.
FROM python:3.11-slim-bookworm AS tracing
WORKDIR /build
COPY requirements/test.txt ./
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --target /tracing --constraint test.txt opentelemetry-sdk opentelemetry-exporter-otlp-proto-http

FROM cxr-localizer:cpu
COPY --from=tracing /tracing /opt/venv/lib/python3.11/site-packages
