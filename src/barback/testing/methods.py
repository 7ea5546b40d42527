"""Methods: what each platform can be called for, so that a fake takes no other."""

from __future__ import annotations

from typing import Final

__all__ = ["NUMBER", "PAGE", "SLACK", "TELEGRAM", "WABA", "Edges"]

_TELEGRAM: Final = """
addStickerToSet answerCallbackQuery answerChatJoinRequestQuery answerGuestQuery answerInlineQuery
answerPreCheckoutQuery answerShippingQuery answerWebAppQuery approveChatJoinRequest
approveSuggestedPost banChatMember banChatSenderChat close closeForumTopic closeGeneralForumTopic
convertGiftToStars copyMessage copyMessages createChatInviteLink createChatSubscriptionInviteLink
createForumTopic createInvoiceLink createNewStickerSet declineChatJoinRequest declineSuggestedPost
deleteAllMessageReactions deleteBusinessMessages deleteChatPhoto deleteChatStickerSet
deleteEphemeralMessage deleteForumTopic deleteMessage deleteMessageReaction deleteMessages
deleteMyCommands deleteStickerFromSet deleteStickerSet deleteStory deleteWebhook
editChatInviteLink editChatSubscriptionInviteLink editEphemeralMessageCaption
editEphemeralMessageMedia editEphemeralMessageReplyMarkup editEphemeralMessageText editForumTopic
editGeneralForumTopic editMessageCaption editMessageChecklist editMessageLiveLocation
editMessageMedia editMessageReplyMarkup editMessageText editStory editUserStarSubscription
exportChatInviteLink forwardMessage forwardMessages getAvailableGifts getBusinessAccountGifts
getBusinessAccountStarBalance getBusinessConnection getChat getChatAdministrators getChatGifts
getChatMember getChatMemberCount getChatMenuButton getCustomEmojiStickers getFile
getForumTopicIconStickers getGameHighScores getManagedBotAccessSettings getManagedBotToken getMe
getMyCommands getMyDefaultAdministratorRights getMyDescription getMyName getMyShortDescription
getMyStarBalance getStarTransactions getStickerSet getUpdates getUserChatBoosts getUserGifts
getUserPersonalChatMessages getUserProfileAudios getUserProfilePhotos getWebhookInfo
giftPremiumSubscription hideGeneralForumTopic leaveChat logOut pinChatMessage postStory
promoteChatMember readBusinessMessage refundStarPayment removeBusinessAccountProfilePhoto
removeChatVerification removeMyProfilePhoto removeUserVerification reopenForumTopic
reopenGeneralForumTopic replaceManagedBotToken replaceStickerInSet repostStory restrictChatMember
revokeChatInviteLink savePreparedInlineMessage savePreparedKeyboardButton sendAnimation sendAudio
sendChatAction sendChatJoinRequestWebApp sendChecklist sendContact sendDice sendDocument sendGame
sendGift sendInvoice sendLivePhoto sendLocation sendMediaGroup sendMessage sendMessageDraft
sendPaidMedia sendPhoto sendPoll sendRichMessage sendRichMessageDraft sendSticker sendVenue
sendVideo sendVideoNote sendVoice setBusinessAccountBio setBusinessAccountGiftSettings
setBusinessAccountName setBusinessAccountProfilePhoto setBusinessAccountUsername
setChatAdministratorCustomTitle setChatDescription setChatMemberTag setChatMenuButton
setChatPermissions setChatPhoto setChatStickerSet setChatTitle setCustomEmojiStickerSetThumbnail
setGameScore setManagedBotAccessSettings setMessageReaction setMyCommands
setMyDefaultAdministratorRights setMyDescription setMyName setMyProfilePhoto setMyShortDescription
setPassportDataErrors setStickerEmojiList setStickerKeywords setStickerMaskPosition
setStickerPositionInSet setStickerSetThumbnail setStickerSetTitle setUserEmojiStatus setWebhook
stopMessageLiveLocation stopPoll transferBusinessAccountStars transferGift unbanChatMember
unbanChatSenderChat unhideGeneralForumTopic unpinAllChatMessages unpinAllForumTopicMessages
unpinAllGeneralForumTopicMessages unpinChatMessage upgradeGift uploadStickerFile verifyChat
verifyUser
"""
TELEGRAM: Final = frozenset(_TELEGRAM.split())
"""Of the Bot API 10.3, of August 2026: https://core.telegram.org/bots/api#available-methods."""

