"""pyzmq: sockets of several patterns in one process."""

import zmq

DISTRIBUTION = "pyzmq"


def _pair(context, one, other, address):
    bound, connected = context.socket(one), context.socket(other)
    bound.bind(address)
    connected.connect(address)
    return bound, connected


def small():
    with zmq.Context() as context:
        one, other = _pair(context, zmq.PAIR, zmq.PAIR, "inproc://small")
        with one, other:
            one.send_multipart([b"a", b"b"])
            return other.recv_multipart()


def heavy():
    received = []
    with zmq.Context() as context:
        pull, push = _pair(context, zmq.PULL, zmq.PUSH, "inproc://heavy")
        with pull, push:
            for number in range(2000):
                push.send_json({"number": number})
                received.append(pull.recv_json()["number"])
        reply, request = _pair(context, zmq.REP, zmq.REQ, "inproc://reply")
        poller = zmq.Poller()
        poller.register(reply, zmq.POLLIN)
        with reply, request:
            for number in range(500):
                request.send(b"%d" % number)
                assert poller.poll(5000)
                reply.send(reply.recv() * 2)
                received.append(request.recv())
    return received


def exception():
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.send(b"before a request")
