package hostile

import (
	"slices"
	"strings"
	"testing"
)

// access says whose token an endpoint wants.
type access int

const (
	needed   access = iota // a good one
	optional               // a good one or none
	ignored                // none, and looks at none
)

// whos are those who make every request. The room is private, and its history is for those who were in it. Everybody asks for
// what is their own (user, device, backup), but for another, a member, and the outsider, a stranger, who ask for the owner's.
var whos = []string{"nobody", "unknown", "logged-out", "deactivated", "locked", "suspended", "another", "outsider", "stranger", "invited", "left", "kicked", "banned", "member"}

// groups are words for several of them.
var groups = map[string][]string{
	"*":     {"nobody", "unknown", "logged-out", "deactivated", "locked", "suspended", "another", "outsider", "stranger", "invited", "left", "kicked", "banned", "member"},
	"in":    {"suspended", "another", "member"},
	"were":  {"left", "kicked"},
	"other": {"another", "outsider"},
}

// rule is what the specification wants of some endpoints.
type rule struct {
	why     string
	token   access
	frozen  bool   // suspended users get 403 M_USER_SUSPENDED
	results string // what comes to whom, separated by semicolons; the first that fits is it
	of      string // operationIds
}

// rules are all endpoints that the server serves. A new one has no rule, and fails the test until it has.
var rules = []rule{
	{why: "Endpoints without authentication tell everybody the same, and are not disturbed by tokens that are no good.", token: ignored,
		results: "200 *", of: "getVersions getLoginFlows getAuthMetadata getRoomVisibilityOnDirectory getRoomIdByAlias getUserProfile checkUsernameAvailability"},
	{why: "404: \"There is no profile field with this key for this user.\" They have not set it.", token: ignored, results: "404 NOT_FOUND *", of: "getProfileField"},
	{why: "400: no registration token was given.", token: ignored, results: "400 MISSING_PARAM *", of: "registrationTokenValidity"},
	{why: "404: no discovery information is configured.", token: ignored,
		results: "404 NOT_FOUND *", of: "getWellknown getWellknownPolicy getWellknownSupport"},
	{why: "400: no redirectUrl was given.", token: ignored, results: "400 MISSING_PARAM *", of: "redirectToSSO redirectToIdP"},
	{why: "Devices that are not signed in meet those that are; whoever gives a token must give a good one (MSC4388).", token: optional,
		results: "200 *", of: "discoverRendezvous createRendezvous"},
	{why: "404: there is no session of this id (MSC4388).", token: ignored, results: "404 NOT_FOUND *",
		of: "getRendezvous putRendezvous deleteRendezvous getTextRendezvous deleteTextRendezvous"},
	{why: "400: the payload is no text (MSC4108).", token: optional, results: "400 INVALID_PARAM *", of: "createTextRendezvous"},
	{why: "400: the header If-Match is missing (MSC4108).", token: ignored, results: "400 MISSING_PARAM *", of: "putTextRendezvous"},
	{why: "403: the password is wrong.", token: ignored, results: "403 FORBIDDEN *", of: "login"},
	{why: "401: registering takes further stages.", token: ignored, results: "401 stages *", of: "register"},
	{why: "401: the refresh token in the body is unknown.", token: ignored, results: "401 UNKNOWN_TOKEN *", of: "refresh"},
	{why: "400 M_THREEPID_MEDIUM_NOT_SUPPORTED: the server sends neither mail nor short messages.", token: ignored,
		results: "400 THREEPID_MEDIUM_NOT_SUPPORTED *", of: "requestTokenTo3PIDEmail requestTokenTo3PIDMSISDN"},
	{why: "403 M_THREEPID_DENIED: the homeserver does not allow the third-party identifier.", token: ignored,
		results: "403 THREEPID_DENIED *", of: "requestTokenToResetPasswordEmail requestTokenToResetPasswordMSISDN requestTokenToRegisterEmail requestTokenToRegisterMSISDN"},

	{why: "Everybody may list public rooms; whoever gives a token must give a good one.", token: optional, results: "200 *", of: "getPublicRooms"},
	{why: "Changing a password and deactivating: User-Interactive Authentication says who it is when no token does.", token: optional,
		results: "401 stages *", of: "changePassword deactivateAccount"},
	{why: "Logging out is what locked accounts may do (Account locking).", results: "200 locked *", of: "logout logout_all"},
	{why: "User-Interactive Authentication comes first.", results: "401 stages *", of: "deleteDevice deleteDevices generateLoginToken"},

	{why: "What everybody has, and what finds only what they may know of.", results: "200 *",
		of: "getCapabilities getTokenOwner getDevices getJoinedRooms sync getPushRules getPushRulesGlobal getPushRule getPushRuleActions isPushRuleEnabled " +
			"setPushRuleActions setPushRuleEnabled getAccount3PIDs getNotifications queryKeys claimKeys uploadCrossSigningSignatures sendToDevice search " +
			"searchUserDirectory queryPublicRooms getEvents initialSync postRoomKeysVersion getPushers postPusher getThreadSubscriptions slidingSync slidingSyncStable"},
	{why: "Account data, tags, filters and so on are for their user: 403 M_FORBIDDEN, \"not authorised to modify this user's account data\".",
		results: "403 FORBIDDEN other; 200 *", of: "getRoomTags setRoomTag deleteRoomTag defineFilter requestOpenIdToken setAccountData setAccountDataPerRoom deleteAccountData deleteAccountDataPerRoom getWhoIs"},
	{why: "The same, where they have nothing yet.", results: "403 FORBIDDEN other; 404 NOT_FOUND *", of: "getAccountData getAccountDataPerRoom getFilter"},
	{why: "404: \"The current user has no device with the given ID.\"", results: "404 NOT_FOUND other; 200 *", of: "getDevice updateDevice"},
	{why: "404: they have no backup, and the owner's is out of reach.", results: "404 NOT_FOUND *",
		of: "getRoomKeys getRoomKeysByRoomId getRoomKeyBySessionId putRoomKeys putRoomKeysByRoomId putRoomKeyBySessionId deleteRoomKeys deleteRoomKeysByRoomId " +
			"deleteRoomKeyBySessionId getRoomKeysVersion getRoomKeysVersionCurrent putRoomKeysVersion deleteRoomKeysVersion"},
	{why: "Profiles are changed by their user, and not while suspended (Account suspension).", frozen: true,
		results: "403 FORBIDDEN other; 200 *", of: "setProfileField deleteProfileField"},
	{why: "Presence is set by its user.", frozen: true, results: "403 FORBIDDEN other; 200 *", of: "setPresence"},
	{why: "Presence is published to all who share a room; 403: \"You are not allowed to see this user's presence status.\"",
		results: "403 FORBIDDEN outsider; 200 *", of: "getPresence"},
	{why: "400 M_INVALID_PARAM: the user ID is the sender's own.", results: "200 other; 400 INVALID_PARAM *", of: "getMutualRooms"},
	{why: "Keys of a device that is not theirs, without signatures.", results: "400 INVALID_PARAM *", of: "uploadKeys uploadCrossSigningKeys putDehydratedDevice"},
	{why: "400: the rule is one of the server's; the rule's body is none of its kind.", results: "400 INVALID_PARAM *", of: "setPushRule deletePushRule"},
	{why: "400: no token of a device list was given.", results: "400 MISSING_PARAM *", of: "getKeysChanges"},
	{why: "Nothing is bridged, which everybody may know.", results: "200 *", of: "getProtocols"},
	{why: "404: \"The protocol is unknown.\" and nothing is found without an application service.", results: "404 NOT_FOUND *",
		of: "getProtocolMetadata queryLocationByProtocol queryUserByProtocol"},
	{why: "400: no alias or user was given.", results: "400 MISSING_PARAM *", of: "queryLocationByAlias queryUserByID"},
	{why: "These are for application services only (application service API, Client-Server API Extensions).", frozen: true,
		results: "403 FORBIDDEN *", of: "pingAppservice updateAppserviceRoomDirectoryVisibility"},
	{why: "404: no TURN server is configured.", results: "404 NOT_FOUND *", of: "getTurnServer"},
	{why: "There are no third-party identifiers to add.", frozen: true, results: "400 THREEPID_MEDIUM_NOT_SUPPORTED *", of: "add3PID bind3PID"},
	{why: "403 M_THREEPID_AUTH_FAILED: no identity server vouches for it.", frozen: true, results: "403 THREEPID_AUTH_FAILED *", of: "post3PIDs"},
	{why: "Removing what is not there succeeds; suspended users must not remove contacts.", frozen: true, results: "200 *", of: "delete3pidFromAccount unbind3pidFromAccount"},

	{why: "404: the thread is out of sight, or they have not subscribed to it (MSC4306).", results: "404 NOT_FOUND *", of: "getThreadSubscription"},
	{why: "404: the thread is out of sight (MSC4306).", results: "200 in; 404 NOT_FOUND *", of: "putThreadSubscription deleteThreadSubscription"},

	{why: "Who had anything to do with the room may schedule; whether they may send is seen when it is time (MSC4140).", frozen: true,
		results: "200 in invited were banned; 403 FORBIDDEN *", of: "putDelayedEvent"},
	{why: "Users see their own delayed events.", results: "200 *", of: "getDelayedEvents"},
	{why: "404: they have none of this id.", results: "404 NOT_FOUND *", of: "getDelayedEvent"},
	{why: "The delay_id is enough for services that watch over calls; there is none of this id.", token: optional, results: "404 NOT_FOUND *",
		of: "updateDelayedEvent sendDelayedEvent cancelDelayedEvent restartDelayedEvent"},

	{why: "Users may know what calls go through (MSC4143).", results: "200 *", of: "getRtcTransports getRtcTransportsUnstable"},
	{why: "404: they have no dehydrated device (MSC3814).", results: "404 NOT_FOUND *", of: "getDehydratedDevice deleteDehydratedDevice"},
	{why: "403: it is not their dehydrated device.", results: "403 FORBIDDEN *", of: "getDehydratedDeviceEvents postDehydratedDeviceEvents"},

	{why: "Users may know what they may upload.", results: "200 *", of: "getConfig getConfigAuthed"},
	{why: "Uploads are for sending, which suspended users may not.", frozen: true, results: "200 *", of: "uploadContent createContent"},
	{why: "404: \"The MXC ID was not created.\"", frozen: true, results: "404 NOT_FOUND *", of: "uploadContentToMXC"},
	{why: "Media are for users; there is none of this id.", results: "404 NOT_FOUND *", of: "getContentAuthed getContentOverrideNameAuthed getContentThumbnailAuthed"},
	{why: "The older endpoints take no token; the same.", token: ignored, results: "404 NOT_FOUND *", of: "getContent getContentOverrideName getContentThumbnail"},
	{why: "Previews are for users; 400: no URL was given.", results: "400 MISSING_PARAM *", of: "getUrlPreview getUrlPreviewAuthed"},

	{why: "403: \"The requesting user is not a server administrator.\"", results: "403 FORBIDDEN *", of: "getAdminLockUser getAdminSuspendUser"},
	{why: "The same.", frozen: true, results: "403 FORBIDDEN *", of: "setAdminLockUser setAdminSuspendUser"},
	{why: "Anybody may report a room or a user.", frozen: true, results: "200 *", of: "reportRoom reportUser"},
	{why: "Anybody may make a room.", frozen: true, results: "200 *", of: "createRoom"},

	{why: "403: \"You aren't a member of the room and weren't previously a member of the room.\"", results: "200 in were; 403 FORBIDDEN *",
		of: "getRoomState getRoomStateWithKey getMembersByRoom getRoomEvents roomInitialSync getThreadRoots getEventByTimestamp peekEvents"},
	{why: "403: \"You aren't a member of the room.\"", results: "200 in; 403 FORBIDDEN *", of: "getJoinedMembersByRoom getLocalAliases"},
	{why: "404: \"The event was not found or you do not have permission to read this event.\" It was sent after they had left.", results: "200 in; 404 NOT_FOUND *",
		of: "getOneRoomEvent getOneEvent getRelatingEvents getRelatingEventsWithRelType getRelatingEventsWithRelTypeAndEventType"},
	{why: "403: they have never been in the room; 404: the event was sent after they had left.", results: "200 in; 404 NOT_FOUND were; 403 FORBIDDEN *", of: "getEventContext"},
	{why: "404: \"The event was not found or you are not joined to the room where the event resides.\"", frozen: true, results: "200 in; 404 NOT_FOUND *", of: "reportEvent"},
	{why: "Those who may join may look at what they would join.", results: "200 in invited; 403 FORBIDDEN *", of: "getSpaceHierarchy"},
	{why: "The same; 404: \"The room could not be found.\" A token is not needed, for rooms that are open.", token: optional, results: "200 in invited; 404 NOT_FOUND *",
		of: "getRoomSummary"},
	{why: "Receipts are those of members.", results: "200 in; 403 FORBIDDEN *", of: "postReceipt setReadMarker"},
	{why: "Members say of themselves that they type.", frozen: true, results: "200 member; 403 FORBIDDEN *", of: "setTyping"},
	{why: "Members send messages (authorization rules).", frozen: true, results: "200 in; 403 FORBIDDEN *", of: "sendMessage sendMessageWithoutTransaction"},
	{why: "Power levels let the owner alone do this.", frozen: true, results: "403 FORBIDDEN *",
		of: "setRoomStateWithKey ban unban kick inviteUser upgradeRoom setRoomVisibilityOnDirectory deleteRoomAlias redactEvent redactEventWithoutTransaction"},
	{why: "The server asks no identity server.", frozen: true, results: "400 INVALID_PARAM *", of: "inviteBy3PID"},
	{why: "409: \"A room alias with that name already exists.\"", frozen: true, results: "409 UNKNOWN *", of: "setRoomAlias"},
	{why: "403: \"The room is invite-only and the user was not invited.\"", frozen: true, results: "200 in invited; 403 FORBIDDEN *", of: "joinRoom joinRoomById"},
	{why: "403: \"The room is not set up for knocking.\"", frozen: true, results: "403 FORBIDDEN *", of: "knockRoom"},
	{why: "Members and the invited leave; those who have left have; others have no membership to end.", results: "200 in invited were; 403 FORBIDDEN *", of: "leaveRoom"},
	{why: "400 M_UNKNOWN: \"The user has not left the room.\" Strangers have nothing to forget.", results: "400 UNKNOWN in invited; 200 were banned; 403 FORBIDDEN *", of: "forgetRoom"},
}

