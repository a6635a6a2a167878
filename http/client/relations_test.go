package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
)

// relate sends an event that relates to another.
func relate(u *clienttest.User, roomID, typ, relType, parent string, more J) string {
	content := J{"m.relates_to": J{"rel_type": relType, "event_id": parent}}
	for k, v := range more {
		content[k] = v
	}
	return u.Send(roomID, typ, content)
}

func TestRelations(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	root := alice.Say(roomID, "root")
	reply := relate(bob, roomID, "m.room.message", "m.thread", root, J{"body": "in thread"})
	reference := relate(bob, roomID, "org.example.vote", "m.reference", root, nil)
	edit := relate(alice, roomID, "m.room.message", "m.replace", root, J{"body": "* edited", "m.new_content": J{"body": "edited"}})
	reaction := bob.Send(roomID, "m.reaction", J{"m.relates_to": J{"rel_type": "m.annotation", "event_id": reply, "key": "+"}})
	ofReaction := relate(alice, roomID, "org.example.x", "m.reference", reaction, nil)
	base := "/_matrix/client/v1/rooms/" + roomID + "/relations/" + root
	ids := func(path string) []string { return alice.Get(path).OK().Texts("chunk.#.event_id") }
	for path, want := range map[string][]string{
		base:                                    {edit, reference, reply},
		base + "?dir=b":                         {edit, reference, reply},
		base + "?dir=f":                         {reply, reference, edit},
		base + "/m.thread":                      {reply},
		base + "/m.reference/org.example.vote":  {reference},
		base + "/m.reference/org.example.other": {},
		base + "?recurse=false":                 {edit, reference, reply},
		base + "?recurse=true":                  {ofReaction, reaction, edit, reference, reply},
		base + "/m.annotation?recurse=true":     {reaction},
		strings.Replace(base, "/v1/", "/unstable/", 1) + "/m.thread": {reply},
	} {
		if got := ids(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	alice.Get(base).OK().Lacks("recursion_depth").Lacks("next_batch").Lacks("prev_batch")
	if depth := alice.Get(base + "?recurse=true").OK().At("recursion_depth").Int(); depth < 3 {
		t.Errorf("recursion_depth %d", depth)
	}
	for _, dir := range []string{"b", "f"} {
		var got []string
		query := "?limit=1&dir=" + dir
		for from := ""; ; {
			a := alice.Get(base + query + from).OK()
			got = append(got, a.Texts("chunk.#.event_id")...)
			if !a.At("next_batch").Exists() {
				break
			}
			from = "&from=" + a.Text("next_batch")
		}
		if want := ids(base + "?dir=" + dir); !slices.Equal(got, want) {
			t.Errorf("dir=%s, one by one: %v", dir, got)
		}
	}
	for _, query := range []string{"?dir=x", "?limit=x", "?limit=0", "?from=x", "?to=x", "?recurse=x"} {
		alice.Get(base+query).Refused(400, "M_INVALID_PARAM")
	}
	alice.Get("/_matrix/client/v1/rooms/"+roomID+"/relations/$nothing").Refused(404, "M_NOT_FOUND")
	// Aggregations come with the parent.
	alice.Get(clienttest.Room(roomID, "event", root)).OK().
		Has(`unsigned.m\.relations.m\.replace.event_id`, `"`+edit+`"`).
		Has(`unsigned.m\.relations.m\.thread.count`, "1").
		Has(`unsigned.m\.relations.m\.thread.latest_event.event_id`, `"`+reply+`"`).
		Has(`unsigned.m\.relations.m\.thread.current_user_participated`, "true").
		Has(`unsigned.m\.relations.m\.reference.chunk`, `[{"event_id":"`+reference+`"}]`)
	// A second annotation is refused, until the first is redacted.
	bob.Put(clienttest.Room(roomID, "send", "m.reaction", "again"), J{"m.relates_to": J{"rel_type": "m.annotation", "event_id": reply, "key": "+"}}).
		Refused(400, "M_DUPLICATE_ANNOTATION")
	bob.Put(clienttest.Room(roomID, "redact", reaction, "r"), J{}).OK()
	if got := ids(base + "/m.annotation?recurse=true"); len(got) != 0 {
		t.Errorf("redacted: %v", got)
	}
	bob.Put(clienttest.Room(roomID, "send", "m.reaction", "again"), J{"m.relates_to": J{"rel_type": "m.annotation", "event_id": reply, "key": "+"}}).OK()
}

// TestRelationsOfIgnoredUsers pages over more children than a page holds, all but two of which are not for the reader.
func TestRelationsOfIgnoredUsers(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	alice, bob := w.Register("alice"), w.Register("bob")
	roomID := alice.CreateRoom(J{"preset": "public_chat"})
	bob.Join(roomID)
	root := alice.Say(roomID, "root")
	want := []string{relate(alice, roomID, "m.room.message", "m.thread", root, J{"body": "first"})}
	for i := range 12 {
		relate(bob, roomID, "m.room.message", "m.thread", root, J{"body": fmt.Sprint(i)})
	}
	want = append(want, relate(alice, roomID, "m.room.message", "m.thread", root, J{"body": "last"}))
	alice.Put("/user/"+alice.ID+"/account_data/m.ignored_user_list", J{"ignored_users": J{bob.ID: J{}}}).OK()
	got := alice.Get("/_matrix/client/v1/rooms/" + roomID + "/relations/" + root + "/m.thread?dir=f&limit=5").OK()
	if ids := got.Texts("chunk.#.event_id"); !slices.Equal(ids, want) {
		t.Errorf("%v", ids)
	}
	alice.Get(clienttest.Room(roomID, "event", root)).OK().Has(`unsigned.m\.relations.m\.thread.count`, "2")
}
