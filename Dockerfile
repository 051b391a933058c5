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
ENV PATH=/opt/pingboard/bin:$PATH PINGBOARD_HOST=0.0.0.0
USER pingboard
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s CMD ["python", "-c", \
  "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["pingboard"]
CMD ["run"]
