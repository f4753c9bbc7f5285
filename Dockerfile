# The monitor as a container: no root, writes only to /data, every dependency locked by hash.
# Both stages use the same image, so that the venv's interpreter is where the venv expects it.
FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/finetune-monitor
COPY requirements.lock ./
RUN pip --python /opt/finetune-monitor/bin/python install --require-hashes --no-deps --requirement requirements.lock
# The build backend comes from the dev lock, reduced to what building needs; pip fails if something is missing.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' requirements-dev.lock >build.lock \
    && pip install --require-hashes --requirement build.lock
COPY LICENSE README.md hatch_build.py pyproject.toml ./
COPY config/prices.yaml config/prices.yaml
COPY monitor monitor
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/finetune-monitor/bin/python install --no-deps --no-index wheels/*.whl

FROM python:3.13-slim-bookworm
ENV PATH=/opt/finetune-monitor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 monitor \
    && useradd --uid 10001 --gid monitor --home-dir /data --no-create-home --shell /usr/sbin/nologin monitor \
    && install --directory --owner monitor --group monitor --mode 0750 /data
COPY --from=build /opt/finetune-monitor /opt/finetune-monitor
LABEL org.opencontainers.image.title="finetune-monitor" \
      org.opencontainers.image.description="Watches fine-tuning jobs of many organisations: metrics, notifications, costs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-bookworm"
# Last, because it changes with every commit.
ARG REVISION=unknown
ENV FINETUNE_MONITOR_REVISION=$REVISION
LABEL org.opencontainers.image.revision=$REVISION

# A relative sqlite:/// path leads here. The user is a number, so that Kubernetes can verify that it is not root.
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 10877
# Any status below 500 means healthy, since a web_config_file may require a password here. With TLS, define your own check.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-I", "-S", "-c", "\
import http.client as http; monitor = http.HTTPConnection('127.0.0.1', 10877, timeout=4); \
monitor.request('GET', '/-/healthy'); raise SystemExit(monitor.getresponse().status >= 500)"]
ENTRYPOINT ["finetune-monitor"]
CMD ["run", "--config", "/etc/finetune-monitor/config.yaml", "--listen", "0.0.0.0:10877"]