_SLACK: Final = """
admin.analytics.getFile admin.apps.activities.list admin.apps.approve admin.apps.approved.list
admin.apps.clearResolution admin.apps.config.lookup admin.apps.config.set
admin.apps.requests.cancel admin.apps.requests.list admin.apps.restrict admin.apps.restricted.list
admin.apps.uninstall admin.auth.policy.assignEntities admin.auth.policy.getEntities
admin.auth.policy.removeEntities admin.barriers.create admin.barriers.delete admin.barriers.list
admin.barriers.update admin.conversations.archive admin.conversations.bulkArchive
admin.conversations.bulkDelete admin.conversations.bulkMove admin.conversations.convertToPrivate
admin.conversations.convertToPublic admin.conversations.create admin.conversations.delete
admin.conversations.disconnectShared admin.conversations.ekm.listOriginalConnectedChannelInfo
admin.conversations.getConversationPrefs admin.conversations.getCustomRetention
admin.conversations.getTeams admin.conversations.invite admin.conversations.lookup
admin.conversations.removeCustomRetention admin.conversations.rename
admin.conversations.restrictAccess.addGroup admin.conversations.restrictAccess.listGroups
admin.conversations.restrictAccess.removeGroup admin.conversations.search
admin.conversations.setConversationPrefs admin.conversations.setCustomRetention
admin.conversations.setTeams admin.conversations.unarchive admin.emoji.add admin.emoji.addAlias
admin.emoji.list admin.emoji.remove admin.emoji.rename admin.functions.list
admin.functions.permissions.lookup admin.functions.permissions.set admin.inviteRequests.approve
admin.inviteRequests.approved.list admin.inviteRequests.denied.list admin.inviteRequests.deny
admin.inviteRequests.list admin.roles.addAssignments admin.roles.listAssignments
admin.roles.removeAssignments admin.teams.admins.list admin.teams.create admin.teams.list
admin.teams.owners.list admin.teams.settings.info admin.teams.settings.setDefaultChannels
admin.teams.settings.setDescription admin.teams.settings.setDiscoverability
admin.teams.settings.setIcon admin.teams.settings.setName admin.usergroups.addChannels
admin.usergroups.addTeams admin.usergroups.listChannels admin.usergroups.removeChannels
admin.users.assign admin.users.getExpiration admin.users.invite admin.users.list
admin.users.remove admin.users.session.clearSettings admin.users.session.getSettings
admin.users.session.invalidate admin.users.session.list admin.users.session.reset
admin.users.session.resetBulk admin.users.session.setSettings admin.users.setAdmin
admin.users.setExpiration admin.users.setOwner admin.users.setRegular
admin.users.unsupportedVersions.export admin.workflows.collaborators.add
admin.workflows.collaborators.remove admin.workflows.permissions.lookup admin.workflows.search
admin.workflows.unpublish agents.sessions.rename agents.sessions.setStatus api.test
apps.connections.open apps.event.authorizations.list apps.manifest.create apps.manifest.delete
apps.manifest.export apps.manifest.update apps.manifest.validate apps.uninstall
apps.user.connection.update assistant.search.context assistant.search.info
assistant.threads.setStatus assistant.threads.setSuggestedPrompts assistant.threads.setTitle
auth.revoke auth.teams.list auth.test bookmarks.add bookmarks.edit bookmarks.list bookmarks.remove
bots.info calls.add calls.end calls.info calls.participants.add calls.participants.remove
calls.update canvases.access.delete canvases.access.set canvases.create canvases.delete
canvases.edit canvases.sections.lookup chat.appendStream chat.delete chat.deleteScheduledMessage
chat.getPermalink chat.meMessage chat.postEphemeral chat.postMessage chat.scheduleMessage
chat.scheduledMessages.list chat.startStream chat.stopStream chat.unfurl chat.update
conversations.acceptSharedInvite conversations.approveSharedInvite conversations.archive
conversations.canvases.create conversations.close conversations.create
conversations.declineSharedInvite conversations.externalInvitePermissions.set
conversations.history conversations.info conversations.invite conversations.inviteShared
conversations.join conversations.kick conversations.leave conversations.list
conversations.listConnectInvites conversations.mark conversations.members conversations.open
conversations.rename conversations.replies conversations.requestSharedInvite.approve
conversations.requestSharedInvite.deny conversations.requestSharedInvite.list
conversations.setPurpose conversations.setTopic conversations.unarchive dialog.open dnd.endDnd
dnd.endSnooze dnd.info dnd.setSnooze dnd.teamInfo emoji.list entity.presentDetails
files.comments.delete files.completeUploadExternal files.delete files.getUploadURLExternal
files.info files.list files.remote.add files.remote.info files.remote.list files.remote.remove
files.remote.share files.remote.update files.revokePublicURL files.sharedPublicURL
functions.completeError functions.completeSuccess migration.exchange oauth.access oauth.v2.access
oauth.v2.exchange openid.connect.token openid.connect.userInfo pins.add pins.list pins.remove
reactions.add reactions.get reactions.list reactions.remove reminders.add reminders.complete
reminders.delete reminders.info reminders.list rtm.connect search.all search.files search.messages
slackLists.access.delete slackLists.access.set slackLists.create slackLists.download.get
slackLists.download.start slackLists.items.create slackLists.items.delete
slackLists.items.deleteMultiple slackLists.items.info slackLists.items.list
slackLists.items.update slackLists.update stars.add stars.list stars.remove team.accessLogs
team.billableInfo team.billing.info team.externalTeams.disconnect team.externalTeams.list
team.info team.integrationLogs team.preferences.list team.profile.get tooling.tokens.rotate
usergroups.create usergroups.disable usergroups.enable usergroups.list usergroups.update
usergroups.users.list usergroups.users.update users.conversations users.deletePhoto
users.discoverableContacts.lookup users.getPresence users.identity users.info users.list
users.lookupByEmail users.profile.get users.profile.set users.setPhoto users.setPresence
views.open views.publish views.push views.update workflows.featured.add workflows.featured.list
workflows.featured.remove workflows.featured.set
"""
SLACK: Final = frozenset(_SLACK.split())
"""Of the Web API, as of August 2026: https://docs.slack.dev/reference/methods, and `methods.ts` of
https://github.com/slackapi/node-slack-sdk."""


