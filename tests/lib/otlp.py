"""Reads export requests, one JSON text a line, as OTLP/HTTP in JSON has them, strictly by the vendor's proto files.

otlp.py FOLDER: FOLDER has opentelemetry/proto. What is wrong is said, and the exit code is 1; else it says how many spans there were.
"""
import base64
import json
import os
import re
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format

try:
    from google.protobuf.message_factory import GetMessageClass
except ImportError:
    from google.protobuf.message_factory import MessageFactory

    def GetMessageClass(descriptor):
        return MessageFactory().GetPrototype(descriptor)


def request_class(folder):
    proto = "opentelemetry/proto/collector/trace/v1/trace_service.proto"
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "set")
        subprocess.run(["protoc", "-I", folder, "--include_imports", "--descriptor_set_out=" + out, proto], check=True)
        with open(out, "rb") as f:
            files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for f in files.file:
        pool.Add(f)
    return GetMessageClass(pool.FindMessageTypeByName("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest"))


# Ids are hex in OTLP's JSON, where protobuf's own has base64; enums are numbers; names are lowerCamelCase.
ID = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def plain(value, where=""):
    if isinstance(value, list):
        return [plain(v, where) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for k, v in value.items():
        assert "_" not in k, f"{where}.{k}: not lowerCamelCase"
        if k in ID:
            assert re.fullmatch(r"[0-9a-f]{%d}" % ID[k], v) and set(v) != {"0"}, f"{where}.{k}: {v!r}"
            v = base64.b64encode(bytes.fromhex(v)).decode()
        if k in ("kind", "code"):
            assert type(v) is int, f"{where}.{k}: {v!r} is no number"
        out[k] = plain(v, f"{where}.{k}")
    return out


def check_span(s):
    assert s.name and len(s.trace_id) == 16 and len(s.span_id) == 8, s
    assert s.kind in (1, 2, 3) and s.flags & 0x101 == 0x101, s
    assert 0 < s.start_time_unix_nano <= s.end_time_unix_nano, s
    for holder in [s, *s.events]:
        keys = [a.key for a in holder.attributes]
        assert all(keys) and len(keys) == len(set(keys)), f"{s.name}: {keys}"
        assert all(a.value.WhichOneof("value") for a in holder.attributes), s
    for e in s.events:
        assert e.name and s.start_time_unix_nano <= e.time_unix_nano <= s.end_time_unix_nano, s


request = request_class(sys.argv[1])
n = 0
for line in sys.stdin:
    r = request()
    json_format.ParseDict(plain(json.loads(line)), r)
    assert r.resource_spans, "a request without resource"
    for rs in r.resource_spans:
        assert [a for a in rs.resource.attributes if a.key == "service.name" and a.value.string_value], "no service.name"
        for ss in rs.scope_spans:
            assert ss.scope.name and ss.spans, "an empty scope"
            for s in ss.spans:
                check_span(s)
                n += 1
print(n)
