"""Lambda: errors as in the Python runtime, real async invocations, and the end of all workers.

ministack runs a function in a subprocess with its worker script. This module changes the script in
four places, and raises an error if another version of ministack does not have them.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from subprocess import Popen
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import eventbridge, lambda_svc
from ministack.services.cloudformation import provisioners

from lab.emulator.scope import Scope

_LIFELINE_VARIABLE = "LAB_EMULATOR_LIFELINE"
_RESOLVER_VARIABLE = "LAB_EMULATOR_RESOLVER"
_PLAN_VARIABLE = "LAB_EMULATOR_ADDRESS_PLAN"

# Ends a worker when its emulator has ended: only the emulator holds the pipe open for writing.
_WATCH_LIFELINE = f"""
def _lab_watch_lifeline():
    import os, threading

    def watch(path):
        with open(path, "rb") as lifeline:
            lifeline.read()
        os._exit(1)

    path = os.environ.pop({_LIFELINE_VARIABLE!r}, None)
    if path:
        threading.Thread(target=watch, args=(path,), daemon=True).start()

_lab_watch_lifeline()

"""

# Makes the lab's DNS server the system's resolver. Python has no option for this.
_USE_RESOLVER = f"""
def _lab_use_resolver():
    resolver = os.environ.pop({_RESOLVER_VARIABLE!r}, None)
    if not resolver:
        return
    try:
        import dns.resolver
    except ImportError:
        return
    address, port = resolver.split(":")

    def read_resolv_conf(self, _):
        self.nameservers, self.port = [address], int(port)

    dns.resolver.Resolver.read_resolv_conf = read_resolv_conf

"""
# Redirects connections to VPC addresses to their servers, and blocks all others.
_REACH_VPC = f"""
def _lab_reach_vpc():
    import ipaddress, json, os, socket

    plan = os.environ.pop({_PLAN_VARIABLE!r}, None)
    if not plan:
        return
    connect = socket.create_connection

    def create_connection(address, *args, **kwargs):
        try:
            if ipaddress.ip_address(address[0]).is_loopback:
                return connect(address, *args, **kwargs)
        except ValueError:
            return connect(address, *args, **kwargs)
        with open(plan, encoding="utf-8") as file:
            entries = json.load(file)
        vpc = f"{{address[0]}}:{{address[1]}}"
        if vpc in entries["closed"] or vpc not in entries["sockets"]:
            raise ConnectionRefusedError(f"nothing listens on {{vpc}}")
        host, port = entries["sockets"][vpc].rsplit(":", 1)
        return connect((host, int(port)), *args, **kwargs)

    socket.create_connection = create_connection

_lab_reach_vpc()

"""
_PATH_COMPLETE = "\n    # After sys.path is complete"

_ERROR_REPLY = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'
# The stack without the first frame, which is the worker script's call. The status is not "error",
# because ministack would end the process, and Lambda keeps it after an error of the handler.
_ERROR_REPLY_WITH_TYPE = (
    '(lambda frames: json.dumps({"status": "ok", "raised": True, "error": str(e), '
    '"trace": traceback.format_exc(), "type": type(e).__name__, '
    '"stack": traceback.format_list(frames)}))(traceback.extract_tb(e.__traceback__)[1:])'
)
_INIT_ERROR = '{"status": "error", "error": str(e)}'
_INIT_ERROR_WITH_TYPE = '{"status": "error", "error": type(e).__name__ + ": " + str(e)}'
_START = "\nrun()\n"

# The reply of this thread's last failed invocation, because ministack keeps only the message.
_failure = threading.local()


def install(work_dir: Path, *, resolver: str | None, address_plan: Path) -> None:
    """Change how ministack runs functions.

    Args:
        work_dir: The folder of the pipe that keeps workers alive.
        resolver: The system's DNS server of the functions, as address:port, for dnspython only;
            None: the machine's own.
        address_plan: The address plan for `socket.create_connection`.
    """
    os.environ[_LIFELINE_VARIABLE] = str(_open_lifeline(work_dir))
    os.environ[_PLAN_VARIABLE] = str(address_plan.resolve())
    if resolver is not None:
        os.environ[_RESOLVER_VARIABLE] = resolver
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    script = _replace_once(script, _ERROR_REPLY, _ERROR_REPLY_WITH_TYPE)
    script = _replace_once(script, _INIT_ERROR, _INIT_ERROR_WITH_TYPE)
    script = _replace_once(script, _PATH_COMPLETE, f"\n    _lab_use_resolver(){_PATH_COMPLETE}")
    lambda_runtime._PYTHON_WORKER_SCRIPT = _replace_once(
        script, _START, _WATCH_LIFELINE + _REACH_VPC + _USE_RESOLVER + _START
    )
    lambda_runtime.Worker.invoke = _remembering_failure(restarting(lambda_runtime.Worker.invoke))
    lambda_svc._execute_function_warm = _reporting_failure(lambda_svc._execute_function_warm)
    lambda_svc._execute_function = _unless_deleted(lambda_svc._execute_function)
    lambda_svc._emit_lambda_logs = _unless_deleted(lambda_svc._emit_lambda_logs)
    eventbridge._dispatch_to_lambda = _invoke_async
    stack_function = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    stack_function["delete"] = _ending_runs(stack_function["delete"])
    stack_function["create"] = _keeping_vpc(stack_function["create"])
    stack_function["update"] = _keeping_vpc(stack_function["update"])


def restarting(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """Start a worker again if an update of the function removed its files during the start.

    On AWS no invocation fails because of an update.
    """

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return invoke(self, *args, **kwargs)
        except FileNotFoundError:
            return invoke(self, *args, **kwargs)

    return wrapped


def stop_workers() -> None:
    """End every function's subprocesses and remove their files."""
    lambda_runtime.reset()


