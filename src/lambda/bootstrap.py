# Runs a Python handler over the Lambda Runtime API. Descriptor FORESHORE_API is a connected Unix
# socket whose other end is the edge; one call at a time.
#
# Heads are written and read by hand: http.client costs more than most handlers.

import decimal
import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback

BASE = "/2018-06-01/runtime/"


class Api:
    """One connection, one request at a time."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(True)
        os.set_inheritable(descriptor, False)
        self.received = b""

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            # The edge is gone, and with it whoever could want an answer.
            os._exit(0)
        self.received += data

    def ask(self, method, where, fields=(), body=None):
        lines = ["%s %s%s HTTP/1.1" % (method, BASE, where), "Host: edge"]
        lines += ["%s: %s" % field for field in fields]
        if body is not None:
            lines.append("Content-Length: %d" % len(body))
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        try:
            self.socket.sendall(head + (body or b""))
        except OSError:
            os._exit(0)
        while True:
            end = self.received.find(b"\r\n\r\n")
            if end >= 0:
                break
            self._more()
        lines = self.received[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        whole = end + 4 + int(headers.get("content-length", 0))
        while len(self.received) < whole:
            self._more()
        body, self.received = self.received[end + 4 : whole], self.received[whole:]
        return int(lines[0].split(" ")[1]), headers, body


class Failure(Exception):
    """What the runtime itself says is wrong with a function."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, list(trace)


def frames(error):
    """The stack of an error, without the frames of this file."""
    found = traceback.extract_tb(error.__traceback__)
    own = __file__ if "__file__" in globals() else None
    kept = [frame for frame in found if frame.filename not in (own, "<string>")
            and "importlib" not in frame.filename]
    return traceback.format_list(kept)


def described(error):
    if isinstance(error, Failure):
        return {"errorMessage": error.message, "errorType": error.kind,
                "requestId": current["id"], "stackTrace": error.trace}
    return {"errorMessage": str(error), "errorType": type(error).__name__,
            "requestId": current["id"], "stackTrace": frames(error)}


def log_error(error):
    told = described(error)
    lines = ["[ERROR] %s: %s" % (told["errorType"], told["errorMessage"])]
    if told["stackTrace"]:
        lines.append("Traceback (most recent call last):")
        lines += [line.rstrip("\n") for line in told["stackTrace"]]
    print("\r".join(line.replace("\n", "\r") for line in lines), flush=True)


def find(name):
    """The function that "folder/file.function" names."""
    try:
        module, function = name.rsplit(".", 1)
    except ValueError:
        raise Failure("Runtime.MalformedHandlerName",
                      "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name)
    try:
        if module.split(".")[0] in sys.builtin_module_names:
            raise Failure("Runtime.ImportModuleError",
                          "Cannot use built-in module %s as a handler module" % module)
        loaded = importlib.import_module(module.replace("/", "."))
    except ImportError as error:
        raise Failure("Runtime.ImportModuleError",
                      "Unable to import module '%s': %s" % (module, error), frames(error))
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s\n' % (error.filename, error.lineno, (error.text or "").rstrip())]
        raise Failure("Runtime.UserCodeSyntaxError",
                      "Syntax error in module '%s': %s" % (module, error), trace)
    handler = getattr(loaded, function, None)
    if handler is None:
        raise Failure("Runtime.HandlerNotFound",
                      "Handler '%s' missing on module '%s'" % (function, module))
    return handler


class CognitoIdentity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """What a handler may ask about its call."""

    def __init__(self, headers):
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.client_context = None
        self.identity = CognitoIdentity()
        self._deadline = int(headers.get("lambda-runtime-deadline-ms", 0))

    def get_remaining_time_in_millis(self):
        return max(self._deadline - int(time.time() * 1000), 0)

    def log(self, text):
        sys.stdout.write(str(text))


def plain(value):
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


class Handler(logging.StreamHandler):
    """The root logger's, with the line that the runtime writes."""

    def __init__(self):
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s",
            "%Y-%m-%dT%H:%M:%S"))
        self.formatter.converter = time.gmtime

    def format(self, record):
        record.aws_request_id = current["id"]
        return super().format(record).replace("\n", "\r")


current = {"id": ""}


def call(api, handler, headers, body):
    request = headers["lambda-runtime-aws-request-id"]
    current["id"] = request
    if "lambda-runtime-trace-id" in headers:
        os.environ["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
    try:
        result = handler(json.loads(body), Context(headers))
        try:
            answer = json.dumps(result, ensure_ascii=False, default=plain).encode("utf-8", "surrogatepass")
        except Exception as error:
            raise Failure("Runtime.MarshalError", "Unable to marshal response: %s" % error)
    except SystemExit as error:
        log_error(error)
        fail(api, request, error)
        sys.stdout.flush()
        os._exit(1)
    except BaseException as error:
        log_error(error)
        fail(api, request, error)
    else:
        sys.stdout.flush()
        sys.stderr.flush()
        api.ask("POST", "invocation/%s/response" % request, body=answer)


def fail(api, request, error):
    kind = error.kind if isinstance(error, Failure) else "Unhandled"
    sys.stdout.flush()
    sys.stderr.flush()
    api.ask("POST", "invocation/%s/error" % request,
            [("Lambda-Runtime-Function-Error-Type", kind)],
            json.dumps(described(error)).encode())


def main():
    api = Api(int(os.environ.pop("FORESHORE_API")))
    root = os.environ["LAMBDA_TASK_ROOT"]
    # The folder of this file is no place to look for modules.
    sys.path[0] = root
    sys.argv = [os.path.join(root, "bootstrap")]
    logging.getLogger().addHandler(Handler())
    # Another version may lack what the code uses, or have what AWS's has not.
    wanted = os.environ.get("AWS_EXECUTION_ENV", "").replace("AWS_Lambda_", "")
    if wanted != "python%d.%d" % sys.version_info[:2]:
        print("foreshore: %s is wanted, and Python %s is what there is" % (wanted, sys.version.split()[0]), file=sys.stderr)
    try:
        handler = find(os.environ["_HANDLER"])
    except BaseException as error:
        log_error(error)
        kind = error.kind if isinstance(error, Failure) else "Runtime.Unknown"
        sys.stdout.flush()
        api.ask("POST", "init/error", [("Lambda-Runtime-Function-Error-Type", kind)],
                json.dumps(described(error)).encode())
        os._exit(1)
    while True:
        status, headers, body = api.ask("GET", "invocation/next")
        if status != 200:
            os._exit(0)
        call(api, handler, headers, body)


main()
