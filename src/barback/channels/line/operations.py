"""Operations: every one of LINE's APIs for bots, by the name that LINE's OpenAPI files give it.

Sources: https://github.com/line/line-openapi, all files but `module-attach.yml`, whose only
operation has an authorization of its own; and, for the host of what is large,
https://developers.line.biz/en/reference/messaging-api/#domain-name.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from barback.channels.fields import camel
from barback.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES", "Operation", "operation", "operation_at"]

# Name, verb and path; and what is not as usual: `json`, `form`, `parts` or `file`, what the body
# is; `data`, it is at LINE's host for what is large; `bytes`, it answers with a file; `retry`, it
# takes a retry key.
TABLE: Final = """
# messaging-api.yml
getWebhookEndpoint GET /v2/bot/channel/webhook/endpoint
setWebhookEndpoint PUT /v2/bot/channel/webhook/endpoint json
testWebhookEndpoint POST /v2/bot/channel/webhook/test json
getMessageContent GET /v2/bot/message/{messageId}/content data bytes
getMessageContentPreview GET /v2/bot/message/{messageId}/content/preview data bytes
getMessageContentTranscodingByMessageId GET /v2/bot/message/{messageId}/content/transcoding data
replyMessage POST /v2/bot/message/reply json
pushMessage POST /v2/bot/message/push json retry
multicast POST /v2/bot/message/multicast json retry
narrowcast POST /v2/bot/message/narrowcast json retry
getNarrowcastProgress GET /v2/bot/message/progress/narrowcast
broadcast POST /v2/bot/message/broadcast json retry
getMessageQuota GET /v2/bot/message/quota
getMessageQuotaConsumption GET /v2/bot/message/quota/consumption
getNumberOfSentReplyMessages GET /v2/bot/message/delivery/reply
getNumberOfSentPushMessages GET /v2/bot/message/delivery/push
getNumberOfSentMulticastMessages GET /v2/bot/message/delivery/multicast
getNumberOfSentBroadcastMessages GET /v2/bot/message/delivery/broadcast
validateReply POST /v2/bot/message/validate/reply json
validatePush POST /v2/bot/message/validate/push json
validateMulticast POST /v2/bot/message/validate/multicast json
validateNarrowcast POST /v2/bot/message/validate/narrowcast json
validateBroadcast POST /v2/bot/message/validate/broadcast json
getAggregationUnitUsage GET /v2/bot/message/aggregation/info
getAggregationUnitNameList GET /v2/bot/message/aggregation/list
getProfile GET /v2/bot/profile/{userId}
getFollowers GET /v2/bot/followers/ids
getBotInfo GET /v2/bot/info
getGroupMemberProfile GET /v2/bot/group/{groupId}/member/{userId}
getRoomMemberProfile GET /v2/bot/room/{roomId}/member/{userId}
getGroupMembersIds GET /v2/bot/group/{groupId}/members/ids
getRoomMembersIds GET /v2/bot/room/{roomId}/members/ids
leaveGroup POST /v2/bot/group/{groupId}/leave
leaveRoom POST /v2/bot/room/{roomId}/leave
getGroupSummary GET /v2/bot/group/{groupId}/summary
getGroupMemberCount GET /v2/bot/group/{groupId}/members/count
getRoomMemberCount GET /v2/bot/room/{roomId}/members/count
createRichMenu POST /v2/bot/richmenu json
validateRichMenuObject POST /v2/bot/richmenu/validate json
getRichMenuImage GET /v2/bot/richmenu/{richMenuId}/content data bytes
setRichMenuImage POST /v2/bot/richmenu/{richMenuId}/content file data
getRichMenu GET /v2/bot/richmenu/{richMenuId}
deleteRichMenu DELETE /v2/bot/richmenu/{richMenuId}
getRichMenuList GET /v2/bot/richmenu/list
setDefaultRichMenu POST /v2/bot/user/all/richmenu/{richMenuId}
getDefaultRichMenuId GET /v2/bot/user/all/richmenu
cancelDefaultRichMenu DELETE /v2/bot/user/all/richmenu
createRichMenuAlias POST /v2/bot/richmenu/alias json
getRichMenuAlias GET /v2/bot/richmenu/alias/{richMenuAliasId}
updateRichMenuAlias POST /v2/bot/richmenu/alias/{richMenuAliasId} json
deleteRichMenuAlias DELETE /v2/bot/richmenu/alias/{richMenuAliasId}
getRichMenuAliasList GET /v2/bot/richmenu/alias/list
getRichMenuIdOfUser GET /v2/bot/user/{userId}/richmenu
unlinkRichMenuIdFromUser DELETE /v2/bot/user/{userId}/richmenu
linkRichMenuIdToUser POST /v2/bot/user/{userId}/richmenu/{richMenuId}
linkRichMenuIdToUsers POST /v2/bot/richmenu/bulk/link json
unlinkRichMenuIdFromUsers POST /v2/bot/richmenu/bulk/unlink json
richMenuBatch POST /v2/bot/richmenu/batch json
validateRichMenuBatchRequest POST /v2/bot/richmenu/validate/batch json
getRichMenuBatchProgress GET /v2/bot/richmenu/progress/batch
issueLinkToken POST /v2/bot/user/{userId}/linkToken
markMessagesAsRead POST /v2/bot/message/markAsRead json
pushMessagesByPhone POST /bot/pnp/push json
getPNPMessageStatistics GET /v2/bot/message/delivery/pnp
getMembershipSubscription GET /v2/bot/membership/subscription/{userId}
getMembershipList GET /v2/bot/membership/list
getJoinedMembershipUsers GET /v2/bot/membership/{membershipId}/users/ids
listCoupon GET /v2/bot/coupon
createCoupon POST /v2/bot/coupon json
getCouponDetail GET /v2/bot/coupon/{couponId}
closeCoupon PUT /v2/bot/coupon/{couponId}/close
showLoadingAnimation POST /v2/bot/chat/loading/start json
markMessagesAsReadByToken POST /v2/bot/chat/markAsRead json
# insight.yml
getFriendsDemographics GET /v2/bot/insight/demographic
getNumberOfMessageDeliveries GET /v2/bot/insight/message/delivery
getNumberOfFollowers GET /v2/bot/insight/followers
getMessageEvent GET /v2/bot/insight/message/event
getStatisticsPerUnit GET /v2/bot/insight/message/event/aggregation
getRichMenuInsightSummary GET /v2/bot/insight/richmenu/{richMenuId}/summary
getRichMenuInsightDaily GET /v2/bot/insight/richmenu/{richMenuId}/daily
# manage-audience.yml
createAudienceGroup POST /v2/bot/audienceGroup/upload json
addAudienceToAudienceGroup PUT /v2/bot/audienceGroup/upload json
createAudienceForUploadingUserIds POST /v2/bot/audienceGroup/upload/byFile parts data
addUserIdsToAudience PUT /v2/bot/audienceGroup/upload/byFile parts data
createClickBasedAudienceGroup POST /v2/bot/audienceGroup/click json
createImpBasedAudienceGroup POST /v2/bot/audienceGroup/imp json
updateAudienceGroupDescription PUT /v2/bot/audienceGroup/{audienceGroupId}/updateDescription json
deleteAudienceGroup DELETE /v2/bot/audienceGroup/{audienceGroupId}
getAudienceData GET /v2/bot/audienceGroup/{audienceGroupId}
getAudienceGroups GET /v2/bot/audienceGroup/list
getSharedAudienceData GET /v2/bot/audienceGroup/shared/{audienceGroupId}
getSharedAudienceGroups GET /v2/bot/audienceGroup/shared/list
# module.yml
detachModule POST /v2/bot/channel/detach json
acquireChatControl POST /v2/bot/chat/{chatId}/control/acquire json
releaseChatControl POST /v2/bot/chat/{chatId}/control/release
getModules GET /v2/bot/list
# liff.yml
addLIFFApp POST /liff/v1/apps json
getAllLIFFApps GET /liff/v1/apps
updateLIFFApp PUT /liff/v1/apps/{liffId} json
deleteLIFFApp DELETE /liff/v1/apps/{liffId}
# shop.yml
missionStickerV3 POST /shop/v3/mission json
# channel-access-token.yml
issueStatelessChannelToken POST /oauth2/v3/token form
getsAllValidChannelAccessTokenKeyIds GET /oauth2/v2.1/tokens/kid form
issueChannelTokenByJWT POST /oauth2/v2.1/token form
verifyChannelTokenByJWT GET /oauth2/v2.1/verify form
revokeChannelTokenByJWT POST /oauth2/v2.1/revoke form
issueChannelToken POST /v2/oauth/accessToken form
verifyChannelToken POST /v2/oauth/verify form
revokeChannelToken POST /v2/oauth/revoke form
"""

VERBS: Final = ("GET", "POST", "PUT", "DELETE")
PARAMETER: Final = re.compile(r"\{(\w+)\}")


class Operation(msgspec.Struct, frozen=True):
    """Something that LINE can be asked to do.

    `path` has its parameters in braces; `marks` are those of the table.
    """

    name: str
    verb: str
    path: str
    marks: frozenset[str] = frozenset()

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters in the path."""
        return PARAMETER.findall(self.path)

    def path_with(self, values: Mapping[str, object]) -> str:
        """The path with its parameters filled in.

        Raises `ConfigurationError` without one of them.
        """
        return PARAMETER.sub(lambda found: self._filled(found[1], values.get(found[1])), self.path)

    def values_in(self, path: str) -> dict[str, str] | None:
        """The parameters in a path of this operation; None if it is another's."""
        found = _pattern(self.path).fullmatch(path)
        return None if found is None else found.groupdict()

    def _filled(self, name: str, value: object) -> str:
        text = "" if value is None else str(value)
        if text.strip(".") == "":  # or it would be another path
            message = f"{self.name} needs {name}: it is a part of the path."
            raise ConfigurationError(message)
        return quote(text, safe="")


