# Slipway's one image: the operator and the inference pod. Built by `npm run image`, which puts together what is copied
# here. BASE is any Linux with Node 26 at /usr/local/bin/node (or as `node` on the PATH), such as node:26-slim.
ARG BASE=node:26-slim
FROM ${BASE} AS base
# Nothing that installs packages is needed to run, so nothing of it is in the image.
RUN rm -rf /usr/local/lib/node_modules /usr/local/include /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/yarn* /opt/yarn*

# One layer from what is left, so that what was removed is really gone.
FROM scratch
COPY --from=base / /
COPY app /app
WORKDIR /app
ENV NODE_ENV=production PATH=/usr/local/bin:/usr/bin:/bin
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080 9000 9090
ENTRYPOINT ["node"]
# Requests are short-lived: a larger young generation would only be memory. On one core, threads that collect garbage only
# take time from one another (measured: two thirds of the processor time for large binary tensors).
CMD ["--max-semi-space-size=4", "--single-threaded-gc", "inference-pod/src/main.js"]
