"""Asks a pod what gRPC's own tools ask: ask_grpc_tools.py GRPC_ADDRESS. Prints one line of JSON."""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
reflected = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(reflected)
services = {name: [method.name for method in pool.FindServiceByName(name).methods] for name in reflected.get_services()}
health = health_pb2_grpc.HealthStub(channel)
watched = next(iter(health.Watch(health_pb2.HealthCheckRequest())))
print(json.dumps({"services": services, "health": watched.status}))
