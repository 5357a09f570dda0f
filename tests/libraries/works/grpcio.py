"""grpcio: a server with threads, and streams whose requests come from a chain."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import grpc
from hosts import pause

DISTRIBUTION = "grpcio"


class _Handler(grpc.GenericRpcHandler):
    def service(self, details):
        method = details.method.rpartition("/")[2]
        if method == "one":
            return grpc.unary_unary_rpc_method_handler(lambda data, _: data.upper())
        if method == "many":
            return grpc.unary_stream_rpc_method_handler(
                lambda data, _: (b"%s%d" % (data, n) for n in range(20))
            )
        return None


@cache
def _channel():
    server = grpc.server(ThreadPoolExecutor(4), handlers=[_Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _channel.server = server
    return grpc.insecure_channel(f"127.0.0.1:{port}")


_channel()


def small():
    return _channel().unary_unary("/s/one")(b"abc", timeout=30)


def heavy():
    one, many = _channel().unary_unary("/s/one"), _channel().unary_stream("/s/many")
    answers = [one(b"x" * size, timeout=30) for size in range(0, 200_000, 10_000)]
    return [answers, [list(many(b"%d" % n, timeout=30)) for n in range(50)]]


class _Interceptor(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, go_on, details, request):
        pause()
        call = go_on(details, request)
        pause()
        return call


def callback(number):
    """Metadata and encoding in functions of the chain's, and a stream read in parts."""
    channel = grpc.intercept_channel(_channel(), _Interceptor())
    encoding = channel.unary_unary(
        "/s/one", request_serializer=lambda data: pause() or data + b"%d" % number
    )
    read = []
    for data in _channel().unary_stream("/s/many")(b"%d-" % number, timeout=30):
        pause()
        read.append(data)
    return [encoding(b"x", timeout=30), read]


def exception():
    _channel().unary_unary("/s/missing")(b"", timeout=30)
