# One image for the four services and the command `mrrlytics`. It has no compiler, and nobody can write to it.
#   docker build -t registry.example.com/mrrlytics:0.1.0 .
#   docker run … registry.example.com/mrrlytics:0.1.0 python -m services.connector

# The assets of the pages need Node, which the image does not.
FROM node:22-bookworm-slim AS assets
WORKDIR /build
COPY package.json package-lock.json build.mjs ./
RUN npm ci --no-audit --no-fund
COPY services/gateway/assets services/gateway/assets
RUN npm run build

# Only wheels: a package that would have to be compiled stops the build.
FROM python:3.11-slim-bookworm AS packages
COPY requirements.lock .
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements.lock

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MRRLYTICS_HEALTH_HOST=0.0.0.0
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY mrrlytics.py ./
COPY libs libs
COPY services services
COPY --from=assets /build/services/gateway/static/dist services/gateway/static/dist
# Compiled once here, because the file system is read-only later.
RUN python -m compileall -q libs services mrrlytics.py
USER 10001:10001
# Only a failing start or a blocked process is unhealthy; /readyz says what a service waits for.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('MRRLYTICS_HEALTH_PORT', '8081')}/livez\", timeout=3)"]
CMD ["python", "-m", "services.gateway"]
