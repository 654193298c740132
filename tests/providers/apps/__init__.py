"""How each provider speaks."""

from .asana import Asana
from .atlassian import Atlassian
from .dropbox import Dropbox
from .github import GitHub
from .google import Google
from .highlevel import HighLevel
from .monday import Monday
from .slack import Slack

EVERY = (GitHub, Slack, Google, Dropbox, Asana, Atlassian, Monday, HighLevel)
