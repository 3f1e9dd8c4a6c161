"""The command `fanlight`: reads words and options, calls what does the work. Nothing is decided here."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fanlight import __version__, logs
from fanlight.errors import FanlightError
from fanlight.settings import Settings
from fanlight.settings.load import load

F = TypeVar("F", bound=Callable[..., Any])

LINES = """
Ready: Fanlight {version} serves {url}

  openstack --os-auth-type none --os-endpoint {url} \\
    image create --disk-format raw --container-format bare --file FILE NAME
  glance --os-image-url {url} --os-auth-token none image-list
  curl {url}/v2/images
"""
READY = """
Ready: Fanlight {version} serves {url}
"""


def configuration(function: F) -> F:
    """The options that say where the configuration is."""
    for option in (
        click.option(
            "--config-file",
            multiple=True,
            type=click.Path(dir_okay=False),
            help="A glance-api.conf; of several, later values win.",
        ),
        click.option(
            "--config-dir",
            multiple=True,
            type=click.Path(file_okay=False),
            help="A folder whose *.conf files are read after those.",
        ),
        click.option("--data-dir", help="Folder for what no file says a place of.  [default: data]"),
    ):
        function = option(function)
    return function


class Commands(click.Group):
    """The commands, with one line instead of a traceback where the system refuses: a full disk behind the output."""

    def invoke(self, ctx: click.Context) -> Any:
        """Raises SystemExit 1 for what the system refuses; a closed pipe is click's to handle."""
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except BrokenPipeError:
            raise
        except OSError as error:
            if os.environ.get("FANLIGHT_TRACEBACK"):
                raise
            # What is still in the buffer cannot be written, perhaps; the interpreter must not try at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            click.echo(f"fanlight: {logs.redact(str(error))}", err=True)
            sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="fanlight")
def main() -> None:
    """Fanlight, an OpenStack Image service.

    `fanlight serve` is all it takes: it makes its own database and keeps images in ./data. Every command has --help.
    """
    # Where one of the three is closed, the next file that is opened takes its number, and gets what is meant for it.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


@main.command()
@configuration
@click.option("--host", "bind_host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", "bind_port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 9292]")
@click.option("--workers", type=click.IntRange(0), help="Worker processes.  [default: 1]")
@click.option(
    "--allow-remote-none", is_flag=True, default=None, help="Everybody who reaches the port is administrator."
)
def serve(config_file: tuple[str, ...], config_dir: tuple[str, ...], **options: Any) -> None:
    """Serve the Image API until Ctrl-C.

    Without configuration: SQLite and a directory below --data-dir, on http://127.0.0.1:9292, for this machine alone.
    With --config-file: what a glance-api.conf says. TERM or Ctrl-C lets running transfers finish; HUP reads the
    configuration again without refusing anybody.
    """
    from fanlight.serving import run

    with reported():
        sys.exit(run(lambda: load(config_file, config_dir, options), announce))


def announce(settings: Settings, port: int) -> None:
    """Tell that the service is ready, and what to type."""
    host = settings.server.bind_host
    if host in ("", "0.0.0.0", "::"):  # a comparison
        host = "127.0.0.1"
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    text = LINES if settings.identity.mode == "none" else READY
    # Whoever started the service may have closed the other end, and that is no reason to end it.
    with contextlib.suppress(OSError):
        click.echo(text.format(version=__version__, url=url).lstrip("\n"))


@main.group()
def db() -> None:
    """Make, check and clean the database."""


@db.command("sync")
@configuration
def db_sync(**options: Any) -> None:
    """Make the database, or bring it up to date. Safe at any time and from several nodes at once."""
    from fanlight.catalog import schema

    with reported():
        found = schema.sync(_catalog(options, working=True))
        click.echo(f"The database is at revision {found.ours} (Glance: {found.glance}).")


@db.command("version")
@configuration
def db_version(**options: Any) -> None:
    """Print the revisions of the database: ours, and Glance's."""
    from fanlight.catalog import schema

    with reported():
        found = schema.version(_catalog(options))
        click.echo(f"{found.ours or 'none'} (Glance: {found.glance or 'none'}, this release: {found.head})")


@db.command("check")
@configuration
def db_check(**options: Any) -> None:
    """Exit with 0 if the database is up to date, with 1 and what to do if not."""
    from fanlight.catalog import schema

    with reported():
        schema.require_current(_catalog(options))
        click.echo("The database is up to date.")


@db.command("purge")
@configuration
@click.option(
    "--age-in-days",
    type=click.IntRange(0),
    help="Only what was deleted before.  [default: 30; with --images: 180]",
)
@click.option(
    "--max-rows", type=click.IntRange(-1), default=100, show_default=True, help="Most rows of each table; -1: all."
)
@click.option("--images", is_flag=True, help="Rows of images instead of their parts: their ids become free again.")
def db_purge(age_in_days: int | None, max_rows: int, images: bool, **options: Any) -> None:
    """Remove rows for good that were deleted long ago."""
    from fanlight.catalog import purge, schema

    if age_in_days is None:
        # As glance-manage: an id that is free again may be given to something else (OSSN-0075).
        age_in_days = 180 if images else 30

    with reported():
        schema.require_current(_catalog(dict(options)))
        catalog = _catalog(options, working=True)
        if images:
            click.echo(f"images: {purge.purge_images(catalog, age_in_days, max_rows)}")
            return
        for table, count in purge.purge(catalog, age_in_days, max_rows).items():
            click.echo(f"{table}: {count}")


