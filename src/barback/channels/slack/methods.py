"""Names of Slack's methods, in Python's way of writing.

A method's name is its family, a dot, and what it does: `chat.postMessage`. The family is the first
word, unless it is one of those below, which are all that have dots or capitals of their own:
https://docs.slack.dev/reference/methods.
"""

from __future__ import annotations

from typing import Final

__all__ = ["method_of"]

FAMILIES: Final = """
admin.analytics admin.apps admin.apps.activities admin.apps.approved admin.apps.config
admin.apps.requests admin.apps.restricted admin.auth.policy admin.barriers admin.conversations
admin.conversations.ekm admin.conversations.restrictAccess admin.conversations.whitelist
admin.emoji admin.functions admin.functions.permissions admin.inviteRequests
admin.inviteRequests.approved admin.inviteRequests.denied admin.roles admin.teams
admin.teams.admins admin.teams.owners admin.teams.settings admin.usergroups admin.users
admin.users.session admin.users.unsupportedVersions admin.workflows admin.workflows.collaborators
admin.workflows.permissions agents.sessions apps.connections apps.event.authorizations
apps.manifest apps.permissions apps.permissions.resources apps.permissions.scopes
apps.permissions.users apps.user.connection assistant.search assistant.threads auth.teams
calls.participants canvases.access canvases.sections chat.scheduledMessages conversations.canvases
conversations.externalInvitePermissions conversations.requestSharedInvite files.comments
files.remote oauth.v2 openid.connect slackLists slackLists.access slackLists.download
slackLists.items team.billing team.externalTeams team.preferences team.profile tooling.tokens
usergroups.users users.discoverableContacts users.profile workflows.featured
"""
BY_LETTERS: Final = {family.replace(".", "").lower(): family for family in FAMILIES.split()}
CAPITALS: Final = {"url": "URL"}


def method_of(name: str) -> str:
    """`chat_post_message` and `chat_postMessage` are `chat.postMessage`.

    The longest family that the name begins with counts. What begins with none is taken for a new
    one, of one word.
    """
    words = name.split("_")
    for count in range(len(words) - 1, 0, -1):
        family = BY_LETTERS.get("".join(words[:count]).lower())
        if family is not None:
            return f"{family}.{_joined(words[count:])}"
    return f"{words[0]}.{_joined(words[1:])}" if len(words) > 1 else name


def _joined(words: list[str]) -> str:
    first, *others = words
    return first + "".join(CAPITALS.get(word) or word[:1].upper() + word[1:] for word in others)
