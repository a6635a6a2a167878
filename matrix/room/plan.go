package room

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// CreateRequest is the body of POST /createRoom.
type CreateRequest struct {
	Preset                    string           `json:"preset"`
	Visibility                string           `json:"visibility"`
	RoomAliasName             string           `json:"room_alias_name"`
	Name                      *string          `json:"name"`
	Topic                     *string          `json:"topic"`
	Invite                    []string         `json:"invite"`
	Invite3PID                []jsontext.Value `json:"invite_3pid"`
	RoomVersion               string           `json:"room_version"`
	CreationContent           object           `json:"creation_content"`
	InitialState              []InitialState   `json:"initial_state"`
	IsDirect                  bool             `json:"is_direct"`
	PowerLevelContentOverride object           `json:"power_level_content_override"`
}

// InitialState is a state event that the new room shall have.
type InitialState struct {
	Type     string         `json:"type"`
	StateKey string         `json:"state_key"`
	Content  jsontext.Value `json:"content"`
}

// object is a JSON object whose members are not looked into.
type object = map[string]jsontext.Value

// Profile is what a member event shows of a user.
type Profile struct{ DisplayName, AvatarURL string }

// CreatePlan is a room to be created: the content of its create event and the events after it, in order.
type CreatePlan struct {
	Version   *roomversion.Version
	Creator   string
	Create    []byte
	Events    []Proposal
	Alias     string // full, or empty
	Published bool
}

// maxInitialEvents bounds how many events a room is created with.
const maxInitialEvents = 2000

// preset is what a preset implies (client-server API, POST /createRoom).
type preset struct {
	joinRule, historyVisibility, guestAccess string
	invite                                   int64 // the level to invite
	trusted                                  bool  // invitees get the creator's power
}

var presets = map[string]preset{
	"private_chat":         {"invite", "shared", "can_join", 0, false},
	"trusted_private_chat": {"invite", "shared", "can_join", 0, true},
	"public_chat":          {"public", "shared", "forbidden", 50, false},
}

// PlanCreate works out which events POST /createRoom asks for, in the order that the specification gives. profiles are
// those of the creator and of the invited local users.
func PlanCreate(req CreateRequest, creator, serverName string, profiles map[string]Profile) (*CreatePlan, error) {
	p, name, err := req.preset()
	if err != nil {
		return nil, err
	}
	version, err := req.version()
	if err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	b := &planner{plan: &CreatePlan{Version: version, Creator: creator, Published: req.Visibility == "public"}}
	if req.RoomAliasName != "" {
		b.plan.Alias = "#" + req.RoomAliasName + ":" + serverName
		if _, _, err := id.ParseAlias(b.plan.Alias); err != nil {
			return nil, mxerr.InvalidParam("%q cannot be the name of an alias", req.RoomAliasName)
		}
	}
	invited := slices.DeleteFunc(unique(req.Invite), func(userID string) bool { return userID == creator })
	var trusted []string
	if p.trusted {
		trusted = invited
	}
	if err := b.create(req.CreationContent, trusted); err != nil {
		return nil, err
	}
	b.member(creator, "join", profiles[creator], false)
	b.state("m.room.power_levels", "", defaultPowerLevels(version, p, creator, trusted, req.PowerLevelContentOverride))
	if b.plan.Alias != "" {
		b.state("m.room.canonical_alias", "", fields{"alias": b.plan.Alias})
	}
	b.presetState(p, req.InitialState)
	for _, s := range req.InitialState {
		b.raw(s.Type, s.StateKey, s.Content)
	}
	if req.Name != nil {
		b.state("m.room.name", "", fields{"name": *req.Name})
	}
	if req.Topic != nil {
		b.state("m.room.topic", "", topicContent(*req.Topic))
	}
	for _, userID := range invited {
		b.member(userID, "invite", profiles[userID], req.IsDirect)
	}
	if b.err != nil {
		return nil, mxerr.BadJSON("%s: %s", name, b.err)
	}
	return b.plan, nil
}

// preset is the preset that was asked for or that the visibility implies.
func (req CreateRequest) preset() (preset, string, error) {
	switch req.Visibility {
	case "", "private", "public":
	default:
		return preset{}, "", mxerr.InvalidParam("the visibility must be public or private")
	}
	name := req.Preset
	if name == "" {
		name = "private_chat"
		if req.Visibility == "public" {
			name = "public_chat"
		}
	}
	p, ok := presets[name]
	if !ok {
		return preset{}, "", mxerr.InvalidParam("there is no preset %q", name)
	}
	return p, name, nil
}

func (req CreateRequest) version() (*roomversion.Version, error) {
	name := req.RoomVersion
	if name == "" {
		name = roomversion.Default
	}
	version, ok := roomversion.Get(name)
	if !ok {
		return nil, UnsupportedVersion(name)
	}
	return version, nil
}

