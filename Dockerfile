# The server of saved forecasters, without TensorFlow and DVC. Models are mounted, not copied:
#   docker build -t gatecast .
#   docker run -p 8000:8000 -e GATECAST_API_KEY -v "$PWD/models:/srv/models:ro" gatecast
#   docker run -p 8000:8000 -e GATECAST_API_KEY -v /published:/published:ro gatecast /published --host 0.0.0.0
FROM python:3.11-slim

WORKDIR /app
COPY requirements-serve.txt ./
RUN pip install --no-cache-dir -r requirements-serve.txt
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
RUN pip install --no-cache-dir --no-deps . && useradd --no-create-home gatecast

USER gatecast
WORKDIR /srv
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=10s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=5)"]
ENTRYPOINT ["gatecast", "serve"]
CMD ["--host", "0.0.0.0"]
