package auth

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// Shape is what the selection of auth events depends on.
type Shape struct {
	Type     string
	StateKey *string // nil for what is not a state event
	Sender   string
	Content  []byte // a JSON object
}

// ShapeOf is the shape of an event that exists.
func ShapeOf(e *event.Event) Shape {
	s := Shape{Type: e.Type(), Sender: e.Sender(), Content: e.Content()}
	if stateKey, isState := e.StateKey(); isState {
		s.StateKey = &stateKey
	}
	return s
}

// Selection lists the places of the state whose events authorise such an event (server-server API, "Auth events selection").
// In room version 12 the create event is not among them, since the room id implies it.
func Selection(v *roomversion.Version, e Shape) []event.Tuple {
	if e.Type == typeCreate {
		return nil
	}
	places := make([]event.Tuple, 0, 6)
	add := func(typ, stateKey string) {
		if t := (event.Tuple{Type: typ, StateKey: stateKey}); !slices.Contains(places, t) {
			places = append(places, t)
		}
	}
	if !v.RoomIDFromCreate {
		add(typeCreate, "")
	}
	add(typePowerLevels, "")
	add(typeMember, e.Sender)
	if e.Type != typeMember || e.StateKey == nil {
		return places
	}
	add(typeMember, *e.StateKey)
	content := gjson.ParseBytes(e.Content)
	membership := content.Get("membership").Str
	if membership == "join" || membership == "invite" || membership == "knock" {
		add(typeJoinRules, "")
	}
	if invite := content.Get("third_party_invite"); membership == "invite" && invite.Exists() {
		if token := invite.Get("signed.token"); token.Type == gjson.String {
			add(typeThirdParty, token.Str)
		}
	}
	if via := content.Get("join_authorised_via_users_server"); membership == "join" && v.Restricted && via.Type == gjson.String {
		add(typeMember, via.Str)
	}
	return places
}
