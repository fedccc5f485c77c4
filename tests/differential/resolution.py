"""What the real dbt makes of a command line and its surroundings, and of a template: kinds for oracle.py."""

import os
import sys
from pathlib import Path


def undefined(value):
    import jinja2

    return isinstance(value, jinja2.Undefined)


def encode(value):
    """A rendered value with its Python type."""
    if undefined(value):
        return {"undefined": True}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    return {"other": type(value).__name__}


def template(request):
    """A string value of profiles.yml, rendered: `text`, `env`, `vars`."""
    from dbt.config.renderer import ProfileRenderer
    from dbt_common.context import get_invocation_context, set_invocation_context

    set_invocation_context({})
    get_invocation_context()._env = dict(request["env"])
    return {"value": encode(ProfileRenderer(request["vars"]).render_value(request["text"], ("user",)))}


def literal(request):
    """Python's literal_eval, or null where it raises."""
    import ast

    try:
        return {"value": encode(ast.literal_eval(request["text"]))}
    except (ValueError, SyntaxError, MemoryError):
        return {"none": True}


def dotenv(request):
    """What python-dotenv adds: `text`, `env`."""
    import io

    from dotenv import load_dotenv

    kept = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        text = io.StringIO(request["text"], newline=None)
        load_dotenv(stream=text, override=False)
        return {"added": {k: v for k, v in os.environ.items() if k not in request["env"]}}
    finally:
        os.environ.clear()
        os.environ.update(kept)


class Found(Exception):
    """Carries an answer out of dbt."""


def probe(**_):
    """Stands in for every command's own work: what its decorators do, up to the profile."""
    import click
    import dbt.cli.requires
    import dbt.task.retry
    from dbt.cli.flags import Flags
    from dbt.config.runtime import RuntimeConfig, load_profile, load_project
    from dbt.flags import set_flags
    from dbt_common.context import get_invocation_context, set_invocation_context

    context = click.get_current_context()
    set_invocation_context({})
    env = dict(os.environ)
    # Before 1.10 DBT_ENGINE_ names meant nothing.
    propagate = getattr(dbt.cli.requires, "_cross_propagate_engine_env_vars", None)
    if propagate:
        propagate(env)
    get_invocation_context()._env = env
    flags = Flags(context)
    set_flags(flags)
    name = context.command.name
    if name in ("deps", "clean", "init") or (name == "debug" and flags.CONFIG_DIR):
        raise Found({"need": "none"})
    dirs = {
        "project_dir": os.path.abspath(flags.PROJECT_DIR),
        "profiles_dir": os.path.abspath(flags.PROFILES_DIR),
    }
    if name == "debug":
        from dbt.task.debug import DebugTask

        task = DebugTask(flags)
        status = task._load_profile()
        if task.profile is None:
            raise RuntimeError(status.summary_message)
        raise Found({**dirs, "profile": task.profile.profile_name, "target": task.profile.target_name})
    threads = getattr(flags, "THREADS", None)
    profile = load_profile(flags.PROJECT_DIR, flags.VARS, flags.PROFILE, flags.TARGET, threads)
    project = load_project(flags.PROJECT_DIR, flags.VERSION_CHECK, profile, flags.VARS)
    if name == "retry":
        config = RuntimeConfig.from_parts(project, profile, flags)

        def stop(retry_config, *_):
            both = [
                [profile.profile_name, profile.target_name],
                [retry_config.profile_name, retry_config.target_name],
            ]
            if both[0] != both[1]:
                raise Found({"differs": both})
            raise Found({**dirs, "profile": retry_config.profile_name, "target": retry_config.target_name})

        dbt.task.retry.parse_manifest = stop
        dbt.task.retry.RetryTask(flags, config)
    raise Found({**dirs, "profile": profile.profile_name, "target": profile.target_name})


def patched():
    """dbt's command line with the probe in every command."""
    import click
    from dbt.cli.main import cli

    def leaves(group):
        for command in group.commands.values():
            if isinstance(command, click.Group):
                leaves(command)
            else:
                command.callback = probe

    leaves(cli)
    return cli


CLI = []


def version():
    import importlib.metadata

    return importlib.metadata.version("dbt-core")


def load_dotenv_as_dbt():
    """`.env`, which dbt loads since 1.12."""
    if tuple(int(part) for part in version().split(".")[:2]) < (1, 12):
        return
    from dotenv import find_dotenv, load_dotenv

    load_dotenv(find_dotenv(usecwd=True), override=False)


def resolve(request):
    """A command line: `argv` (without dbt), `cwd`, `env` (the whole of it)."""
    import click
    from dbt.cli.exceptions import DbtUsageException

    if not CLI:
        CLI.append(patched())
    kept, cwd = dict(os.environ), os.getcwd()
    try:
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        load_dotenv_as_dbt()
        code = CLI[0].main(request["argv"], prog_name="dbt", standalone_mode=False)
        return {"nothing": code or 0}
    except Found as found:
        return found.args[0]
    except click.exceptions.NoArgsIsHelpError:
        return {"nothing": 2}
    except (click.UsageError, DbtUsageException) as error:
        return {"usage": str(getattr(error, "message", error))}
    except BaseException as error:
        return {"refused": type(error).__name__, "message": str(error)}
    finally:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(kept)


def options(_):
    """dbt's command line as data, as options.py takes it from click."""
    sys.path.insert(0, str(Path(__file__).parent))
    import options as generator

    return generator.table()


KINDS = {
    "version": lambda _: {"version": version()},
    "template": template,
    "literal": literal,
    "dotenv": dotenv,
    "resolve": resolve,
    "options": options,
}
