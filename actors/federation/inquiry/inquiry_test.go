package inquiry

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// answers are what other servers say, whatever they are asked.
type answers struct {
	text  map[string]string // by server
	err   map[string]error
	asked []string
}

// Call implements federation.Caller.
func (a *answers) Call(_ context.Context, r federation.Request) (jsontext.Value, error) {
	a.asked = append(a.asked, r.Destination)
	text, ok := a.text[r.Destination]
	if err := a.err[r.Destination]; err != nil {
		return nil, err
	}
	if !ok {
		return nil, federation.Unreachable(errors.New("it is down"))
	}
	return jsontext.Value(text), nil
}

// Open implements federation.Caller.
func (*answers) Open(context.Context, federation.Request) (io.ReadCloser, string, error) {
	return nil, "", errors.New("not asked for")
}

func isError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var own *mxerr.Error
	if !errors.As(err, &own) || own.Status != status || own.Code != code {
		t.Errorf("%v, want %d %s", err, status, code)
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	a := &answers{text: map[string]string{"remote": `{"displayname":7,"avatar_url":"mxc://a/b","m.tz":null,"org.example":{"x":1},"` + strings.Repeat("x", 300) + `":1}`}}
	now := time.Now()
	i := New("here", a, func() time.Time { return now })
	got, err := i.Profile(t.Context(), "@bob:remote", "")
	if err != nil || len(got) != 2 || string(got["avatar_url"]) != `"mxc://a/b"` || string(got["org.example"]) != `{"x":1}` {
		t.Errorf("%v %v", got, err)
	}
	delete(a.text, "remote")
	if got, err := i.Profile(t.Context(), "@bob:remote", ""); err != nil || len(got) != 2 || len(a.asked) != 1 {
		t.Errorf("what was told a moment ago: %v %v", got, err)
	}
	if _, err := i.Profile(t.Context(), "@bob:remote", "displayname"); err == nil {
		t.Error("another question has the same answer")
	}
	now = now.Add(answerMemory)
	for _, text := range []string{`[]`, `7`, `"x"`} {
		a.text["remote"] = text
		_, err := i.Profile(t.Context(), "@bob:remote", "")
		isError(t, err, 502, "M_UNKNOWN")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refuse := func(status int, code string) error {
		return &federation.Error{Destination: "remote", Status: status, Code: code, Message: "no"}
	}
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{refuse(404, "M_NOT_FOUND"), 404, "M_NOT_FOUND"}, {refuse(403, "M_FORBIDDEN"), 403, "M_FORBIDDEN"},
		{refuse(404, ""), 502, "M_UNKNOWN"}, {refuse(401, "M_UNAUTHORIZED"), 502, "M_UNKNOWN"}, {refuse(429, "M_LIMIT_EXCEEDED"), 502, "M_UNKNOWN"},
		{refuse(500, "M_UNKNOWN"), 502, "M_UNKNOWN"}, {federation.Unreachable(errors.New("down")), 502, "M_UNKNOWN"},
	} {
		i := New("here", &answers{err: map[string]error{"remote": c.err}}, time.Now)
		_, err := i.Profile(t.Context(), "@bob:remote", "displayname")
		isError(t, err, c.status, c.code)
	}
}

func TestAlias(t *testing.T) {
	t.Parallel()
	a := &answers{text: map[string]string{"remote": `{"room_id":"!r:remote","servers":["third","a/b","",7]}`}}
	i := New("here", a, time.Now)
	_, _, err := i.Alias(t.Context(), "#a:remote")
	isError(t, err, 502, "M_UNKNOWN")
	a.text["remote"] = `{"room_id":"!r:remote","servers":["third","a/b",""]}`
	room, servers, err := i.Alias(t.Context(), "#a:remote")
	if err != nil || room != "!r:remote" || strings.Join(servers, " ") != "third remote" {
		t.Error(room, servers, err)
	}
	a.text["remote"] = `{"room_id":"r"}`
	_, _, err = i.Alias(t.Context(), "#a:remote")
	isError(t, err, 502, "M_UNKNOWN")
}

func TestPublicRooms(t *testing.T) {
	t.Parallel()
	a := &answers{text: map[string]string{"remote": `{"chunk":[{"room_id":"!a"},{"room_id":"bad"}],"next_batch":"n","total_room_count_estimate":9,"other":1}`}}
	i := New("here", a, time.Now)
	page, err := i.PublicRooms(t.Context(), "remote", map[string]int{"limit": 2}, func(room jsontext.Value) bool { return strings.Contains(string(room), "!") })
	if err != nil || len(page.Chunk) != 1 || page.NextBatch != "n" || *page.Total != 9 {
		t.Errorf("%v %v", page, err)
	}
	if again, err := i.PublicRooms(t.Context(), "remote", map[string]int{"limit": 2}, func(jsontext.Value) bool { return true }); err != nil || len(again.Chunk) != 2 || len(a.asked) != 1 {
		t.Errorf("%v %v", again, err)
	}
	if _, err := i.PublicRooms(t.Context(), "remote", map[string]int{"limit": 3}, func(jsontext.Value) bool { return true }); err != nil || len(a.asked) != 2 {
		t.Error("another page was not asked for", err)
	}
	_, err = i.PublicRooms(t.Context(), "a/b", nil, nil)
	isError(t, err, 400, "M_INVALID_PARAM")
}

func TestSpace(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a := &answers{text: map[string]string{
		"liar": `{"room":{"room_id":"!other"},"children":[],"inaccessible_children":[]}`,
		"good": `{"room":{"room_id":"!r","room_type":"m.space","children_state":[
			{"type":"m.space.child","state_key":"!b","sender":"@a:b","origin_server_ts":2,"content":{"via":["x"]}},
			{"type":"m.space.child","state_key":"!a","sender":"@a:b","origin_server_ts":1,"content":{"via":["x"]}},
			{"type":"m.space.child","state_key":"!gone","sender":"@a:b","origin_server_ts":1,"content":{}},
			{"type":"m.room.name","state_key":"","sender":"@a:b","origin_server_ts":1,"content":{"via":["x"]}},7]},
			"children":[{"room_id":"!a"},{"room_id":7},{}],"inaccessible_children":["!b"]}`}}
	i := New("here", a, func() time.Time { return now })
	for range 2 { // the second time from memory
		space, ok := i.Space(t.Context(), "!r", []string{"here", "down", "liar", "good", "never"}, false)
		if !ok || len(space.Room.Children) != 2 || !strings.Contains(string(space.Room.Children[0]), `"!a"`) || len(space.Children) != 1 || !space.Inaccessible["!b"] {
			t.Fatalf("%v %v", space, ok)
		}
	}
	if got := strings.Join(a.asked, " "); got != "down liar good" {
		t.Error(got)
	}
	a.asked = nil
	now = now.Add(spaceMemory)
	if _, ok := i.Space(t.Context(), "!r", []string{"down"}, false); ok || len(a.asked) != 1 {
		t.Error(ok, a.asked)
	}
	if _, ok := i.Space(t.Context(), "!r", []string{"good"}, false); ok || len(a.asked) != 1 { // that none told is remembered too
		t.Error(ok, a.asked)
	}
}
