"""What the CONFIG and the parts of a study that writes tables are held against; every mistake is one sentence."""

from dataclasses import dataclass

from helpers import elsewhere
from helpers.checks import (
    MOST_BYTES,
    ConfigError,
    apart,
    checked,
    name_in,
    optional,
    own_name,
    path,
    refuse,
    shown,
)
from helpers.config import ENDINGS

MOST_TASKS = 100_000


@dataclass(frozen=True)
class Allowed:
    """What a kind of study may be asked for.

    name            of the parameter that holds the parts, as "PARTS"
    defaults        {kind of part: {key: default}}
    part_checks     {key: check} of all that parts may say
    study_checks    {key: check} of what CONFIG alone says
    study_defaults  {key: default} of these
    not_common      keys that CONFIG says for all parts but those of the kind "sweep", which have their own
    """

    name: str
    defaults: dict
    part_checks: dict
    study_checks: dict
    study_defaults: dict
    not_common: tuple


@dataclass(frozen=True)
class Settings:
    """A study, complete.

    config  the keys of `Allowed.study_checks`
    parts   {name: its completed settings}
    plans   all tasks, each after those that it needs
    """

    config: dict
    parts: dict
    plans: list

    @property
    def save_dir(self):
        return self.config["save_dir"]

    @property
    def resume(self):
        return self.config["resume"]


def save_dir_or(config, default):
    """Where an unchecked CONFIG puts its results, or the default. Raises ConfigError for what is no path."""
    given = config.get("save_dir") if isinstance(config, dict) else None
    return optional(path)("save_dir", given) or default


def completed(allowed, config, parts, check_part):
    """(study, parts): what CONFIG alone says, and each part, checked and with its defaults. Raises ConfigError.

    check_part  (where, kind, settings) raises ConfigError for settings of a part that do not go together
    """
    config = checked(config, {**allowed.study_checks, **allowed.part_checks}, "CONFIG", elsewhere=elsewhere.KEYS)
    own = {key: config[key] for key in allowed.study_checks if key in config}
    study = {**allowed.study_defaults, "cluster": None, **own}
    study["save_dir"] = save_dir_or(config, allowed.study_defaults["save_dir"])
    if not isinstance(parts, dict) or not parts:
        wanted = 'a dict from a name to {"what": a kind, and what differs}, with at least one entry'
        refuse(allowed.name, parts, wanted)
    apart(allowed.name, parts)
    return study, {name: _completed_part(allowed, name, part, config, check_part) for name, part in parts.items()}


def _completed_part(allowed, name, own, config, check_part):
    own_name(f"a name in {allowed.name}", name)
    where, kinds = f"{allowed.name}[{name!r}]", tuple(allowed.defaults)
    if not isinstance(own, dict) or "what" not in own:
        refuse(where, own, f"a dict with 'what', one of {', '.join(kinds)}, and what differs from CONFIG")
    what = name_in(kinds)(f"{where}['what']", own["what"])
    given, defaults = {key: value for key, value in own.items() if key != "what"}, allowed.defaults[what]
    for key in given:
        if key not in defaults and key in allowed.part_checks:
            raise ConfigError(
                f"{where} has {key!r}, which {what} do not take; allowed beside 'what' are {', '.join(defaults)}"
            )
        if key in allowed.study_checks:
            raise ConfigError(f"{where} has {key!r}, which is the same for all; it belongs into CONFIG")
    checks = {key: allowed.part_checks[key] for key in defaults}
    given = checked(given, checks, where, within=True, elsewhere=elsewhere.KEYS)
    common = {key: config[key] for key in config if what != "sweep" or key not in allowed.not_common}
    both = {key: given.get(key, common.get(key, default)) for key, default in defaults.items()}
    both = {key: list(value) if isinstance(value, tuple) else value for key, value in both.items()}
    check_part(where, what, both)
    return {"what": what, **both}


def each_once(plans, name):
    """The plans of a study, each once. Raises ConfigError for too many, and for names that no file can have.

    name  of the parameter that holds the parts
    """
    plans = list(plans)
    if len(plans) > MOST_TASKS:
        raise ConfigError(f"{name} ask for {len(plans):,} tasks; allowed are up to {MOST_TASKS:,}: shorten a list")
    plans = list({plan.key: plan for plan in plans}.values())
    apart(name, [plan.key for plan in plans])
    if long := [plan.key for plan in plans if len(plan.key.encode()) > MOST_BYTES - ENDINGS]:
        raise ConfigError(
            f"the task {shown(long[0])} has a name of {len(long[0].encode())} bytes, which is too long for a file's; "
            f"allowed are {MOST_BYTES - ENDINGS}: shorten the names in {name}"
        )
    return plans
