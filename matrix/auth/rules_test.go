package auth_test

import (
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

var (
	empty       = ""
	createTuple = event.Tuple{Type: "m.room.create"}
)

func create(r *room, content string, change ...func(*draft)) *event.Event {
	d := draft{sender: creator, typ: "m.room.create", stateKey: &empty, content: content}
	for _, f := range change {
		f(&d)
	}
	return r.build(d)
}

func TestCreateRules(t *testing.T) {
	t.Parallel()
	runRules(t, []rule{
		{"a create event", "1-12:ok", func(r *room) *event.Event { return create(r, `{"creator":"@creator:a"}`) }},
		{"with previous events", "1-12:1.1", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a"}`, func(d *draft) { d.prev = []string{"$before:a"} })
		}},
		{"in a room of another server", "1-11:1.2", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:b"}`, func(d *draft) { d.sender = "@creator:b" })
		}},
		{"with a room id", "12:1.2", func(r *room) *event.Event {
			return create(r, `{}`, func(d *draft) { d.more = `,"room_id":"!room:a"` })
		}},
		{"of an unknown room version", "1-12:1.3", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a","room_version":"99"}`)
		}},
		{"of a room version that is no string", "1-12:1.3", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a","room_version":1}`)
		}},
		{"without a creator", "1-10:1.4 11-12:ok", func(r *room) *event.Event { return create(r, `{}`) }},
		{"with additional creators", "1-12:ok", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a","additional_creators":["@x:y"]}`)
		}},
		{"with additional creators that are no list", "1-11:ok 12:1.4", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a","additional_creators":"@x:y"}`)
		}},
		{"with an additional creator that is no user id", "1-11:ok 12:1.4", func(r *room) *event.Event {
			return create(r, `{"creator":"@creator:a","additional_creators":["@x:y","x"]}`)
		}},
		{"with an additional creator that is no string", "12:1.4", func(r *room) *event.Event {
			return create(r, `{"additional_creators":[1]}`)
		}},
	})
}

func TestRoomRules(t *testing.T) {
	t.Parallel()
	message := func(sender string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			return r.build(draft{sender: sender, typ: "m.room.message", content: `{}`, prev: []string{"$tip:a"}})
		}
	}
	private := func(sender string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			r.set(creator, "m.room.create", "", `{"creator":"@creator:a","m.federate":false}`)
			return message(sender)(r)
		}
	}
	runRules(t, []rule{
		{"a message", "1-12:ok", message(member)},
		{"in a room without a create event", "1-11:2.4 12:2", func(r *room) *event.Event {
			e := message(member)(r)
			delete(r.state, createTuple)
			return e
		}},
		{"in a room that another create event made", "12:2", func(r *room) *event.Event {
			e := message(member)(r)
			r.set(creator, "m.room.create", "", `{}`)
			return e
		}},
		{"across servers in a room that is not federated", "1-11:3 12:4", private(member)},
		{"within the server of a room that is not federated", "1-12:ok", private(admin)},
		{"by a stranger", "1-5:6 6-11:5 12:6", message(stranger)},
		{"by somebody banned", "1-5:6 6-11:5 12:6", message(banned)},
		{"by somebody invited", "1-5:6 6-11:5 12:6", message(invited)},
		{"a third-party invite with too little power", "1-5:7.1 6-11:6.1 12:7.1", func(r *room) *event.Event {
			return r.send(member, "m.room.third_party_invite", "token", `{}`)
		}},
		{"a third-party invite needs the invite level only", "1-12:ok", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", `{"invite":10,"users":{"@member:b":10}}`)
			return r.send(member, "m.room.third_party_invite", "token", `{}`)
		}},
		{"a state event with too little power", "1-5:8 6-11:7 12:8", func(r *room) *event.Event {
			return r.send(member, "m.room.topic", "", `{}`)
		}},
		{"an event with too little power for its type", "1-5:8 6-11:7 12:8", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", `{"events":{"m.room.message":10}}`)
			return message(member)(r)
		}},
		{"a type with a dot and a star in its name is not a path", "1-5:8 6-11:7 12:8", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", `{"events":{"*":10,"m.*":0},"events_default":5}`)
			return r.build(draft{sender: member, typ: "*", content: `{}`, prev: []string{"$tip:a"}})
		}},
		{"state of another user", "1-5:9 6-11:8 12:9", func(r *room) *event.Event {
			return r.send(admin, "org.example.mine", member, `{}`)
		}},
		{"state of one's own", "1-12:ok", func(r *room) *event.Event { return r.send(admin, "org.example.mine", admin, `{}`) }},
		{"aliases without a state key", "1-5:4.1 6-12:ok", func(r *room) *event.Event {
			return r.build(draft{sender: admin, typ: "m.room.aliases", content: `{}`, prev: []string{"$tip:a"}})
		}},
		{"aliases of another server", "1-5:4.2 6-12:ok", func(r *room) *event.Event {
			return r.send(admin, "m.room.aliases", "b", `{}`)
		}},
		{"aliases of a server without members", "1-5:ok 6-11:5 12:6", func(r *room) *event.Event {
			return r.send(stranger, "m.room.aliases", "c", `{}`)
		}},
		{"a redaction of another server's event", "1-2:11.3 3-12:ok", func(r *room) *event.Event {
			return r.build(draft{sender: member, typ: "m.room.redaction", content: `{}`, prev: []string{"$tip:a"}, more: `,"redacts":"$x:a"`})
		}},
		{"a redaction of one's own server's event", "1-12:ok", func(r *room) *event.Event {
			return r.build(draft{sender: member, typ: "m.room.redaction", content: `{}`, prev: []string{"$tip:a"}, more: `,"redacts":"$x:b"`})
		}},
		{"a redaction with the power for it", "1-12:ok", func(r *room) *event.Event {
			return r.build(draft{sender: moderator, typ: "m.room.redaction", content: `{}`, prev: []string{"$tip:a"}, more: `,"redacts":"$x:a"`})
		}},
	})
}

// HARD_PLACES.md 12: the levels of a room that says nothing.
func TestDefaultLevels(t *testing.T) {
	t.Parallel()
	without := func(sender, typ string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			delete(r.state, event.Tuple{Type: "m.room.power_levels"})
			return r.send(sender, typ, "", `{}`)
		}
	}
	runRules(t, []rule{
		{"the creator sends state without power levels", "1-12:ok", without(creator, "m.room.topic")},
		{"others send no state without power levels", "1-5:8 6-11:7 12:8", without(admin, "m.room.topic")},
		{"the creator's power is in the power levels before version 12", "1-5:8 6-11:7 12:ok", func(r *room) *event.Event {
			return r.send(creator, "m.room.topic", "", `{}`)
		}},
	})
}