func (req CreateRequest) check() error {
	if len(req.InitialState)+len(req.Invite) > maxInitialEvents {
		return mxerr.InvalidParam("a room is created with at most %d initial events and invitations", maxInitialEvents)
	}
	if len(req.Invite3PID) > 0 {
		return mxerr.InvalidParam("this server cannot invite by e-mail address or telephone number")
	}
	for _, userID := range req.Invite {
		if _, _, err := id.ParseUser(userID); err != nil {
			return mxerr.InvalidParam("%q is not a user id", userID)
		}
	}
	for _, s := range req.InitialState {
		if s.Type == "" || s.Content.Kind() != '{' {
			return mxerr.BadJSON("each event of initial_state needs a type, and a content that is an object")
		}
	}
	return nil
}

// planner collects the events of a plan; after the first failure it does nothing.
type planner struct {
	plan *CreatePlan
	err  error
}

// fields is the content of an event that we make.
type fields = map[string]any

func (b *planner) state(eventType, stateKey string, content fields) {
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		b.err = err
		return
	}
	b.raw(eventType, stateKey, raw)
}

func (b *planner) raw(eventType, stateKey string, content []byte) {
	b.plan.Events = append(b.plan.Events, Proposal{Type: eventType, StateKey: &stateKey, Sender: b.plan.Creator, Content: content})
}

func (b *planner) member(userID, membership string, profile Profile, direct bool) {
	content := fields{"membership": membership}
	if profile.DisplayName != "" {
		content["displayname"] = profile.DisplayName
	}
	if profile.AvatarURL != "" {
		content["avatar_url"] = profile.AvatarURL
	}
	if direct {
		content["is_direct"] = true
	}
	b.state("m.room.member", userID, content)
}

// create makes the create event's content of what the client wants in it.
func (b *planner) create(wanted object, trusted []string) error {
	content := fields{}
	for name, value := range wanted {
		content[name] = value
	}
	content["room_version"] = b.plan.Version.ID
	delete(content, "creator")
	if !b.plan.Version.CreatorIsSender {
		content["creator"] = b.plan.Creator
	}
	var additional []string
	if b.plan.Version.PrivilegedCreators {
		if raw, ok := wanted["additional_creators"]; ok {
			if err := json.Unmarshal(raw, &additional); err != nil {
				return mxerr.BadJSON("additional_creators must be a list of user ids")
			}
		}
		for _, userID := range additional {
			if !id.ValidUser(userID) {
				return mxerr.InvalidParam("%q is not a user id", userID)
			}
		}
		additional = unique(append(additional, trusted...))
		delete(content, "additional_creators")
		if len(additional) > 0 {
			content["additional_creators"] = additional
		}
	}
	raw, err := json.Marshal(content, json.Deterministic(true))
	if err != nil {
		return mxerr.BadJSON("creation_content is not valid JSON")
	}
	b.plan.Create = raw
	return nil
}

// defaultPowerLevels is the first power levels event, with the client's override on top.
func defaultPowerLevels(v *roomversion.Version, p preset, creator string, trusted []string, override object) fields {
	tombstone := 100
	users := map[string]int64{}
	if v.PrivilegedCreators {
		tombstone = 150
	} else {
		users[creator] = 100
		for _, userID := range trusted {
			users[userID] = 100
		}
	}
	levels := fields{
		"users": users, "users_default": 0, "events_default": 0, "state_default": 50,
		"ban": 50, "kick": 50, "redact": 50, "invite": p.invite,
		"events": map[string]int{
			"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50,
			"m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.server_acl": 100,
			"m.room.encryption": 100, "m.room.tombstone": tombstone,
		},
	}
	for name, value := range override {
		levels[name] = value
	}
	return levels
}

// presetState adds what the preset implies, but for what the initial state gives itself.
func (b *planner) presetState(p preset, initial []InitialState) {
	given := func(eventType string) bool {
		return slices.ContainsFunc(initial, func(s InitialState) bool { return s.Type == eventType && s.StateKey == "" })
	}
	for _, s := range []struct{ eventType, key, value string }{
		{"m.room.join_rules", "join_rule", p.joinRule},
		{"m.room.history_visibility", "history_visibility", p.historyVisibility},
		{"m.room.guest_access", "guest_access", p.guestAccess},
	} {
		if !given(s.eventType) {
			b.state(s.eventType, "", fields{s.key: s.value})
		}
	}
}

func topicContent(topic string) fields {
	return fields{"topic": topic, "m.topic": fields{"m.text": []fields{{"body": topic}}}}
}

// unique keeps the first of equal strings.
func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
