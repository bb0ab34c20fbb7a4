"""The environment of a custom hook. Source: Gitaly, internal/gitaly/hook/custom.go."""

import os
from collections.abc import Mapping

from gitaly.git.environment import passed_on, quarantine_environment
from gitaly.hooks.payload import UserDetails
from gitaly.hooks.push import Push

_QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


def hook_environment(
    push: Push, own: Mapping[str, str], git_directory: str, *, with_push_options: bool
) -> dict[str, str]:
    """Everything a custom hook gets to see, and nothing else.

    `own`: the node's environment, of which a few variables are passed on, as they are of that of
    git's hook. `git_directory`: where the node's git is; hooks shall find that git first.
    """
    env = passed_on(own) | passed_on(push.environment)
    if with_push_options:
        env |= _push_options(push)
    quarantine = quarantine_environment(push.repository)
    for name in _QUARANTINE:
        value = _tidy(push.environment.get(name, "")) or quarantine.get(name)
        if value:
            env[name] = value
    path = env.get("PATH", os.defpath)
    env["PATH"] = f"{git_directory}:{path}" if git_directory else path
    if push.correlation_id:
        env["CORRELATION_ID"] = push.correlation_id
    user = push.user or UserDetails()
    return env | {
        "GIT_DIR": push.repository.path,
        "GL_REPOSITORY": push.repository.gl_repository,
        "GL_PROJECT_PATH": push.repository.gl_project_path,
        "GL_ID": user.userid,
        "GL_USERNAME": user.username,
        "GL_PROTOCOL": user.protocol,
    }


def _tidy(paths: str) -> str:
    """Without the `/./` in what git before 2.40 says; quoted paths are left alone."""
    if not paths or '"' in paths:
        return paths
    return ":".join(map(os.path.normpath, paths.split(":")))


def _push_options(push: Push) -> dict[str, str]:
    if not push.push_options:
        return {}
    numbered = {f"GIT_PUSH_OPTION_{n}": option for n, option in enumerate(push.push_options)}
    return {"GIT_PUSH_OPTION_COUNT": str(len(push.push_options))} | numbered
