package auth_test

import (
	"errors"
	"testing"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// FuzzCheck gives hostile contents to the rules, in the event and in the state: they allow or reject, and do not panic.
func FuzzCheck(f *testing.F) {
	for _, content := range []string{
		`{}`, levels, `{"membership":"join","join_authorised_via_users_server":[]}`, `{"users":[],"events":null,"ban":{}}`,
		`{"membership":"invite","third_party_invite":{"signed":{"mxid":"@member:b","token":"","signatures":[]}}}`,
		`{"additional_creators":{},"creator":[],"m.federate":0,"room_version":{}}`, `{"join_rule":{}}`, `{"public_keys":[[],{"public_key":""}]}`,
		`{"users":{"@x:y":1e999},"users_default":-1e999}`, `{"membership":"invite","third_party_invite":[]}`,
	} {
		f.Add(content, content)
	}
	types := []string{"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite"}
	f.Fuzz(func(t *testing.T, content, before string) {
		for _, text := range []string{content, before} {
			canonical, err := canonicaljson.Canonicalize(nil, []byte(text), canonicaljson.Options{})
			if err != nil || canonical[0] != '{' {
				return
			}
		}
		for _, v := range roomversion.All() {
			for _, changed := range types {
				r := newRoom(t, v)
				for _, stateKey := range []string{"", member} {
					r.set(creator, changed, stateKey, before)
				}
				for _, typ := range types {
					e := r.send(member, typ, "", content)
					var rejection *auth.Rejection
					if err := auth.Check(e, r); err != nil && (!errors.As(err, &rejection) || rejection.Rule == "" || rejection.Reason == "") {
						t.Fatalf("room version %s: %v", v.ID, err)
					}
					if !v.RoomIDFromCreate || changed != "m.room.create" { // another create event is another room
						requireCitable(t, r, e)
					}
				}
			}
		}
	})
}

// requireCitable checks that the selected auth events pass the rule on auth events.
func requireCitable(t *testing.T, r *room, e *event.Event) {
	t.Helper()
	var cited []*event.Event
	for _, place := range auth.Selection(r.v, auth.ShapeOf(e)) {
		if a := r.Event(place); a != nil {
			cited = append(cited, a)
		}
	}
	if err := auth.CheckAuthEvents(e, cited, none); err != nil {
		t.Fatalf("room version %s: %v", r.v.ID, err)
	}
	auth.Signers(e)
}
