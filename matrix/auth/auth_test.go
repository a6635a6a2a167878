package auth_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

func none(string) bool { return false }

// HARD_PLACES.md 13: auth events that are there twice, unexpected, rejected, or of another room.
func TestAuthEventsRules(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		rule := "2."
		if v.RoomIDFromCreate {
			rule = "3."
		}
		t.Run("v"+v.ID, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, v)
			e := r.send(member, "m.room.topic", "", `{}`)
			var cited []*event.Event
			for _, place := range auth.Selection(v, auth.ShapeOf(e)) {
				cited = append(cited, r.Event(place))
			}
			requireRule(t, "ok", auth.CheckAuthEvents(e, cited, none))
			requireRule(t, "ok", auth.CheckAuthEvents(create(r, `{"creator":"@creator:a"}`), nil, none))

			again := r.membership(member, member, "join")
			requireRule(t, rule+"1", auth.CheckAuthEvents(e, append(slices.Clone(cited), again), none))

			joinRules := r.Event(event.Tuple{Type: "m.room.join_rules"})
			requireRule(t, rule+"2", auth.CheckAuthEvents(e, append(slices.Clone(cited), joinRules), none))
			message := r.build(draft{sender: member, typ: "m.room.power_levels", content: `{}`})
			requireRule(t, rule+"2", auth.CheckAuthEvents(e, []*event.Event{r.state[createTuple], message}[b2i(v.RoomIDFromCreate):], none))

			requireRule(t, rule+"3", auth.CheckAuthEvents(e, cited, func(id string) bool { return id == cited[1].ID() }))

			if v.RoomIDFromCreate {
				requireRule(t, rule+"2", auth.CheckAuthEvents(e, append(slices.Clone(cited), r.state[createTuple]), none))
			} else {
				requireRule(t, rule+"4", auth.CheckAuthEvents(e, cited[1:], none))
			}
			elsewhere := slices.Clone(cited)
			userID := member
			elsewhere[len(cited)-1] = r.build(draft{sender: member, typ: "m.room.member", stateKey: &userID,
				content: `{"membership":"join"}`, more: `,"room_id":"!other:a"`, noRoomID: true})
			requireRule(t, rule+"5", auth.CheckAuthEvents(e, elsewhere, none))
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestSelection(t *testing.T) {
	t.Parallel()
	target := "@target:b"
	always := []event.Tuple{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: member}}
	of := func(more ...event.Tuple) []event.Tuple { return append(slices.Clone(always), more...) }
	targetMember, joinRules := event.Tuple{Type: "m.room.member", StateKey: target}, event.Tuple{Type: "m.room.join_rules"}
	for _, test := range []struct {
		name    string
		shape   auth.Shape
		want    []event.Tuple
		before8 []event.Tuple // when it differs
	}{
		{name: "create", shape: auth.Shape{Type: "m.room.create", StateKey: &empty, Sender: member, Content: []byte(`{}`)}},
		{name: "message", shape: auth.Shape{Type: "m.room.message", Sender: member, Content: []byte(`{}`)}, want: always},
		{name: "topic", shape: auth.Shape{Type: "m.room.topic", StateKey: &empty, Sender: member, Content: []byte(`{}`)}, want: always},
		{name: "join", shape: auth.Shape{Type: "m.room.member", StateKey: &[]string{member}[0], Sender: member, Content: []byte(`{"membership":"join"}`)}, want: of(joinRules)},
		{name: "leave", shape: auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"membership":"leave"}`)}, want: of(targetMember)},
		{name: "ban", shape: auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"membership":"ban"}`)}, want: of(targetMember)},
		{name: "knock", shape: auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"membership":"knock"}`)}, want: of(targetMember, joinRules)},
		{name: "invite", shape: auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"membership":"invite"}`)}, want: of(targetMember, joinRules)},
		{
			name:  "third-party invite",
			shape: auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"membership":"invite","third_party_invite":{"signed":{"token":"abc"}}}`)},
			want:  of(targetMember, joinRules, event.Tuple{Type: "m.room.third_party_invite", StateKey: "abc"}),
		},
		{
			name:    "authorised join",
			shape:   auth.Shape{Type: "m.room.member", StateKey: &target, Sender: member, Content: []byte(`{"join_authorised_via_users_server":"@via:c","membership":"join"}`)},
			want:    of(targetMember, joinRules, event.Tuple{Type: "m.room.member", StateKey: "@via:c"}),
			before8: of(targetMember, joinRules),
		},
	} {
		for _, v := range roomversion.All() {
			want := test.want
			if !v.Restricted && test.before8 != nil {
				want = test.before8
			}
			if v.RoomIDFromCreate && len(want) > 0 {
				want = want[1:]
			}
			if diff := cmp.Diff(want, auth.Selection(v, test.shape)); diff != "" {
				t.Errorf("%s in room version %s (-want +got):\n%s", test.name, v.ID, diff)
			}
		}
	}
}

func TestSigners(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, versions string
		do             func(r *room) *event.Event
		want           []string
	}{
		{"an event", "1-12", func(r *room) *event.Event { return r.send(member, "m.room.topic", "", `{}`) }, []string{"b"}},
		{"a third-party invite", "3-12", func(r *room) *event.Event {
			return r.membership(member, stranger, "invite", `,"third_party_invite":{}`)
		}, nil},
		{"a third-party invite whose id has a server", "1-2", func(r *room) *event.Event {
			return r.membership(member, stranger, "invite", `,"third_party_invite":{}`)
		}, []string{"b"}},
		{"an authorised join", "8-12", func(r *room) *event.Event {
			return r.membership(stranger, stranger, "join", `,"join_authorised_via_users_server":"@admin:a"`)
		}, []string{"c", "a"}},
		{"a join before joins were authorised", "3-7", func(r *room) *event.Event {
			return r.membership(stranger, stranger, "join", `,"join_authorised_via_users_server":"@admin:a"`)
		}, []string{"c"}},
		{"a join that nobody can have authorised", "8-12", func(r *room) *event.Event {
			return r.membership(stranger, stranger, "join", `,"join_authorised_via_users_server":5`)
		}, []string{"c", ""}},
	} {
		for _, v := range versionsOf(t, test.versions) {
			if diff := cmp.Diff(test.want, auth.Signers(test.do(newRoom(t, v)))); diff != "" {
				t.Errorf("%s in room version %s (-want +got):\n%s", test.name, v.ID, diff)
			}
		}
	}
}

// HARD_PLACES.md 11: whose redactions take effect.
func TestAppliesRedaction(t *testing.T) {
	t.Parallel()
	for _, v := range roomversion.All() {
		r := newRoom(t, v)
		power, err := auth.Levels(v, r.state[createTuple], r.Event(event.Tuple{Type: "m.room.power_levels"}))
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			redactor, author string
			want             bool
		}{
			{moderator, admin, true}, {member, moderator, true}, {member, member, true}, {member, admin, v.RedactionAuthRule},
			{creator, member, v.RedactionAuthRule || v.PrivilegedCreators},
		} {
			redaction := r.build(draft{sender: test.redactor, typ: "m.room.redaction", content: `{}`})
			target := r.build(draft{sender: test.author, typ: "m.room.message", content: `{}`})
			if got := auth.AppliesRedaction(redaction, target, power); got != test.want {
				t.Errorf("room version %s: %s redacts an event of %s: %t, want %t", v.ID, test.redactor, test.author, got, test.want)
			}
		}
	}
}