def operation(method: str) -> Operation:
    """The operation that is called so.

    By its name, in LINE's way of writing or in Python's, or by verb and path, as
    `"GET /v2/bot/info"`, of which there need be no entry in the table. Raises `ConfigurationError`.
    """
    verb, space, path = method.partition(" ")
    if space and verb in VERBS and path.startswith("/"):
        known = operation_at(verb, path)
        marks = frozenset({"json"}) if verb in {"POST", "PUT"} else frozenset()
        return Operation(method, verb, path, marks if known is None else known.marks)
    found = _by_name().get(camel(method).lower())
    if found is None:
        message = (
            f"LINE has no {method!r}: what it has is listed in barback.channels.line.operations; "
            f"anything else is called by its verb and path, as in 'GET /v2/bot/info'."
        )
        raise ConfigurationError(message)
    return found


def operation_at(verb: str, path: str) -> Operation | None:
    """The operation of the table with this verb and path, whose parameters are filled in or not."""
    there = [one for one in _by_name().values() if one.verb == verb]
    exact = (one for one in there if one.path == path)
    return next(exact, None) or next((o for o in there if o.values_in(path) is not None), None)


@cache
def _by_name() -> dict[str, Operation]:
    rows = (row.split() for row in TABLE.splitlines() if row and not row.startswith("#"))
    made = (Operation(name, verb, path, frozenset(marks)) for name, verb, path, *marks in rows)
    return {one.name.lower(): one for one in made}


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = PARAMETER.split(path)
    return re.compile(
        "".join(f"(?P<{p}>[^/]+)" if i % 2 else re.escape(p) for i, p in enumerate(parts))
    )


NAMES: Final = tuple(one.name for one in _by_name().values())
"""The names of all operations, as LINE writes them."""