def kill_run(*, function: str) -> bool:
    """Kill the process of one run of a function; return whether there was one."""
    with lambda_runtime._lock:
        for process in _processes(function):
            if process is not None:
                process.kill()
                return True
    return False


def count_runs(*, function: str) -> int:
    """Return how many runs of a function have not ended, starting ones included."""
    with lambda_runtime._lock:
        return len(_processes(function))


def _processes(function: str) -> Sequence[Popen[bytes] | None]:
    """Return the processes of the function's runs, or None for a run that is starting."""
    workers = chain.from_iterable(lambda_runtime._workers.values())
    return [it._proc for it in workers if it.func_name == function and it.in_use]


def _open_lifeline(work_dir: Path) -> Path:
    path = work_dir / "lifeline"
    os.mkfifo(path)
    # Opened for reading too, because opening for writing alone blocks. It stays open.
    os.open(path, os.O_RDWR)
    return path


def _replace_once(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise RuntimeError(f"the worker script of ministack must contain {old!r} exactly once")
    return text.replace(old, new)


def _remembering_failure(invoke: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        _failure.reply = None
        reply = invoke(self, *args, **kwargs)
        if reply.get("raised"):
            reply["status"] = "error"
        _failure.reply = reply
        return reply

    return wrapped


def _reporting_failure(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Reply to an exception of the handler like the Lambda Python runtime.

    Source: Lambda developer guide, "Handling errors in Python": errorMessage, errorType (the
    class's name), requestId, stackTrace (a list of formatted frames).
    """

    def wrapped(func: Mapping[str, Any], event: Any, request_id: str) -> Any:
        result = execute(func, event, request_id)
        reply = getattr(_failure, "reply", None)
        if result.get("error") and reply is not None and "type" in reply:
            result["body"] = {
                "errorMessage": reply["error"],
                "errorType": reply["type"],
                "requestId": request_id,
                "stackTrace": reply["stack"],
            }
        return result

    return wrapped


def _unless_deleted(act: Callable[..., Any]) -> Callable[..., Any]:
    """Do nothing for a deleted function: no retry of its events and no new log group."""

    def wrapped(func: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        config = func.get("config") or func
        scope, name = Scope.of_arn(config["FunctionArn"]), config["FunctionName"]
        if not lambda_svc._functions.contains_scoped(scope.account, scope.region, name):
            return {"body": None}
        return act(func, *args, **kwargs)

    return wrapped


def _ending_runs(delete: Callable[..., None]) -> Callable[..., None]:
    """End the processes of a deleted function, whose run may take minutes."""

    def wrapped(name: str, properties: Mapping[str, Any]) -> None:
        delete(name, properties)
        scope = Scope.current()
        lambda_runtime.invalidate_worker(name, account=scope.account, region=scope.region)

    return wrapped


def _keeping_vpc(make: Callable[..., Any]) -> Callable[..., Any]:
    """Store the VpcConfig of a stack's function; it has no effect."""

    def wrapped(*args: Any) -> Any:
        made = make(*args)
        # The new properties: create gets (logical id, new, …), update (id, old, new, …).
        properties = args[1] if len(args) == 3 else args[2]
        config = lambda_svc._functions[made[0]]["config"]
        config["VpcConfig"] = lambda_svc._vpc_config_with_id(properties.get("VpcConfig"))
        return made

    return wrapped


def _invoke_async(arn: str, payload: str) -> None:
    """Invoke a function of a rule or schedule with retries and its failure destination."""
    record, config, name = lambda_svc._get_func_record_for_ref(arn)
    if not record or not config:
        eventbridge.logger.warning("EventBridge: there is no function %s", name)
        return
    lambda_svc.invoke_async_with_retry(
        lambda_svc._execution_record_for_config(record, config), eventbridge.json.loads(payload)
    )
