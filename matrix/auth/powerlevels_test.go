package auth_test

import (
	"strings"
	"testing"

	"github.com/matrixon/matrixon/matrix/event"
)

func TestPowerLevelsRules(t *testing.T) {
	t.Parallel()
	// change replaces a part of the room's power levels.
	change := func(sender, part, by string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			content := strings.Replace(levels, part, by, 1)
			if content == levels {
				r.t.Fatalf("the power levels do not hold %s", part)
			}
			return r.send(sender, "m.room.power_levels", "", content)
		}
	}
	// add puts a member into the power levels.
	add := func(sender, member string) func(r *room) *event.Event {
		return change(sender, `{"ban":60`, `{`+member+`,"ban":60`)
	}
	// initial is a room's first power levels event.
	initial := func(content string) func(r *room) *event.Event {
		return func(r *room) *event.Event {
			delete(r.state, event.Tuple{Type: "m.room.power_levels"})
			return r.send(creator, "m.room.power_levels", "", content)
		}
	}
	runRules(t, []rule{
		{"no change", "1-12:ok", func(r *room) *event.Event { return r.send(moderator, "m.room.power_levels", "", levels) }},

		{"a level that is no integer", "1-9:ok 10-11:9.1 12:10.1", add(admin, `"users_default":"0"`)},
		{"a level that is a float", "1-5:ok 10-11:9.1 12:10.1", add(admin, `"users_default":0.5`)},
		{"a level that is null", "1-9:ok 10-11:9.1 12:10.1", add(admin, `"users_default":null`)},
		{"a level beyond a double", "1-5:10.1 10-11:9.1 12:10.1", add(admin, `"users_default":1e400`)},
		{"an event's level beyond a double", "1-5:10.1 10-11:9.2 12:10.2", initial(`{"events":{"x":-1e400}}`)},
		{"events that are no object", "1-9:ok 10-11:9.2 12:10.2", initial(`{"events":[]}`)},
		{"an event's level that is no integer", "1-9:ok 10-11:9.2 12:10.2", initial(`{"events":{"x":"5"}}`)},
		{"notifications that are no object", "1-9:ok 10-11:9.2 12:10.2", initial(`{"notifications":5}`)},
		{"a notification's level that is no integer", "1-9:ok 10-11:9.2 12:10.2", initial(`{"notifications":{"room":true}}`)},
		{"users that are no object", "1-5:10.1 6-9:9.1 10-11:9.3 12:10.3", initial(`{"users":[]}`)},
		{"a user who is none", "1-5:10.1 6-9:9.1 10-11:9.3 12:10.3", initial(`{"users":{"x":5}}`)},
		{"a user's level that is a string", "1-9:ok 10-11:9.3 12:10.3", initial(`{"users":{"@x:y":" +050 "}}`)},
		{"a user's level that is no number", "1-5:10.1 6-9:9.1 10-11:9.3 12:10.3", initial(`{"users":{"@x:y":"much"}}`)},
		{"a user's level that is a list", "1-5:10.1 6-9:9.1 10-11:9.3 12:10.3", initial(`{"users":{"@x:y":[5]}}`)},
		{"a creator among the users", "1-11:ok 12:10.4", initial(`{"users":{"@creator:a":100}}`)},
		{"an additional creator among the users", "1-11:ok 12:10.4", func(r *room) *event.Event {
			r.set(creator, "m.room.create", "", `{"additional_creators":["@x:y"],"creator":"@creator:a"}`)
			return initial(`{"users":{"@x:y":100}}`)(r)
		}},
		{"the first may say anything", "1-12:ok", initial(`{"ban":1000,"users":{"@x:y":1000}}`)},

		{"a level above one's own", "1-5:10.3.1 6-9:9.3.1 10-11:9.5.1 12:10.6.1", change(moderator, `"ban":60`, `"ban":10`)},
		{"the removal of a level above one's own", "1-5:10.3.1 6-9:9.3.1 10-11:9.5.1 12:10.6.1", change(moderator, `"ban":60,`, ``)},
		{"a level to above one's own", "1-5:10.3.2 6-9:9.3.2 10-11:9.5.2 12:10.6.2", change(moderator, `"kick":50`, `"kick":51`)},
		{"a new level above one's own", "1-5:10.3.2 6-9:9.3.2 10-11:9.5.2 12:10.6.2", add(moderator, `"events_default":51`)},
		{"a level within one's own", "1-12:ok", change(moderator, `"kick":50`, `"kick":20`)},
		{"the same level written otherwise", "1-9:ok", change(moderator, `"ban":60`, `"ban":"060"`)},

		{"an event's level above one's own", "1-5:10.4.1 6-9:9.4.1 10-11:9.6.1 12:10.7.1", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"m.room.name":40`, `"m.room.name":90`, 1))
			return r.send(moderator, "m.room.power_levels", "", levels)
		}},
		{"the removal of an event's level above one's own", "1-5:10.4.1 6-9:9.4.1 10-11:9.6.1 12:10.7.1", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"m.room.name":40`, `"m.room.name":90,"x":90`, 1))
			return r.send(moderator, "m.room.power_levels", "", strings.Replace(levels, `"m.room.name":40`, `"m.room.name":90`, 1))
		}},
		{"a notification's level above one's own", "1-5:ok 6-9:9.4.1 10-11:9.6.1 12:10.7.1", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"room":50`, `"room":90`, 1))
			return r.send(moderator, "m.room.power_levels", "", levels)
		}},
		{"an event's level to above one's own", "1-5:10.5.1 6-9:9.5.1 10-11:9.7.1 12:10.8.1", change(moderator, `"m.room.name":40`, `"m.room.name":51`)},
		{"a new event's level above one's own", "1-5:10.5.1 6-9:9.5.1 10-11:9.7.1 12:10.8.1", change(moderator, `"m.room.name":40`, `"m.room.name":40,"x":51`)},
		{"a notification's level to above one's own", "1-5:ok 6-9:9.5.1 10-11:9.7.1 12:10.8.1", change(moderator, `"room":50`, `"room":51`)},
		{"an event's level within one's own", "1-12:ok", change(moderator, `"m.room.name":40`, `"m.room.name":50`)},

		{"somebody as powerful", "1-5:10.6.1 6-9:9.6.1 10-11:9.8.1 12:10.9.1", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"@moderator:b":50`, `"@member:b":50,"@moderator:b":50`, 1))
			return r.send(moderator, "m.room.power_levels", "", levels)
		}},
		{"the demotion of somebody less powerful", "1-12:ok", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"@moderator:b":50`, `"@member:b":49,"@moderator:b":50`, 1))
			return r.send(moderator, "m.room.power_levels", "", levels)
		}},
		{"one's own demotion", "1-12:ok", change(admin, `"@admin:a":100`, `"@admin:a":1`)},
		{"one's own promotion", "1-5:10.7.1 6-9:9.7.1 10-11:9.9.1 12:10.10.1", change(moderator, `"@moderator:b":50`, `"@moderator:b":51`)},
		{"a promotion to above oneself", "1-5:10.7.1 6-9:9.7.1 10-11:9.9.1 12:10.10.1", change(moderator, `"@moderator:b":50`, `"@member:b":51,"@moderator:b":50`)},
		{"a promotion to one's own level", "1-12:ok", change(moderator, `"@moderator:b":50`, `"@member:b":50,"@moderator:b":50`)},
		{"the creator raises anybody to anything", "12:ok", change(creator, `"@moderator:b":50`, `"@moderator:b":9007199254740991`)},
		{"the creator lowers whoever has the largest level", "12:ok", func(r *room) *event.Event {
			r.set(creator, "m.room.power_levels", "", strings.Replace(levels, `"@admin:a":100`, `"@admin:a":9007199254740991`, 1))
			return r.send(creator, "m.room.power_levels", "", levels)
		}},
	})
}