def _catalog(options: dict[str, Any], *, working: bool = False) -> Any:
    """The database: to look at, which makes nothing, or for work that may take hours."""
    from fanlight.application import prepare_folders
    from fanlight.catalog import Catalog, make_engine, patient_catalog

    settings = _settings(options)
    if working:
        prepare_folders(settings)
        return patient_catalog(settings.database)
    return Catalog(make_engine(settings.database))


def _settings(options: dict[str, Any]) -> Settings:
    files, folders = options.pop("config_file"), options.pop("config_dir")
    return load(files, folders, options)


@main.command()
def routes() -> None:
    """Print every method and path of the API, and the function that answers."""
    from fanlight.http.routes import ROUTES

    for route in ROUTES:
        module = route.function.__module__.removeprefix("fanlight.http.")
        click.echo(f"{route.method:7} {route.path:50} {module}.{route.function.__name__}")


@main.group()
def policy() -> None:
    """Policy rules."""


@policy.command("sample")
def policy_sample() -> None:
    """Print all rules with their defaults, as a policy.yaml in which everything is commented out."""
    from fanlight.operations.policy import policy_sample as sample

    click.echo(sample())


@main.group()
def config() -> None:
    """The configuration."""


@config.command("sample")
def config_sample() -> None:
    """Print every option with its help and default, as a glance-api.conf in which everything is commented out."""
    from fanlight.settings.sample import config_sample as sample

    click.echo(sample())


@config.command("document")
def config_document() -> None:
    """Print the page docs/configuration.md."""
    from fanlight.settings.sample import config_document as document

    click.echo(document(), nl=False)


@main.command()
@click.argument("page", type=click.Choice(["commands", "errors", "routes"]))
def document(page: str) -> None:
    """Print a page of the documentation that is made from the code: cli.md, errors.md or routes.md."""
    from fanlight.http.reference import errors_page, routes_page
    from fanlight.reference import commands_page

    pages = {"commands": lambda: commands_page(main), "errors": errors_page, "routes": routes_page}
    click.echo(pages[page](), nl=False)


@main.group()
def stores() -> None:
    """The stores of images."""


@stores.command("list")
@configuration
def stores_list(**options: Any) -> None:
    """Print every configured store: its id, type, weight and description."""
    from fanlight.storecheck import listed

    _tell_of_stores(listed, options)


@stores.command("check")
@configuration
@click.argument("names", nargs=-1, metavar="[STORE]...")
def stores_check(names: tuple[str, ...], **options: Any) -> None:
    """Reach every store, or those named, and say how it is. Changes nothing.

    Exit code 0: all can be used; 1: one cannot.
    """
    from fanlight.storecheck import checked

    _tell_of_stores(lambda settings: checked(settings, names), options)


@stores.command("measure")
@configuration
@click.option("--size", type=click.IntRange(1), default=64, show_default=True, help="MiB to add and read.")
@click.argument("names", nargs=-1, metavar="[STORE]...")
def stores_measure(size: int, names: tuple[str, ...], **options: Any) -> None:
    """Add an object to every store, or to those named, read it and remove it; print how fast that was.

    Exit code 0: all could be used; 1: one could not.
    """
    from fanlight.storecheck import measured

    _tell_of_stores(lambda settings: measured(settings, size * 1024 * 1024, names), options)


def _tell_of_stores(look: Callable[[Settings], Any], options: dict[str, Any]) -> None:
    with reported():
        good = True
        for line in look(_settings(options)):
            good = good and line.good
            click.echo(f"{'ok  ' if line.good else 'BAD '} {line.store}: {logs.redact(line.text)}")
        sys.exit(0 if good else 1)


@main.command()
@configuration
def doctor(**options: Any) -> None:
    """Check everything that the service depends on, and say what is wrong and what to do.

    Lines begin with ok, WARN (the service works, but an option has no effect or should be looked at) or BAD.
    Exit code 0: nothing is BAD; 1: something is.
    """
    from fanlight.doctor import Level, examine

    # The findings tell what is wrong, in words of ours; libraries would add theirs, secrets and all.
    logging.getLogger().addHandler(logging.NullHandler())
    with reported():
        healthy = True
        for finding in examine(_settings(options)):
            healthy = healthy and finding.level is not Level.BAD
            click.echo(f"{finding.level.value:4} {finding.name}: {finding.text}")
        sys.exit(0 if healthy else 1)


class reported:  # reads as a word in `with reported():`
    """Turns our errors into one line on standard error and exit code 1; nobody needs a traceback for a wrong option."""

    def __enter__(self) -> None:
        logging.captureWarnings(True)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FanlightError) and not os.environ.get("FANLIGHT_TRACEBACK"):
            click.echo(f"fanlight: {logs.redact(str(error))}", err=True)
            sys.exit(1)
