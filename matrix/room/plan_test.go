package room

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

func TestPlanCreateRefuses(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"preset":"odd"}`:                                                      "M_INVALID_PARAM",
		`{"visibility":"odd"}`:                                                  "M_INVALID_PARAM",
		`{"room_version":"99"}`:                                                 "M_UNSUPPORTED_ROOM_VERSION",
		`{"room_version":"01"}`:                                                 "M_UNSUPPORTED_ROOM_VERSION",
		`{"invite":["bob"]}`:                                                    "M_INVALID_PARAM",
		`{"room_alias_name":"a\u0000b"}`:                                        "M_INVALID_PARAM",
		`{"invite_3pid":[{"medium":"email"}]}`:                                  "M_INVALID_PARAM",
		`{"initial_state":[{"type":"a","content":1}]}`:                          "M_BAD_JSON",
		`{"initial_state":[{"type":"","content":{}}]}`:                          "M_BAD_JSON",
		`{"creation_content":{"additional_creators":1}}`:                        "M_BAD_JSON",
		`{"creation_content":{"additional_creators":["x"]}}`:                    "M_INVALID_PARAM",
		`{"invite":["` + strings.Repeat(`@a:test","`, maxInitialEvents) + `"]}`: "M_INVALID_PARAM",
	} {
		var req CreateRequest
		if err := json.Unmarshal([]byte(body), &req); err != nil {
			t.Fatal(body, err)
		}
		var e *mxerr.Error
		if _, err := PlanCreate(req, "@alice:test", "test", nil); !errors.As(err, &e) || e.Code != want {
			t.Errorf("%.80s: %v, want %s", body, err, want)
		}
	}
}

func TestTooLargeEventsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("@alice:test", `{}`)
	propose := func(p Proposal) *mxerr.Error {
		p.Sender = "@alice:test"
		return w.ask(Propose{From: w.from("@alice:test"), Event: p}).Err
	}
	long := strings.Repeat("é", 128)
	for name, p := range map[string]Proposal{
		"content":   {Type: "m.room.message", Content: []byte(`{"body":"` + strings.Repeat("x", 65536) + `"}`)},
		"type":      {Type: long, Content: []byte(`{}`)},
		"state key": {Type: "a", StateKey: &long, Content: []byte(`{}`)},
	} {
		if err := propose(p); err == nil || err.Status != 413 || err.Code != "M_TOO_LARGE" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := propose(Proposal{Type: "m.room.message", Content: []byte(`{"body":"` + strings.Repeat("x", 64000) + `"}`)}); err != nil {
		t.Errorf("an event that just fits: %v", err)
	}
}

// TestNobodyNamesTheAuthoriser wants joins and profile changes not to carry an authoriser that the client made up.
func TestNobodyNamesTheAuthoriser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("@alice:test", `{"preset":"public_chat"}`)
	content := []byte(`{"join_authorised_via_users_server":"@alice:test","displayname":"Bob"}`)
	for _, action := range []Action{Join, Refresh} {
		r := w.ask(ChangeMembership{From: w.from("@bob:test"), Action: action, Target: "@bob:test", Content: content})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if got := string(r.Entry.Event.Content()); got != `{"displayname":"Bob","membership":"join"}` {
			t.Errorf("the content is %s", got)
		}
	}
}

func FuzzRestore(f *testing.F) {
	w := newWorld(f)
	w.create("@alice:test", `{"preset":"public_chat","name":"n"}`)
	f.Add(w.m.Snapshot())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		m, err := Restore(w.o, snapshot)
		if err != nil {
			return
		}
		again, err := Restore(w.o, m.Snapshot())
		if err != nil || string(again.Snapshot()) != string(m.Snapshot()) {
			t.Errorf("%x becomes %x, and then %v", snapshot, m.Snapshot(), err)
		}
	})
}
