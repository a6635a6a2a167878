package clienttest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"
)

// J is a JSON object.
type J = map[string]any

// User is somebody with a session, or Nobody.
type User struct {
	ID, Device, Token string

	world *World
	txns  int
}

// With is the same user on another device, whose id this is.
func (u *User) With(device string) *User {
	u.world.T.Helper()
	return u.world.session(u.ID, device)
}

// Answer is what the server said.
type Answer struct {
	t      *testing.T
	call   string
	Status int
	Raw    string
	Header http.Header
}

// Do makes a request; body is marshalled unless it is a string, or nil for none. A path that does not begin with
// /_ stands below /_matrix/client/v3.
func (u *User) Do(method, path string, body any) *Answer {
	t := u.world.T
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		reader = strings.NewReader(string(raw))
	}
	if !strings.HasPrefix(path, "/_") {
		path = "/_matrix/client/v3" + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, u.world.http.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if u.Token != "" {
		req.Header.Set("Authorization", "Bearer "+u.Token)
	}
	resp, err := u.world.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := &Answer{t: t, call: u.ID + " " + method + " " + path, Status: resp.StatusCode, Raw: string(raw), Header: resp.Header}
	if !gjson.Valid(a.Raw) {
		t.Fatalf("%s: the answer is no JSON: %d %s", a.call, a.Status, a.Raw)
	}
	return a
}

// Get makes a GET request.
func (u *User) Get(path string) *Answer { u.world.T.Helper(); return u.Do(http.MethodGet, path, nil) }

// Put makes a PUT request.
func (u *User) Put(path string, body any) *Answer {
	u.world.T.Helper()
	return u.Do(http.MethodPut, path, body)
}

// Post makes a POST request.
func (u *User) Post(path string, body any) *Answer {
	u.world.T.Helper()
	return u.Do(http.MethodPost, path, body)
}

// Delete makes a DELETE request.
func (u *User) Delete(path string) *Answer {
	u.world.T.Helper()
	return u.Do(http.MethodDelete, path, nil)
}

// OK fails the test unless the status is 200.
func (a *Answer) OK() *Answer {
	a.t.Helper()
	if a.Status != http.StatusOK {
		a.t.Fatalf("%s: %d %s", a.call, a.Status, a.Raw)
	}
	return a
}

// Refused fails the test unless status and errcode are these, with a sentence for people.
func (a *Answer) Refused(status int, code string) *Answer {
	a.t.Helper()
	if a.Status != status || a.At("errcode").Str != code || a.At("error").Str == "" {
		a.t.Fatalf("%s: %d %s, want %d %s", a.call, a.Status, a.Raw, status, code)
	}
	return a
}

// At looks into the answer, by a path of gjson.
func (a *Answer) At(path string) gjson.Result { return gjson.Get(a.Raw, path) }

// Text is the string at the path, which must be there.
func (a *Answer) Text(path string) string {
	a.t.Helper()
	v := a.At(path)
	if v.Type != gjson.String {
		a.t.Fatalf("%s: no string at %s in %s", a.call, path, a.Raw)
	}
	return v.Str
}

// Has fails the test unless the JSON at the path is this.
func (a *Answer) Has(path, want string) *Answer {
	a.t.Helper()
	if got := a.At(path).Raw; got != want {
		a.t.Fatalf("%s: %s is %s, want %s, in %s", a.call, path, got, want, a.Raw)
	}
	return a
}

// Lacks fails the test if there is anything at the path.
func (a *Answer) Lacks(path string) *Answer {
	a.t.Helper()
	if v := a.At(path); v.Exists() {
		a.t.Fatalf("%s: %s is %s, but must be absent", a.call, path, v.Raw)
	}
	return a
}

// Texts are the strings that the path finds.
func (a *Answer) Texts(path string) []string {
	texts := []string{}
	a.At(path).ForEach(func(_, v gjson.Result) bool {
		texts = append(texts, v.String())
		return true
	})
	return texts
}

// CreateRoom makes a room and gives its id.
func (u *User) CreateRoom(body J) string {
	u.world.T.Helper()
	return u.Post("/createRoom", body).OK().Text("room_id")
}

// Join joins a room by id.
func (u *User) Join(roomID string) {
	u.world.T.Helper()
	u.Post(Room(roomID, "join"), J{}).OK()
}

// Invite invites somebody.
func (u *User) Invite(roomID string, other *User) {
	u.world.T.Helper()
	u.Post(Room(roomID, "invite"), J{"user_id": other.ID}).OK()
}

// Leave leaves a room.
func (u *User) Leave(roomID string) {
	u.world.T.Helper()
	u.Post(Room(roomID, "leave"), J{}).OK()
}

// Say sends a text and gives the event's id.
func (u *User) Say(roomID, text string) string {
	u.world.T.Helper()
	return u.Send(roomID, "m.room.message", J{"msgtype": "m.text", "body": text})
}

// Send sends a message event with a transaction id of its own and gives the event's id.
func (u *User) Send(roomID, typ string, content J) string {
	u.world.T.Helper()
	u.txns++
	return u.Put(Room(roomID, "send", typ, "t"+strconv.Itoa(u.txns)), content).OK().Text("event_id")
}

// SetState sends a state event and gives its id.
func (u *User) SetState(roomID, typ, stateKey string, content J) string {
	u.world.T.Helper()
	return u.Put(Room(roomID, "state", typ, stateKey), content).OK().Text("event_id")
}

// Room is the path of something of a room, each part escaped.
func Room(roomID string, parts ...string) string {
	return Path(append([]string{"rooms", roomID}, parts...)...)
}

// Path is a path made of parts, each escaped.
func Path(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		b.WriteString("/" + url.PathEscape(part))
	}
	return b.String()
}

// Request is a GET request that the test makes itself.
func (u *User) Request(ctx context.Context, path string) *http.Request {
	u.world.T.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.world.http.URL+path, nil)
	if err != nil {
		u.world.T.Fatal(err)
	}
	if u.Token != "" {
		req.Header.Set("Authorization", "Bearer "+u.Token)
	}
	return req
}
