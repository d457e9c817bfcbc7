"""Reading configs: .py, .toml, .yaml and .json, their bases, and values set on the command line."""

from optimzoo.config.load import describe as describe
from optimzoo.config.load import load_config as load_config
from optimzoo.config.load import plain as plain
from optimzoo.config.trusted import trust_for as trust_for
from optimzoo.names.trust import under as under
