# An agent in a container: docker compose up --build; compose.yaml says how it is run.
# Beside agent.toml, jobs/ and listeners/ are yours; docs/deploying.md tells the rest.
FROM python:3.13-slim AS build
# Extras of py-agent, as "feeds,notify".
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 SOURCE_DATE_EPOCH=315532800
WORKDIR /build
COPY setup.py pyproject.toml README.md LICENSE ./
COPY py_agent py_agent
COPY cli cli
COPY migrations migrations
COPY jobs jobs
COPY listeners listeners
RUN pip wheel --no-deps --wheel-dir wheels .
RUN python -m venv --without-pip /opt/py_agent
# With a requirements.lock beside this file, what it names and nothing else.
COPY requirements.loc[k] ./
RUN if [ -e requirements.lock ]; then \
      pip --python /opt/py_agent/bin/python install --require-hashes -r requirements.lock \
      && pip --python /opt/py_agent/bin/python install --no-deps wheels/*.whl; \
    else \
      pip --python /opt/py_agent/bin/python install "$(echo wheels/*.whl)${EXTRAS:+[$EXTRAS]}"; \
    fi

FROM python:3.13-slim
RUN groupadd --gid 10001 agent \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data agent \
    && install --directory --owner=agent --group=agent --mode=0700 /data \
    && install --directory /run/secrets
COPY --from=build /opt/py_agent /opt/py_agent
ENV PATH=/opt/py_agent/bin:$PATH PYTHONUNBUFFERED=1 \
    PY_AGENT_DB_PATH=/data/agent.sqlite PY_AGENT_SECRETS_DIR=/run/secrets
WORKDIR /agent
USER agent
VOLUME /data
STOPSIGNAL SIGTERM
# Unhealthy when something needs a person, as after a dead letter.
HEALTHCHECK --interval=1m --timeout=20s --start-period=1m --retries=3 \
    CMD ["agent", "doctor"]
ENTRYPOINT ["agent"]
CMD ["go"]
