FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY pingboard pingboard
COPY alembic alembic
RUN python -m venv /opt/pingboard \
 && /opt/pingboard/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
RUN useradd --system --home-dir /data pingboard && install -d -o pingboard /data
COPY --from=build /opt/pingboard /opt/pingboard
ENV PATH=/opt/pingboard/bin:$PATH PINGBOARD_HOST=0.0.0.0 PINGBOARD_RUNTIME_DIR=/tmp/pingboard
USER pingboard
WORKDIR /data
VOLUME /data
EXPOSE 8080
# Right for every command and port: each keeps its heartbeat in PINGBOARD_RUNTIME_DIR.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s CMD ["pingboard", "health"]
ENTRYPOINT ["pingboard"]
CMD ["run"]