// expected is what the rule wants to come to whom.
func (r rule) expected(who string) string {
	if r.token != ignored {
		switch who {
		case "nobody":
			if r.token == needed {
				return "401 MISSING_TOKEN"
			}
		case "unknown", "logged-out", "deactivated":
			return "401 UNKNOWN_TOKEN"
		case "locked":
			if !strings.Contains(r.results, "locked") {
				return "401 USER_LOCKED"
			}
		case "suspended":
			if r.frozen {
				return "403 USER_SUSPENDED"
			}
		}
	}
	for _, result := range strings.Split(r.results, "; ") {
		words := strings.Fields(result)
		outcome := words[0]
		for _, word := range words[1:] {
			switch {
			case strings.ToUpper(word) == word && word != "*" || word == "stages":
				outcome += " " + word
			case word == who, slices.Contains(groups[word], who):
				return outcome
			}
		}
	}
	return "nothing"
}

// byOperation finds the rule of an endpoint.
func byOperation(t *testing.T) map[string]rule {
	t.Helper()
	found := map[string]rule{}
	for _, r := range rules {
		for _, id := range strings.Fields(r.of) {
			if _, twice := found[id]; twice {
				t.Errorf("%s has two rules", id)
			}
			found[id] = r
		}
		for _, who := range whos {
			if r.expected(who) == "nothing" {
				t.Errorf("the rule %q says nothing of somebody who is %s", r.why, who)
			}
		}
	}
	return found
}