class Edges:
    """What a kind of thing can be asked for by the Graph API: verbs, each with its edges."""

    def __init__(self, table: str) -> None:
        self._verbs: dict[str, set[str]] = {}
        edges: set[str] = set()
        for word in table.split():
            if word.isupper():
                edges = self._verbs.setdefault(word, set() if word == "DELETE" else {""})
            else:
                edges.add(word)

    def take(self, verb: str, edge: str) -> bool:
        """Whether a call with this verb may be made."""
        return edge in self._verbs.get(verb, ())

    def have(self, edge: str) -> bool:
        """Whether there is such an edge at all."""
        return any(edge in edges for edges in self._verbs.values())


PAGE: Final = Edges("""
GET ab_tests ads_eligibility ads_posts agencies albums ar_experience assigned_users blocked
businessprojects call_to_actions canvas_elements canvases chat_plugin commerce_merchant_settings
commerce_orders commerce_payouts commerce_transactions conversations crosspost_whitelisted_pages
ctx_optimization_eligibility custom_labels custom_user_settings dataset events fantasy_games feed
global_brand_children image_copyrights indexed_videos insights instagram_accounts leadgen_forms
likes live_videos locations media_fingerprints message_templates messaging_feature_review
messenger_call_permissions messenger_call_settings messenger_lead_forms messenger_profile
notification_message_tokens page_backed_instagram_accounts personas photos picture posts
product_catalogs published_posts ratings roles rtb_dynamic_posts scheduled_posts
secondary_receivers settings shop_setup_status space_participants store_locations stories
subscribed_apps tabs tagged thread_owner threads video_copyright_rules video_lists video_reels
videos visitor_posts welcome_message_flows
POST ab_tests agencies assigned_users blocked business_messaging_feature_status call_metrics calls
canvas_elements canvases copyright_manual_claims custom_labels custom_user_settings dataset
extend_thread_control feed image_copyrights leadgen_forms live_videos locations media_fingerprints
message_attachments message_templates messages messenger_call_settings messenger_lead_forms
messenger_profile moderate_conversations nlp_configs notification_messages_dev_support
page_backed_instagram_accounts page_backed_threads_accounts page_whatsapp_number_verification
pass_thread_control personas photo_stories photos picture release_thread_control
request_thread_control scheduled_live_video settings space_participants subscribed_apps
take_thread_control unlink_accounts video_copyright_rules video_copyrights video_reels
video_stories videos welcome_message_flows
DELETE agencies assigned_users blocked custom_user_settings locations message_templates
messenger_profile subscribed_apps welcome_message_flows
""")
"""Of a page: `adobjects/page.py` of https://github.com/facebook/facebook-python-business-sdk, of
June 2026, and the secondary receivers of
https://developers.facebook.com/docs/messenger-platform/handover-protocol."""

NUMBER: Final = Edges("""
GET block_users business_compliance_info call_permissions groups
message_history message_qrdls official_business_account settings whatsapp_business_encryption
whatsapp_business_profile whatsapp_commerce_settings
POST block_users business_compliance_info calls conversational_automation deregister groups
marketing_messages media message_qrdls messages messages_encrypted official_business_account
register request_code settings verify_code whatsapp_business_encryption whatsapp_business_profile
whatsapp_commerce_settings
DELETE block_users
""")
"""Of a phone number on WhatsApp: https://github.com/facebook/openapi (business-messaging-api), of
November 2025."""

WABA: Final = Edges("""
GET activities assigned_users audiences call_analytics conversation_analytics dataset
degrees_of_freedom_spec flows group_analytics in_progress_onbehalf_request message_campaigns
message_template_previews message_templates payment_configuration payment_configurations
phone_numbers pricing_analytics product_catalogs schedules solutions subscribed_apps
template_analytics template_group_analytics template_groups welcome_message_sequences
POST assigned_users business_messaging_feature_status dataset flows
generate_payment_configuration_oauth_link message_samples message_templates migrate_flows
migrate_message_templates obo_mobility_intent payment_configuration phone_numbers product_catalogs
schedules set_obo_mobility_intent set_solution_migration_intent subscribed_apps template_groups
upsert_message_templates welcome_message_sequences
DELETE assigned_users message_templates payment_configuration product_catalogs subscribed_apps
welcome_message_sequences
""")
"""Of a WhatsApp Business Account: the same, and `adobjects/whatsappbusinessaccount.py` of
https://github.com/facebook/facebook-python-business-sdk, of June 2026."""
