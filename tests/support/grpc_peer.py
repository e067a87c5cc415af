"""A gRPC server and client without generated code: messages are plain bytes.

grpc_peer.py serve PORT
grpc_peer.py call TARGET METHOD [WORD ...]   prints "STATUS details" and each answer on a line

Methods of /orlop.test.Echo/: Unary, Split (one word in, its letters out), Join (words in, one out),
Chat (each word answered at once), Fail (NOT_FOUND), Sleep (2 s), Flaky (UNAVAILABLE on every odd
call).
"""
import queue
import sys
import time
from concurrent import futures

import grpc

SERVICE = "/orlop.test.Echo/"


class Echo(grpc.GenericRpcHandler):
    def __init__(self):
        self.flaky_calls = 0

    def service(self, details):
        name = details.method.removeprefix(SERVICE)
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(lambda word, context: b"echo " + word),
            "Split": grpc.unary_stream_rpc_method_handler(
                lambda word, context: (word[i : i + 1] for i in range(len(word)))
            ),
            "Join": grpc.stream_unary_rpc_method_handler(
                lambda words, context: b"".join(words)
            ),
            "Chat": grpc.stream_stream_rpc_method_handler(
                lambda words, context: (b"heard " + word for word in words)
            ),
            "Fail": grpc.unary_unary_rpc_method_handler(
                lambda word, context: context.abort(grpc.StatusCode.NOT_FOUND, "no such word")
            ),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Flaky": grpc.unary_unary_rpc_method_handler(self.flaky),
        }
        return kinds.get(name)

    @staticmethod
    def sleep(word, context):
        time.sleep(2)
        return word

    def flaky(self, word, context):
        self.flaky_calls += 1
        if self.flaky_calls % 2 == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b"healed"


def serve(port):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    print(f"serving on {port}", flush=True)
    server.wait_for_termination()


def talk(chat, words):
    """Each word is sent only when the one before it was answered."""
    answered = queue.SimpleQueue()

    def send():
        for word in words:
            yield word
            answered.get(timeout=10)

    answers = []
    for answer in chat(send(), timeout=15):
        answers.append(answer)
        answered.put(None)
    return answers


def call(target, method, words):
    words = [word.encode() for word in words]
    channel = grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)])
    path = SERVICE + method
    try:
        if method == "Split":
            answers = list(channel.unary_stream(path)(words[0], timeout=15))
        elif method == "Join":
            answers = [channel.stream_unary(path)(iter(words), timeout=15)]
        elif method == "Chat":
            answers = talk(channel.stream_stream(path), words)
        else:
            # Without a deadline of its own, only the mesh cuts a call that sleeps.
            deadline = 0.5 if b"deadline" in words else None if method == "Sleep" else 15
            answers = [channel.unary_unary(path)(words[0], timeout=deadline)]
    except grpc.RpcError as error:
        print(error.code().name, error.details())
        return
    print("OK")
    for answer in answers:
        print(answer.decode())


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    call(sys.argv[2], sys.argv[3], sys.argv[4:])
